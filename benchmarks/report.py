"""Results on the disk: raw figures as ``NAME.json``, tables of the best ones as ``NAME.md``.

python -m benchmarks.report        writes every NAME.md again from its NAME.json
"""

from __future__ import annotations

import argparse
import importlib
import sys
import textwrap
from pathlib import Path
from typing import Callable, Iterable

from caffe_gp.files import atomic, json_files

from .facts import facts
from .folders import RESULTS
from .measure import Setting, best

# The benchmarks; of each, results/NAME.json, NAME.md and bench_NAME.py.
NAMES = ("gp", "layers", "networks", "mnist", "start", "crf", "weights")


def begin(name: str, options: argparse.Namespace) -> dict:
    """What is known before anything is measured: the command, the machine and its state."""
    if options.ways and options.out == RESULTS:
        sys.exit("some ways only would replace the results of all of them: give --out DIR")
    return {
        "benchmark": name,
        "command": " ".join(["python -m", f"benchmarks.bench_{name}", *_told(sys.argv[1:])]),
        "facts": facts(),
        "missing": [],
        "figures": {},
    }


def _told(arguments: list[str]) -> list[str]:
    """The arguments without --out: where the results were put is a folder of one machine."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--out")
    return parser.parse_known_args(arguments)[1]


def write(result: dict, folder: Path, markdown: Callable[[dict], str]) -> None:
    """Write NAME.json and NAME.md, and print the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    json_files.write_json(folder / f"{result['benchmark']}.json", result)
    text = markdown(result)
    atomic.write_text(folder / f"{result['benchmark']}.md", text)
    print(text)


def page(result: dict, title: str, explanation: str, tables: Callable[[dict], list[str]]) -> str:
    """The Markdown of a result: what was measured where, and one table a setting.

    tables   the lines of a setting's table; called with way -> figure -> the best one
    """
    lines = [f"# {title}", "", textwrap.fill(f"`{result['command']}`: {explanation}", 110), ""]
    for setting, ways in result["figures"].items():
        heading = Setting.parse(setting).in_words()
        lines += [f"## {heading[0].upper()}{heading[1:]}", "", *tables(best(ways)), ""]
    lines += [f"- {text}" for text in result["missing"]]
    lines += ["- What is to be reached, and what is: [targets.md](targets.md)", ""]
    machine = "; ".join(f"{name}: {value}" for name, value in result["facts"].items())
    lines.append(textwrap.fill(f"{machine}.", 110))
    return "\n".join(lines) + "\n"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """Lines of Markdown; the first column is text, the others numbers."""
    head = list(head)
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def number(value: float | None, form: str = ".3g") -> str:
    """A cell; '-' for what was not measured."""
    return "-" if value is None else format(value, form)


def main() -> None:
    """Write every page again."""
    for name in NAMES:
        path = RESULTS / f"{name}.json"
        if path.is_file():
            markdown = importlib.import_module(f"benchmarks.bench_{name}").markdown
            atomic.write_text(RESULTS / f"{name}.md", markdown(json_files.read_object(path, "the results")))


if __name__ == "__main__":
    main()

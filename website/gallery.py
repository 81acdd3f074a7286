"""The gallery: runs scripts and notebooks, checks what they print, makes their pages.

    python -m website.gallery                     # all of them: make gallery
    python -m website.gallery which_blob          # one
    python -m website.gallery --write             # what is printed becomes what is expected

A script lies in docs/gallery/, begins with its title and a few sentences, prints numbers and saves pictures.
What it prints is committed in docs/gallery/output/, the pictures are not: they are made again for the site,
in .cache/gallery/. Nothing can be downloaded meanwhile.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.folders import ROOT

GALLERY = ROOT / "docs" / "gallery"
EXPECTED = GALLERY / "output"
MADE = ROOT / ".cache" / "gallery"
#: Of one script, so that a page that hangs ends; each is to take a minute at most on an idle machine.
SECONDS = 900

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
#: A download fails at once: nothing listens there.
_OFFLINE = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")}


@dataclass(frozen=True)
class Cell:
    """A part of an entry: text, or code with what it printed and the names of its pictures."""

    text: str = ""
    code: str = ""
    output: str = ""
    pictures: tuple[str, ...] = ()


def entries() -> list[Path]:
    """The scripts and notebooks, by name."""
    return sorted([*GALLERY.glob("*.py"), *GALLERY.glob("*.ipynb")])


def run(entry: Path) -> str:
    """Run one in .cache/gallery/NAME, where its pictures stay; what it printed. Raises RuntimeError."""
    folder = MADE / entry.stem
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    environment = {
        **os.environ,
        **_OFFLINE,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "100",
    }
    module = [] if entry.suffix == ".py" else ["-m", "website.notebooks"]
    done = subprocess.run(
        [sys.executable, *module, str(entry)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    if done.returncode:
        raise RuntimeError(
            f"{entry.relative_to(ROOT)}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        )
    (folder / "output.txt").write_text(done.stdout, encoding="utf-8")
    return done.stdout


def differences(expected: str, found: str) -> list[str]:
    """Where two outputs disagree, a line each; empty if they agree.

    Text has to be equal, and so do whole numbers. Those with a decimal point may differ by 1 %, or by two
    units of their last digit: processors round differently.
    """
    before, after = expected.splitlines(), found.splitlines()
    if len(before) != len(after):
        return [f"expected {len(before)} lines, found {len(after)}"]
    return [
        f"expected {one!r}, found {other!r}" for one, other in zip(before, after) if not _agree(one, other)
    ]


def _agree(one: str, other: str) -> bool:
    if " ".join(_NUMBER.sub("#", one).split()) != " ".join(_NUMBER.sub("#", other).split()):
        return False
    return all(_close(a, b) for a, b in zip(_NUMBER.findall(one), _NUMBER.findall(other)))


def _close(a: str, b: str) -> bool:
    if "." not in a and "e" not in a:
        return a == b
    if "e" in a:  # the size of a rounding error
        return float(b) <= 10 * max(float(a), 1e-7)
    digits = len(a.partition(".")[2])
    return abs(float(a) - float(b)) <= max(0.01 * abs(float(a)), 2.001 * 10.0**-digits)


# ---- pages


def page(entry: Path) -> str:
    """The Markdown of an entry's page: title, picture, text, code, output. Raises FileNotFoundError."""
    folder = MADE / entry.stem
    if not (folder / "output.txt").exists():
        raise FileNotFoundError(f"{folder}: not there; 'make gallery' runs the gallery")
    title, *cells = _script(entry) if entry.suffix == ".py" else _notebook(entry)
    shown = pictures(entry)
    lines = [f"# {title.text}", ""]
    if shown:
        lines += [f"![{title.text}]({entry.stem}/{shown[0].name})", ""]
    for cell in cells:
        if cell.text:
            lines += [cell.text, ""]
        if cell.code:
            lines += ["```python", cell.code.strip("\n"), "```", ""]
        if cell.output.strip():
            lines += ['```{ .text .no-copy title="prints" }', cell.output.strip("\n"), "```", ""]
        lines += [f"![]({entry.stem}/{name})\n" for name in cell.pictures if name != shown[0].name]
    kind = "notebook" if entry.suffix == ".ipynb" else "script"
    lines += [f'<a href="{entry.name}" download>{entry.name}</a>: the {kind}.', ""]
    return "\n".join(lines)


def pictures(entry: Path) -> list[Path]:
    """What it saved, the first one first: by name."""
    return sorted((MADE / entry.stem).glob("*.png"))


def _script(entry: Path) -> list[Cell]:
    source = entry.read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(source)) or ""
    title, _, text = docstring.partition("\n")
    code = source[source.index('"""', 3) + 3 :].replace("from __future__ import annotations\n", "")
    output = (MADE / entry.stem / "output.txt").read_text(encoding="utf-8")
    others = tuple(path.name for path in pictures(entry)[1:])
    return [
        Cell(text=title.rstrip(".")),
        Cell(text=text.strip()),
        Cell(code=code, output=output, pictures=others),
    ]


def _notebook(entry: Path) -> list[Cell]:
    import nbformat

    notebook: Any = nbformat.read(MADE / entry.stem / entry.name, as_version=4)  # as it was executed
    cells: list[Cell] = []
    number = 0
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            title, _, rest = cell.source.partition("\n")
            if not cells:
                cells += [Cell(text=title.lstrip("# "))]
                cells += [Cell(text=rest.strip())] if rest.strip() else []
            else:
                cells.append(Cell(text=cell.source))
            continue
        shown = sum("image/png" in output.get("data", {}) for output in cell.outputs)
        names = tuple(f"{entry.stem}_{number + index}.png" for index in range(shown))
        number += shown
        cells.append(Cell(code=cell.source, output=_text_of(cell.outputs), pictures=names))
    return cells


def _text_of(outputs: list[Any]) -> str:
    text = ""
    for output in outputs:
        if output.output_type == "stream":
            text += output.text
        elif "image/png" not in output.get("data", {}):
            text += output.get("data", {}).get("text/plain", "") + "\n"
    return text


# ---- the command


def check(entry: Path, write: bool) -> tuple[float, list[str]]:
    """Run an entry: its seconds, and what is wrong with it."""
    started = time.monotonic()
    try:
        found = run(entry)
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        return time.monotonic() - started, [str(error)]
    seconds = time.monotonic() - started
    path = EXPECTED / f"{entry.stem}.txt"
    if write:
        path.write_text(found, encoding="utf-8")
    if not path.exists():
        return seconds, [f"{path.relative_to(ROOT)} is not there: --write makes it"]
    problems = differences(path.read_text(encoding="utf-8"), found)
    return seconds, [f"{entry.stem}: {problem}" for problem in problems]


def main() -> int:
    """Run the gallery; 1 if an entry failed or printed something else."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="entries, such as which_blob (default: all)")
    parser.add_argument("--write", action="store_true", help="what is printed becomes what is expected")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (default: 2)")
    args = parser.parse_args()
    chosen = [entry for entry in entries() if not args.names or entry.stem in args.names]
    unknown = set(args.names) - {entry.stem for entry in chosen}
    if unknown:
        parser.error(
            f"no such entry: {', '.join(sorted(unknown))} (known: {', '.join(e.stem for e in entries())})"
        )
    failed = False
    with ThreadPoolExecutor(args.jobs) as pool:
        for entry, (seconds, problems) in zip(chosen, pool.map(lambda one: check(one, args.write), chosen)):
            print(f"{entry.stem:<26}{seconds:6.1f} s  {'differs' if problems else 'as expected'}", flush=True)
            for problem in problems:
                print(f"  {problem}")
            failed = failed or bool(problems)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

"""The tables of docs/relatives.md, from the reports of ``make reproduce-relatives``.

    python -m benchmarks.relatives [--reports reports]

Behind each line ``<!-- relatives: SUITE -->`` of the page the tables of that suite's report are put, as they
are in reports/SUITE/relatives/table.md (the classifiers': reports/paper/relatives-classifiers); its figure
is put into docs/images. A suite without a report keeps what it has.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from caffe_gp.files import atomic

from .folders import ROOT

PAGE, IMAGES = ROOT / "docs" / "relatives.md", ROOT / "docs" / "images"
_PART = re.compile(r"(<!-- relatives: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reports", type=Path, default=Path("reports"), metavar="DIR")
    reports = parser.parse_args().reports

    def filled(part: re.Match[str]) -> str:
        suite = part[2]
        folder = reports / suite / "relatives"
        if suite == "classifiers":
            folder = reports / "paper" / "relatives-classifiers"
        if not (folder / "table.md").is_file():
            return part[0]
        picture = folder / "relatives.png"
        if picture.is_file():
            atomic.write_bytes(IMAGES / f"relatives_{suite}.png", picture.read_bytes())
        return f"{part[1]}\n{tables(folder / 'table.md')}\n{part[3]}"

    atomic.write_text(PAGE, _PART.sub(filled, PAGE.read_text(encoding="utf-8")))


def tables(path: Path) -> str:
    """The tables of a report, their titles one level down."""
    text = path.read_text(encoding="utf-8")
    found = text[text.index("\n## ") + 1 :]
    return (
        "\n".join(
            "#" + line if line.startswith("## ") else line
            for line in found.splitlines()
            if not line.startswith("![")
        ).rstrip("\n")
        + "\n"
    )


if __name__ == "__main__":
    main()

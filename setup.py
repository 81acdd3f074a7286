"""What pyproject.toml cannot say: files from outside the package that ship with it, and README's links."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent

# Copied into caffe_gp/shipped, where an installed package's caffe_gp.files.places.shipped() finds them.
SHIPPED = ("prototxt/*/*.prototxt", "models/digits/digits.caffemodel")


class BuildWithShipped(build_py):
    """Copies SHIPPED too, except for an editable installation, which uses the checkout's."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for pattern in SHIPPED:
            found = sorted(ROOT.glob(pattern))
            if not found:
                raise FileNotFoundError(f"{pattern}: nothing to ship; build from a whole checkout or sdist")
            for source in found:
                target = Path(self.build_lib) / "caffe_gp" / "shipped" / source.relative_to(ROOT)
                self.mkpath(str(target.parent))
                self.copy_file(str(source), str(target))


def for_the_index(readme: str, source: str | None) -> str:
    """README as the package index shows it, where a relative link leads nowhere.

    source  address of the repository: links and pictures then lead there. Without one a link becomes its
            text, and a picture goes.
    """

    def link(found: re.Match[str]) -> str:
        picture, text, target = found.groups()
        if re.match(r"[a-z]+:|#", target):
            return found.group(0)
        if source is None:
            return "" if picture else text
        return f"{picture}[{text}]({source}/{'raw' if picture else 'blob'}/HEAD/{target})"

    return re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", link, readme)


def _source() -> str | None:
    """``Source`` of pyproject.toml's [project.urls], if it is there."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r'^Source = "(.+)"', text, re.MULTILINE)
    return found.group(1).rstrip("/") if found else None


if __name__ == "__main__":
    setup(
        cmdclass={"build_py": BuildWithShipped},
        long_description=for_the_index((ROOT / "README.md").read_text(encoding="utf-8"), _source()),
        long_description_content_type="text/markdown",
    )

"""setup.py: README on the package index, where a relative link leads nowhere."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

pytest.importorskip("setuptools")
ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"\]\(([^)]+)\)")


@pytest.fixture(scope="module")
def setup():
    spec = importlib.util.spec_from_file_location("setup_of_caffe_gp", ROOT / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("source", [None, "https://example.org/caffe_gp"])
def test_every_link_of_the_readme_is_absolute(setup, source):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    relative = [target for target in LINK.findall(readme) if "://" not in target]
    assert relative and all((ROOT / target.split("#")[0]).exists() for target in relative)
    text = setup.for_the_index(readme, source)
    targets = LINK.findall(text)
    assert all(target.startswith("https://") for target in targets)
    if source is None:
        assert len(targets) == len(LINK.findall(readme)) - len(relative)
    else:
        pages = {f"{source}/blob/HEAD/{target}" for target in relative if target.endswith(".md")}
        assert pages <= set(targets)


def test_a_link_becomes_its_text_and_a_picture_goes(setup):
    text = "See [the results](docs/results.md) and [arXiv](https://arxiv.org/abs/1).\n![scene](docs/a.png)\n"
    assert setup.for_the_index(text, None) == "See the results and [arXiv](https://arxiv.org/abs/1).\n\n"
    linked = setup.for_the_index(text, "https://e.org/x")
    assert "[the results](https://e.org/x/blob/HEAD/docs/results.md)" in linked
    assert "![scene](https://e.org/x/raw/HEAD/docs/a.png)" in linked


@pytest.mark.parametrize(
    "pattern, least", [("prototxt/*/*.prototxt", 15), ("models/digits/digits.caffemodel", 1)]
)
def test_what_ships_is_there(setup, pattern, least):
    assert pattern in setup.SHIPPED and len(list(ROOT.glob(pattern))) >= least

"""The site of docs/: every page has a place, links lead to pages, docstrings become Markdown."""

from __future__ import annotations

import posixpath
import re

import pytest
import yaml

import caffe_gp
from caffe_gp.models import zoo
from conformance.folders import ROOT
from website import commands, gallery, links, tables


class Loader(yaml.SafeLoader):
    """mkdocs.yml names Python objects, which are of no interest here."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/name:", lambda loader, suffix, node: suffix)


def nav() -> list[str]:
    """Every page of the navigation."""

    def below(part):
        if isinstance(part, str):
            return [part]
        parts = part.values() if isinstance(part, dict) else part
        return [page for one in parts for page in below(one)]

    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    return below(yaml.load(text, Loader)["nav"])  # noqa: S506


def test_every_page_has_a_place_in_the_navigation():
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    pages |= {f"gallery/{entry.stem}.md" for entry in gallery.entries()}
    without = sorted(pages - set(nav()))
    assert not without, f"mkdocs.yml: give these pages a line in nav: {', '.join(without)}"


def test_the_navigation_names_what_is_there():
    generated = {f"gallery/{entry.stem}.md" for entry in gallery.entries()}
    assert len(nav()) == len(set(nav()))
    for page in set(nav()) - generated:
        assert (ROOT / links.place_of(page)).is_file(), page


def test_the_list_of_pages_is_whole():
    """docs/README.md leads to every page of docs/, for readers of the checkout."""
    text = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    missing = {page for page in nav() if re.fullmatch(r"\w+\.md", page) and f"]({page})" not in text}
    assert missing == {"README.md"}


def test_the_gallery_s_list_is_whole():
    text = (ROOT / "docs/gallery/README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^- \[[^\]]+\]\((\S+)\): \S", text, re.M)
    assert sorted(listed) == [entry.name for entry in gallery.entries()]
    expected = {path.stem for path in gallery.EXPECTED.iterdir()}
    assert expected == {entry.stem for entry in gallery.entries()}


def test_the_python_page_has_every_public_name():
    text = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^::: caffe_gp\.(\w+)$", text, re.M))
    assert set(caffe_gp.__all__) - {"__version__", "models"} <= named


@pytest.mark.parametrize(
    "page, link, wanted",
    [
        ("README.md", "[a](start.md#install)", "[a](start.md#install)"),
        ("README.md", "![a](images/demo.png)", "![a](images/demo.png)"),
        ("results.md", "[a](../models/digits/README.md)", "[a](project/models/digits/README.md)"),
        ("export.md", "[a/b.py](../caffe_gp/proto/schema.py)", "`a/b.py`"),
        ("gallery/README.md", "[a](which_blob.py): b", "[a](which_blob.md): b"),
        ("method.md", "[a](gallery/sweep_eps.ipynb)", "[a](gallery/sweep_eps.md)"),
        ("project/models/README.md", "[a](../docs/weights.md)", "[a](../../weights.md)"),
        ("project/models/README.md", "[a](digits/README.md)", "[a](digits/README.md)"),
        ("method.md", "[a](https://example.org/b.md)", "[a](https://example.org/b.md)"),
        ("method.md", "[a](not_there.md)", "[a](not_there.md)"),
        ("method.md", "```python\n[a](../models/README.md)\n```", "```python\n[a](../models/README.md)\n```"),
    ],
)
def test_links(page, link, wanted):
    here = {*nav(), "images/demo.png"}
    assert links.rewritten(link, page, lambda name: posixpath.normpath(name) in here) == wanted


def test_every_command_has_its_section():
    page = commands.page()
    assert "## run\n" in page and "`--eps" in page and "%(default)s" not in page
    assert re.findall(r"^## (\w+)$", page, re.M)[:2] == ["run", "evaluate"]


def test_columns_of_docstrings_become_a_list():
    pytest.importorskip("griffe", reason="make docs installs it")
    from website import docstrings

    text = "What it does.\n\nnet     a net\n        of either engine\nblob    ``data``\nbetween a b\n"
    text += "Raises NetError.\n\n    f(1)"
    wanted = "What it does.\n\n- `net`: a net\n    of either engine\n- `blob`: `data`\n- `between`: a b\n\n"
    wanted += "Raises NetError.\n\n```python\nf(1)\n```"
    assert docstrings.markdown(text) == wanted


def test_the_table_of_models_has_every_model():
    rows = tables.models().splitlines()[2:]
    assert [row.split(" | ")[0].strip("| `") for row in rows] == list(zoo.MODELS)
    assert "| `digits` | `prototxt/digits/deploy.prototxt` | sha256 `64fbcc97fa1e` |" in "\n".join(rows)


def test_the_table_of_costs_has_every_net_that_was_measured():
    assert tables.time_and_memory().count("\n| `") >= 15


@pytest.mark.parametrize(
    "found, agrees",
    [
        ("mean IU 67.02 %, 3 images\n", True),
        ("mean IU 67.6 %, 3 images\n", True),
        ("mean IU 68.2 %, 3 images\n", False),
        ("mean IU 67.00 %, 4 images\n", False),
        ("mean IoU 67.00 %, 3 images\n", False),
        ("mean IU 67.00 %, 3 images\nmore\n", False),
    ],
)
def test_what_the_gallery_prints_is_compared(found, agrees):
    assert (not gallery.differences("mean IU 67.00 %, 3 images\n", found)) is agrees


def test_sizes_of_rounding_errors_may_shrink():
    assert not gallery.differences("error 5.0e-07\n", "error 1.1e-08\n")
    assert gallery.differences("error 5.0e-07\n", "error 5.0e-04\n")

"""What the documentation quotes is there: messages by their words, pages by their links."""

from __future__ import annotations

import re

import pytest

from conformance import layers
from conformance.folders import ROOT

PAGES = sorted(ROOT.glob("docs/*.md"))


@pytest.fixture(scope="module")
def sources():
    """The package's source, with the strings that are continued on another line joined."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "caffe_gp").rglob("*.py")))
    return re.sub(r'"\s*\n\s*f?"', "", text)


def quoted_messages():
    """The words in the first column of docs/troubleshooting.md; '...' stands for what differs."""
    for line in (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("| ") and not line.startswith("| what is seen"):
            for quoted in re.findall(r"`([^`]+)`", line.split(" | ")[0]):
                yield from (part.strip(" '") for part in quoted.split("..."))


@pytest.mark.parametrize("words", sorted({words for words in quoted_messages() if len(words) > 5}))
def test_messages_are_those_of_the_program(words, sources):
    assert words in sources


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert re.match(r"https?:|mailto:", target) or (page.parent / target).exists(), target


def test_the_page_of_layers_is_up_to_date():
    """`python -m conformance.layers --table docs/layers.md` writes it."""
    assert (ROOT / "docs/layers.md").read_text(encoding="utf-8") == layers.page()

"""What the documentation quotes is there: messages by their words, pages by their links."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter

import pytest

from conformance import layers
from conformance.cases import FAMILIES
from conformance.every import nets as every
from conformance.folders import ROOT
from conformance.forks import nets as forks
from conformance.networks import nets as networks
from conformance.released import nets as released
from conformance.released import other_files

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


# The other pages are written where BVLC Caffe is: that they have the rows which would be written today.


def rows(page, heading=""):
    """The cells of a table's lines, of the whole page or behind a heading."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    if heading:
        text = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_the_page_of_faithfulness_has_every_case():
    counts = Counter(case.layer for family in FAMILIES.values() for case in family())
    assert {cells[0]: int(cells[1]) for cells in rows("faithfulness.md")} == counts


def test_the_page_of_networks_has_every_network():
    assert [cells[0].strip("`") for cells in rows("networks.md")] == list(networks.SIZES)


def test_the_page_of_released_files_has_every_file():
    pairs = [(net.prototxt, os.path.basename(net.weights)) for net in released.NETS.values()]
    assert [tuple(re.findall("`(.*?)`", cells[0])) for cells in rows("compatibility.md", "Nets")] == pairs
    files = [cells[0].strip("`") for cells in rows("compatibility.md", "Other files")]
    assert files == list(other_files.FILES)


def test_the_page_of_forks_has_every_net():
    named = [(name, net.prototxt) for name, net in forks.NETS.items()]
    found = [(cells[0].split("<br>")[0], re.findall("`(.*?)`", cells[0])[0]) for cells in rows("forks.md")]
    assert found == named


def test_the_table_of_every_net_has_the_list():
    """With 'not at hand' exactly where there are no hashes."""
    found = []
    for cells in rows("compatibility.md", "Every net"):
        repository, _, commit = cells[0].partition(" @")
        prototxt, *caffemodel = re.findall("`(.*?)`", cells[1])
        found.append((repository, commit, prototxt, "".join(caffemodel), cells[2] == "not at hand"))
    assert found == [
        (row.repository, row.commit, row.prototxt, os.path.basename(row.caffemodel), not row.prototxt_sha256)
        for row in every.rows()
    ]


def test_the_list_of_every_net_has_every_file_at_hand(shared_data):
    """But solvers; and the hashes are right."""
    folders = ("caffe_voc", "caffemodels", "released", "released_prototxts")
    files = [path for folder in folders for path in (shared_data / folder).rglob("*")]
    names = {
        str(path.relative_to(shared_data))
        for path in files
        if re.search(r"\.prototxt|\.caffemodel$", path.name)
    }
    listed = {}
    for row in every.rows():
        listed.update({row.prototxt: row.prototxt_sha256, row.caffemodel: row.caffemodel_sha256})
    assert {name for name in names if "solver" not in name} == {name for name, sha in listed.items() if sha}
    for name, sha in listed.items():
        assert not sha or hashlib.sha256((shared_data / name).read_bytes()).hexdigest() == sha, name

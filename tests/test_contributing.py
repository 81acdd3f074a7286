"""CONTRIBUTING.md: its worked examples, carried out in a copy of the checkout as they are printed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.folders import ROOT

pytest.importorskip("torch", reason="a layer of the embedded Caffe is among the examples")

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
EXAMPLES = dict(part.split("\n", 1) for part in re.split(r"^### ", PAGE, flags=re.M)[1:])
BLOCK = re.compile(r"^```(\w+)\n(# |--- )(\S+)\n(.*?)^```$", re.M | re.S)
COMMAND = re.compile(r"^    \.venv/bin/python (.*)$", re.M)
# What the commands of an example leave behind it: file -> words in it.
LEFT = {
    "A layer": {
        "docs/layers.md": "| Reverse | Caffe for Huawei's Ascend | `reverse_param` | yes | formulas |"
    },
    "A net": {
        "prototxt/digits-plain/deploy.prototxt": 'top: "score"',
        "docs/models.md": "| `digits-plain` | FCN without a skip, digit scenes |",
    },
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """A checkout to change; weights are linked."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("caffe_gp", "conformance", "docs", "prototxt", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "goldens"))
    for name in ("pyproject.toml", "setup.py"):
        shutil.copy(ROOT / name, folder)
    (folder / "models").symlink_to(ROOT / "models")
    return folder


def edit(folder: Path, text: str) -> list[Path]:
    """Make the changes of a section; returns the files."""
    changed = []
    for kind, _, name, body in BLOCK.findall(text):
        path = folder / name
        changed.append(path)
        if kind == "python":
            assert not path.exists(), f"{name} is there already"
            path.write_text(f"# {name}\n{body}", encoding="utf-8")
            continue
        lines = body.splitlines()
        old, new = ("".join(f"{line[1:]}\n" for line in lines if line[:1] != mark) for mark in "+-")
        source = path.read_text(encoding="utf-8")
        assert source.count(old) == 1, f"{name} has not these lines once:\n{old}"
        path.write_text(source.replace(old, new), encoding="utf-8")
    return changed


def run(folder: Path, words: list[str]) -> str:
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("heading", EXAMPLES)
def test_example(copy, heading):
    text = EXAMPLES[heading]
    changed = edit(copy, text)
    said = [run(copy, command.split()) for command in COMMAND.findall(text)]
    assert changed and any(re.search(r"^\d+ passed", answer, re.M) for answer in said)
    for name, words in LEFT.get(heading, {}).items():
        assert words in (copy / name).read_text(encoding="utf-8")
    pytest.importorskip("ruff")
    run(copy, ["-m", "ruff", "check", *map(str, changed)])
    run(copy, ["-m", "ruff", "format", "--check", *map(str, changed)])


def test_every_fenced_block_is_carried_out():
    for text in EXAMPLES.values():
        assert len(BLOCK.findall(text)) == text.count("```") / 2


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "CHANGELOG.md", "README.md", "SECURITY.md"])
def test_links_lead_somewhere(page):
    """As tests/test_docs.py asserts of the pages in docs/."""
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", (ROOT / page).read_text(encoding="utf-8")):
        assert re.match(r"https?:|mailto:", target) or (ROOT / target).exists(), target

"""Pages for users: their commands run, and print what they say (their Python is in test_examples.py)."""

from __future__ import annotations

import re
import shlex

import cv2
import pytest

from caffe_gp.cli.main import main
from caffe_gp.datasets.digit_scenes import DigitScenes
from caffe_gp.images.label_maps import voc_palette
from caffe_gp.models import zoo
from caffe_gp.models.weights import require
from conformance.folders import ROOT
from website.gallery import differences

pytest.importorskip("torch", reason="the pages are about the embedded Caffe")

PAGES = ("start", "reading_output", "data")
#: A command of four blanks' indent, with what it prints behind it.
BLOCK = re.compile(r"^    caffe_gp (?P<command>run .*)\n(?:\n```text\n(?P<printed>(?:.*\n)+?)```)?", re.M)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder, where the work is done, with every file that the pages name."""
    scenes = DigitScenes("test")
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for i in range(20):
        for folder, pixels in zip(("images", "labels"), scenes.scene(i)):
            cv2.imwrite(str(tmp_path / folder / f"{i:04d}.png"), pixels)
    (tmp_path / "list.txt").write_text("images/0000.png\nimages/0001.png\n")
    cv2.imwrite(str(tmp_path / "colours.png"), voc_palette()[[[0, 1], [2, 20]], ::-1])
    (tmp_path / "photo.png").symlink_to(tmp_path / "images/0003.png")
    (tmp_path / "deploy.prototxt").symlink_to(zoo.get("digits").prototxt())
    (tmp_path / "net.caffemodel").symlink_to(require("digits"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_what_it_says_runs(page, files, capsys):
    text = (ROOT / f"docs/{page}.md").read_text(encoding="utf-8")
    blocks = list(BLOCK.finditer(text))
    assert blocks
    for block in blocks:
        assert main(shlex.split(block["command"], comments=True)) == 0, block["command"]
        printed = capsys.readouterr().out
        wanted = block["printed"] or ""
        first = "".join(printed.splitlines(keepends=True)[: wanted.count("\n")])
        assert not differences(wanted, first), block["command"]


def test_the_first_lines_print_a_gain(capsys):
    text = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", text, re.S)
    assert code and len([line for line in code[1].splitlines() if line and not line.startswith("from ")]) == 5
    exec(compile(code[1], "docs/README.md", "exec"), {})
    before, after = map(float, re.findall(r"(\d+\.\d+)%", printed := capsys.readouterr().out))
    assert not differences(re.search(r"```text\n(.*?)```", text, re.S)[1], printed)
    assert 90 < before < after - 0.3

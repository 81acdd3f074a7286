"""A manifest of one's own: checked when it is used, with an error that names file and field."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from caffe_gp.datasets import sources
from caffe_gp.errors import DataError
from caffe_gp.models import weights

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "models": (weights.MANIFEST_VARIABLE, "files", weights.released),
    "datasets": (sources.MANIFEST_VARIABLE, "sources", sources.published),
}


@pytest.fixture
def given(tmp_path, monkeypatch):
    """Reads a package's manifest with one's own, which holds ``content``."""

    def given(package, content):
        variable, _, read = PACKAGES[package]
        read()  # the package's own is what others get from here on
        path = tmp_path / "own.json"
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        monkeypatch.setenv(variable, str(path))
        return read.__wrapped__()

    return given


def entry(package, number=0):
    text = (ROOT / "caffe_gp" / package / "manifest.json").read_text(encoding="utf-8")
    return copy.deepcopy(json.loads(text)[PACKAGES[package][1]][number])


def refused(given, package, content, *words):
    with pytest.raises(DataError) as caught:
        given(package, content)
    message = str(caught.value)
    assert "own.json" in message and message.isprintable() and len(message) < 900
    for word in words:
        assert word in message


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\xff",
        b"{",
        b"[" * 100_000,
        b"[]",
        b"7",
        b"{}",
        b'{"files": {}, "sources": 7}',
        b'{"files": [7], "sources": [null]}',
        b'{"files": [[]], "sources": ["x"]}',
        b'{"files": [{}], "sources": [{}]}',
    ],
)
def test_damaged_files(given, package, content):
    refused(given, package, content)


@pytest.mark.parametrize("package", PACKAGES)
def test_files_that_are_none(tmp_path, monkeypatch, package):
    variable, _, read = PACKAGES[package]
    os.mkfifo(tmp_path / "pipe")
    for path, says in ((tmp_path / "pipe", "a pipe"), (tmp_path, "a folder"), ("/dev/zero", "a device")):
        monkeypatch.setenv(variable, str(path))
        with pytest.raises(DataError, match=says):
            read.__wrapped__()
    monkeypatch.setenv(variable, str(tmp_path / "missing"))
    with pytest.raises(DataError, match="missing: not readable"):
        read.__wrapped__()


MODELS = {
    "name": [
        "../evil.caffemodel",
        "/etc/x",
        "a/b",
        "",
        ".",
        "..",
        "a\x1b[2J",
        "other.caffemodel",
        7,
        None,
        "x" * 300,
    ],
    "urls": ["http://x/y", [7], ["file:///etc/passwd"], ["ftp://x/y"], ["http://"], ["http://[::1"], None],
    "size": [-1, 1.5, "7", True, 1 << 60],
    "sha256": ["", "xyz", "0" * 63, "0" * 65, "A" * 64, 7],
    "parameters": [None, -1, "x"],
    "licence": [None, "a\x07b", ["x"]],
    "non_commercial": [0, "no", None],
    "scores": [7, None, [7], [{}], [{"mean_iu": "x", "on": "", "source": ""}]],
    "mirrors": [{}, [7], [{"file": "../x"}]],
    "unknown": [1],
}


@pytest.mark.parametrize("field, value", [(field, value) for field in MODELS for value in MODELS[field]])
def test_fields_of_weights(given, field, value):
    content = {**entry("models"), field: value}
    refused(given, "models", {"files": [entry("models", 1), content]}, "files[1]", field)


ARCHIVE = {
    "file": ["../x", "/x", "a/b", ""],
    "take": [{"a": "../b"}, {"../a": "b"}, {"a": "/b"}, {"a": ""}, [], {"a": 7}],
    "counts": [{"../x": 1}, {"elsewhere/x": 1}, {"VOCdevkit/VOC2012/x": -1}],
    "members": [{"VOCdevkit/VOC2012/x": "md5"}, {"/x": "0" * 32}, {"elsewhere": "0" * 32}],
    "size": [-1, "1"],
    "lists": [7, [{}], [{"target": "../x", "urls": [], "count": 1, "sha1": None}]],
}


@pytest.mark.parametrize("field, value", [(field, value) for field in ARCHIVE for value in ARCHIVE[field]])
def test_fields_of_archives(given, field, value):
    content = entry("datasets")
    content["archive"][field] = value
    refused(given, "datasets", {"sources": [content]}, "sources[0]", "archive")


@pytest.mark.parametrize(
    "field, value",
    [
        ("archive", 7),
        ("archive", []),
        ("drawn", ["../val"]),
        ("drawn", ["digit-scenes/other"]),
        ("files", [{"target": "/x", "urls": [], "sha256": "0" * 64, "content_md5": "0" * 32}]),
        ("title", "\x1b]0;x\x07"),
        ("page", 7),
    ],
)
def test_fields_of_sources(given, field, value):
    refused(given, "datasets", {"sources": [{**entry("datasets"), field: value}]}, "sources[0]", field)


@pytest.mark.parametrize("package", PACKAGES)
def test_entries_of_ones_own_take_the_place_of_others(given, package):
    content = entry(package)
    content["licence"] = "mine"
    found = given(package, {"about": "mine", PACKAGES[package][1]: [content]})
    assert found[content["name"]].licence == "mine" and len(found) == len(PACKAGES[package][2]())


@pytest.mark.parametrize(
    "words", [["fetch", "--help"], ["fetch", "models", "--help"], ["fetch", "data", "--list"]]
)
def test_no_traceback_at_import(tmp_path, words):
    (tmp_path / "own.json").write_text("{")
    names = dict.fromkeys((variable for variable, _, _ in PACKAGES.values()), str(tmp_path / "own.json"))
    done = subprocess.run(
        [sys.executable, "-m", "caffe_gp", *words],
        env={**os.environ, **names, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stderr
    assert (done.returncode, "own.json" in done.stderr) == ((2, True) if "--list" in words else (0, False))

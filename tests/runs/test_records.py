"""Records of a run: torn lines, other keys, runs of earlier versions, files of something else."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from caffe_gp.errors import DataError
from caffe_gp.runs.folder import RunFolder
from caffe_gp.runs.records import MAX_LINE_BYTES, RecordWriter, check_key, read_records

pytestmark = pytest.mark.engine

KEY = {"eps": [0.5], "blob": "data", "scale": 1 / 256}


def write(path, *records):
    """A file of records."""
    writer = RecordWriter(path, {"key": KEY})
    for record in records:
        writer.write(record)
    writer.close()


@pytest.fixture
def folder(tmp_path):
    """A run of three items, begun."""
    run = RunFolder(tmp_path / "sub" / "run")
    run.begin(KEY, ["a", "b", "c"])
    return run


def test_records_are_there_again(folder):
    with folder.new_records({"key": KEY}) as writer:
        writer.write({"item": "a", "value": (1, 2)})
    with folder.new_records({"key": KEY}) as writer:
        writer.write({"item": "b", "value": 3}, {"item": "a", "value": 4})
    assert folder.records() == {"a": {"item": "a", "value": 4}, "b": {"item": "b", "value": 3}}
    again = RunFolder(folder.path)
    assert again.is_begun() and again.key() == KEY and again.ids() == ["a", "b", "c"]
    assert list(again.finished(KEY, lambda item, record: item != "b")) == ["a"]
    assert [path.name for path in sorted((folder.path / "records").iterdir())] == ["0.jsonl", "1.jsonl"]


def test_an_item_twice_in_one_file_is_refused(folder):
    """A file of 100,000 copies of a record takes long; no worker writes two."""
    path = folder.path / "records" / "0.jsonl"
    write(path, {"item": "a"}, {"item": "b"}, {"item": "a"})
    with pytest.raises(DataError, match="0.jsonl, line 4: .*item 'a' is in this file already"):
        folder.records()


@pytest.mark.parametrize("torn", [1, 5, 20])
def test_a_torn_last_line_is_dropped(folder, torn):
    path = folder.path / "records" / "0.jsonl"
    write(path, {"item": "a", "value": 1}, {"item": "b", "value": 2})
    path.write_bytes(path.read_bytes()[:-torn])
    assert list(folder.records()) == ["a"]
    with folder.new_records({"key": KEY}) as writer:
        writer.write({"item": "c", "value": 1})
    assert list(folder.records()) == ["a", "c"]


def test_another_key_names_the_field(folder):
    write(folder.path / "records" / "0.jsonl", {"item": "a"})
    with pytest.raises(DataError, match=r"eps = \[0.5\], now it is \[0.7\]; give another output folder"):
        folder.finished({**KEY, "eps": [0.7]}, lambda item, record: True)
    with pytest.raises(DataError, match="seed = its default, now it is 1"):
        check_key(folder.path, KEY, {**KEY, "seed": 1})


@pytest.mark.parametrize("content", ["hello\n", '{"key": 1}\n', "[1]\n", '{"a": 2}\n'])
def test_a_file_of_something_else_is_not_touched(folder, content):
    path = folder.path / "records" / "0.jsonl"
    path.write_text(content)
    with pytest.raises(DataError, match="line 1"):
        folder.parts()
    assert path.read_text() == content


def test_a_file_torn_in_its_first_line_holds_nothing(folder):
    path = folder.path / "records" / "0.jsonl"
    path.write_text('{"key": {"e')
    assert read_records(path) == (None, []) and folder.records() == {}
    with folder.new_records({"key": KEY}) as writer:
        writer.write({"item": "a"})
    assert list(folder.records()) == ["a"]


@pytest.mark.parametrize("name", ["records.jsonl", "unfinished"])
def test_a_run_of_an_earlier_version_is_refused_in_one_sentence(tmp_path, name):
    (tmp_path / name).mkdir()
    message = "an earlier version of caffe_gp began this run.*another output folder"
    with pytest.raises(DataError, match=message):
        RunFolder(tmp_path).finished(KEY, lambda item, record: True)


def test_a_list_that_grew_is_written_again(folder):
    write(folder.path / "records" / "0.jsonl", {"item": "a"})
    folder.begin(KEY, ["a", "b", "c", "d"])
    assert folder.ids() == ["a", "b", "c", "d"] and list(folder.records()) == ["a"]


def test_a_first_try_that_computed_nothing_is_in_nobodys_way(folder):
    other = {**KEY, "eps": [0.7]}
    write(folder.path / "records" / "0.jsonl")
    torn = RecordWriter(folder.path / "records" / "1.jsonl", {"key": KEY})
    torn._file.write(b'{"item": "a", "val')
    torn.close()
    assert not folder.is_begun() and folder.finished(other, lambda item, record: True) == {}
    folder.begin(other, ["a"])
    with folder.new_records({"key": other}) as writer:
        writer.write({"item": "a"})
    assert folder.key() == other and list(folder.records()) == ["a"]


def test_long_settings_are_cut_around_their_difference():
    path = "folder:" + "images/" * 20
    with pytest.raises(DataError) as caught:
        check_key(path="out", found={"data": path + ":11"}, key={"data": path + ":21 and more" + "." * 99})
    assert 'images/images/:11", now it is ...' in str(caught.value)
    assert "images/images/:21 and more" in str(caught.value) and len(str(caught.value)) < 320


# ---- one at a time

HOLDER = "import sys, pathlib\nfrom caffe_gp.files.locks import only_here\n"
HOLDER += "with only_here(pathlib.Path(sys.argv[1])):\n    print('in', flush=True)\n    sys.stdin.read()\n"


def test_two_processes_in_one_folder(folder):
    words = [sys.executable, "-c", HOLDER, str(folder.path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"in\n"
        who = f"process {holder.pid} on {socket.gethostname()}, since 20"
        with pytest.raises(DataError, match=f"{folder.path}: {who}.* is at work in this folder"):
            with folder.only_here():
                pass
        holder.kill()
    with folder.only_here():  # the lock died with its process
        assert f"process {os.getpid()}" in (folder.path / ".lock").read_text()
    assert not (folder.path / ".lock").exists()


@pytest.mark.parametrize(
    "line, message",
    [
        (b"[" * 100_000 + b"\n", "line 2: not a record"),
        (b'"text"\n', "line 2: not a record"),
        (b'{"item": 3}\n', "line 2: not a record"),
        (b'{"item": ["a"]}\n', "line 2: not a record"),
        (b"\xff\n", "line 2: not a record"),
        (b'{"item": "' + b"a" * (MAX_LINE_BYTES) + b'"}\n', "line 2: longer than"),
    ],
)
def test_lines_of_a_damaged_file(folder, line, message):
    path = folder.path / "records" / "0.jsonl"
    write(path)
    with open(path, "ab") as stream:
        stream.write(line)
    with pytest.raises(DataError, match=f"0.jsonl, {message}"):
        folder.records()


def test_records_that_are_no_file(folder):
    os.mkfifo(folder.path / "records" / "0.jsonl")
    with pytest.raises(DataError, match="0.jsonl: not a file of records .it is a pipe"):
        folder.is_begun()
    for name, read in (("key.json", folder.key), ("ids.txt", folder.ids), ("results.json", folder.reports)):
        (folder.path / name).unlink(missing_ok=True)
        os.mkfifo(folder.path / name)
        with pytest.raises(DataError, match=f"{name}: not readable"):
            read()

"""Files appear when they are whole."""

from __future__ import annotations

import os

import pytest

from caffe_gp.files.atomic import write_atomically, write_bytes


def test_interrupted_writing_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "p.bin").write_bytes(b"old")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(tmp_path / "p.bin", b"new")
    assert [f.name for f in tmp_path.iterdir()] == ["p.bin"] and (tmp_path / "p.bin").read_bytes() == b"old"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_names_the_file(tmp_path):
    def to_a_full_disk(stream):
        with open("/dev/full", "wb") as full:
            full.write(b"content")

    with pytest.raises(OSError, match="No space left") as caught:
        write_atomically(tmp_path / "p.bin", to_a_full_disk)
    assert caught.value.filename == str(tmp_path / "p.bin")
    assert list(tmp_path.iterdir()) == []

"""Files appear when they are whole."""

from __future__ import annotations

import errno
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


def test_a_full_disk_names_the_file(tmp_path):
    def write(stream):
        stream.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for path in (tmp_path / "p.bin", tmp_path / "none" / "p.bin"):
        with pytest.raises(OSError) as caught:
            write_atomically(path, write)
        assert caught.value.filename == str(path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_only_files_are_replaced(tmp_path, make):
    """A pipe here stands for a device: to rename a file onto /dev/null, as root, takes it from everyone."""
    path = tmp_path / "special"
    make(path)
    kind = path.stat().st_mode
    with pytest.raises(OSError, match="no regular file, so it is not replaced"):
        write_bytes(path, b"new")
    assert path.stat().st_mode == kind and list(tmp_path.iterdir()) == [path]

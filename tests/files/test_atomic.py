"""Files appear when they are whole."""

from __future__ import annotations

import os

import pytest

from caffe_gp.files.atomic import write_bytes


def test_interrupted_writing_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "p.bin").write_bytes(b"old")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(tmp_path / "p.bin", b"new")
    assert [f.name for f in tmp_path.iterdir()] == ["p.bin"] and (tmp_path / "p.bin").read_bytes() == b"old"

"""A folder for one process at a time: a lock dies with its process, and nothing is written through a link."""

from __future__ import annotations

import multiprocessing
import os
import signal

import pytest

from caffe_gp.errors import DataError
from caffe_gp.files.locks import LOCK, only_here
from caffe_gp.files.workplace import INCOMING, workplace

pytestmark = pytest.mark.engine


def _stay(folder, inside):
    with only_here(folder):
        inside.set()
        signal.pause()


def test_a_lock_dies_with_its_process(tmp_path):
    context = multiprocessing.get_context("fork")
    inside = context.Event()
    process = context.Process(target=_stay, args=(tmp_path, inside))
    process.start()
    assert inside.wait(60)
    with pytest.raises(DataError, match=f"process {process.pid} on .*, is at work in this folder"):
        with only_here(tmp_path):
            pass
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert (tmp_path / LOCK).exists()
    with only_here(tmp_path):
        assert f"process {os.getpid()}" in (tmp_path / LOCK).read_text()
    assert not (tmp_path / LOCK).exists()


@pytest.mark.parametrize("kind", ["a link", "a dead link", "a pipe", "a folder", "/dev/zero"])
def test_a_folder_that_came_with_something_in_the_locks_place(tmp_path, kind):
    (tmp_path / "own").write_text("mine")
    for path, enter in (
        (tmp_path / LOCK, lambda: only_here(tmp_path)),
        (tmp_path / INCOMING / "lock", lambda: workplace(tmp_path, print)),
    ):
        path.parent.mkdir(exist_ok=True)
        if kind == "a pipe":
            os.mkfifo(path)
        elif kind == "a folder":
            path.mkdir()
        else:
            path.symlink_to({"a link": tmp_path / "own", "a dead link": tmp_path / "no"}.get(kind, kind))
        with pytest.raises(DataError, match="not a link or a pipe; remove it"), enter():
            pass
    assert (tmp_path / "own").read_text() == "mine" and not (tmp_path / "no").exists()


def test_what_a_lock_says_is_shown_in_part(tmp_path):
    import fcntl

    with open(tmp_path / LOCK, "w+") as other:
        other.write("\x1b]0;x\x07" + "y" * 1_000_000)
        other.flush()
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(DataError) as caught:
            with only_here(tmp_path):
                pass
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500

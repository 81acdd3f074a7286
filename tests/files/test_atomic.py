"""Files appear when they are whole; what a killed process left goes with the next one."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import stat

import pytest

from caffe_gp.files import atomic
from caffe_gp.files.atomic import into_place, replacing, write_atomically, write_bytes

pytestmark = pytest.mark.engine


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_interrupted_writing_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "p.bin").write_bytes(b"old")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(tmp_path / "p.bin", b"new")
    assert names(tmp_path) == ["p.bin"] and (tmp_path / "p.bin").read_bytes() == b"old"


def test_a_full_disk_names_the_file(tmp_path):
    def write(stream):
        stream.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for path in (tmp_path / "p.bin", tmp_path / "none" / "p.bin", tmp_path / ("n" * 255)):
        with pytest.raises(OSError) as caught:
            write_atomically(path, write)
        assert caught.value.filename == str(path)
    assert not list(tmp_path.iterdir())


def test_the_disk_has_the_file_before_its_name(tmp_path, monkeypatch):
    done = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, real=real, name=name: (done.append(name), real(*args))[1])
    write_bytes(tmp_path / "p.bin", b"new")
    assert done == ["fsync", "replace", "fsync"], "the file, its name, the folder that has the name"
    done.clear()
    into_place(tmp_path / "p.bin", tmp_path / "q.bin")
    assert done == ["fsync", "replace", "fsync"] and (tmp_path / "q.bin").read_bytes() == b"new"


def test_rights_are_those_of_open(tmp_path):
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "p.bin", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "p.bin").stat().st_mode) == 0o640


def _write_and_wait(path, begun, go_on):
    with replacing(path) as stream:
        stream.write(b"half")
        stream.flush()
        begun.set()
        go_on.wait()
        stream.write(b" and half")


@pytest.fixture
def writing(tmp_path):
    """Starts a process that writes half of ``p.bin`` and waits; gives it and the event that it waits for."""
    context = multiprocessing.get_context("fork")
    processes = []

    def start():
        begun, go_on = context.Event(), context.Event()
        process = context.Process(target=_write_and_wait, args=(tmp_path / "p.bin", begun, go_on))
        process.start()
        processes.append(process)
        assert begun.wait(60)
        return process, go_on

    yield start
    for process in processes:
        process.kill()
        process.join()


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def test_the_next_run_removes_what_killed_ones_left(tmp_path, writing):
    processes = [writing()[0] for _ in range(3)]
    assert names(tmp_path) == [".p.bin.0.tmp", ".p.bin.1.tmp", ".p.bin.2.tmp"]
    for process in processes:
        kill(process)
    write_bytes(tmp_path / "p.bin", b"new")
    assert names(tmp_path) == ["p.bin"] and (tmp_path / "p.bin").read_bytes() == b"new"


def test_a_file_of_a_living_process_stays(tmp_path, writing):
    dead, _ = writing()
    living, go_on = writing()
    kill(dead)
    write_bytes(tmp_path / "p.bin", b"new")
    assert names(tmp_path) == [".p.bin.1.tmp", "p.bin"] and (tmp_path / "p.bin").read_bytes() == b"new"
    go_on.set()
    living.join()
    assert names(tmp_path) == ["p.bin"] and (tmp_path / "p.bin").read_bytes() == b"half and half"


@pytest.mark.parametrize("kind", ["a link", "a pipe", "a folder"])
def test_what_is_no_temporary_file_is_left_alone(tmp_path, kind):
    (tmp_path / "own").write_bytes(b"mine")
    planted = tmp_path / ".p.bin.0.tmp"
    {
        "a link": lambda: planted.symlink_to(tmp_path / "own"),
        "a pipe": lambda: os.mkfifo(planted),
        "a folder": planted.mkdir,
    }[kind]()
    write_bytes(tmp_path / "p.bin", b"new")
    assert names(tmp_path) == [".p.bin.0.tmp", "own", "p.bin"]
    assert (tmp_path / "own").read_bytes() == b"mine" and (tmp_path / "p.bin").read_bytes() == b"new"


def test_without_locks_files_are_written_all_the_same(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(atomic.fcntl, "flock", no_locks)
    (tmp_path / ".p.bin.0.tmp").write_bytes(b"whose?")
    write_bytes(tmp_path / "p.bin", b"new")
    assert names(tmp_path) == [".p.bin.0.tmp", "p.bin"] and (tmp_path / "p.bin").read_bytes() == b"new"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_only_files_are_replaced(tmp_path, make):
    """A pipe here stands for a device: to rename a file onto /dev/null, as root, takes it from everyone."""
    path = tmp_path / "special"
    make(path)
    kind = path.stat().st_mode
    with pytest.raises(OSError, match="no regular file, so it is not replaced"):
        write_bytes(path, b"new")
    assert path.stat().st_mode == kind and list(tmp_path.iterdir()) == [path]

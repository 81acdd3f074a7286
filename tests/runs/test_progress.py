"""Progress where there is no terminal: lines of their own, in images and seconds left."""

from __future__ import annotations

import logging

import pytest

from caffe_gp.runs import progress


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when the test says so."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_lines_count_images_and_seconds(capsys, clock):
    with progress.log_shown(), progress.progress_bar(40, initial=10) as bar:
        bar.update()
        clock[0] += 11
        bar.set_postfix_str("mean IU 61.00", refresh=False)
        bar.update(9)
        logging.getLogger("caffe_gp.some.module").info("a message")
        bar.update(20)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["20/40 images, 22 s left, mean IU 61.00", "a message", "40/40 images, mean IU 61.00"]


def test_what_was_done_before_is_said_once_and_quiet_says_nothing(capsys, clock):
    for quiet in (True, False):
        with progress.progress_bar(3, initial=3, quiet=quiet) as bar:
            bar.set_postfix_str("done")
            bar.close()
    with progress.progress_bar(0):
        pass
    assert capsys.readouterr().err == "3/3 images, done\n"


def test_a_share_of_the_work_without_numbers(capsys, clock):
    with progress.progress_bar(1000, unit="", what="demo") as bar:
        clock[0] += 20
        bar.update(250)
    assert capsys.readouterr().err.splitlines()[0] == "demo: 25 %, 60 s left"

"""``caffe_gp doctor`` says what is here, what waits for what, and the command that gets it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import numpy

import caffe_gp
from caffe_gp.cli import doctor


def report(tmp_path, monkeypatch, **how):
    for variable in ("CAFFE_GP_MODELS", "CAFFE_GP_DATA"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    return doctor.report(tmp_path / "CAFFE_GP_DATA", **how)


def test_an_empty_machine(tmp_path, monkeypatch):
    text = report(tmp_path, monkeypatch)
    assert "missing    voc2012 " in text and "missing    fcn8s-heavy-pascal.caffemodel" in text
    assert "waits      table1" in text and "caffe_gp fetch models fcn-8s" in text
    assert "caffe_gp fetch data voc2012" in text and "GB free on the disk" in text


def test_short_is_what_a_bug_report_needs(tmp_path, monkeypatch):
    monkeypatch.setenv("CAFFE_GP_OPTIMIZE", "0")
    text = report(tmp_path, monkeypatch, short=True)
    assert [line for line in text.splitlines() if line[:1] not in ("", " ")] == [
        "software",
        "machine",
        "engines",
    ]
    assert f"caffe_gp {caffe_gp.__version__}" in text and "CAFFE_GP_OPTIMIZE=0" in text
    assert f"numpy {numpy.__version__}" in text and f"Python {platform.python_version()}" in text
    assert report(tmp_path, monkeypatch).startswith(text.split("\n\nmachine")[0])


def test_what_has_come_is_said(tmp_path, monkeypatch, shared_data):
    lists = tmp_path / "CAFFE_GP_DATA/lists"
    lists.mkdir(parents=True)
    (lists / "seg11valid.txt").write_bytes((shared_data / "voc2012/lists/seg11valid.txt").read_bytes())
    text = report(tmp_path, monkeypatch)
    assert "here       seg11valid" in text and "missing    sbd-lists" in text


def test_gpus_as_the_driver_tells_them(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho '0, NVIDIA T4, 15360 MiB, 15101 MiB'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert doctor._gpus() == ["0: NVIDIA T4, 15360 MiB (15101 MiB free)"]


def test_command(tmp_path):
    command = [sys.executable, "-m", "caffe_gp", "doctor", "--data-folder", str(tmp_path)]
    environment = {**os.environ, "CAFFE_GP_MODELS": str(tmp_path / "\x1b[2J")}
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert answer.returncode == 0 and f"data in {tmp_path}" in answer.stdout and not answer.stderr
    assert "\x1b" not in answer.stdout and r"\x1b[2J" in answer.stdout

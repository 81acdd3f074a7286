"""CAFFE_GP_DEVICE is the command's default device."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from caffe_gp import engines


@pytest.mark.parametrize("value, expected", [(None, "cpu"), ("", "cpu"), ("cuda:1", "cuda:1")])
def test_default_device(monkeypatch, value, expected):
    monkeypatch.delenv("CAFFE_GP_DEVICE", raising=False)
    if value is not None:
        monkeypatch.setenv("CAFFE_GP_DEVICE", value)
    assert engines.default_device() == expected


def test_a_command_obeys_it_and_its_option_wins(tmp_path):
    """An unknown device is refused, so the message shows which was asked for."""
    tool = [sys.executable, "-m", "caffe_gp", "demo", "--out", str(tmp_path), "--scenes", "1", "--quiet"]
    variables = {**os.environ, "CAFFE_GP_DEVICE": "toaster"}
    for options, device in (([], "toaster"), (["--device", "kettle"], "kettle")):
        done = subprocess.run([*tool, *options], env=variables, capture_output=True, text=True)
        assert done.returncode == 2 and f"unknown device '{device}'" in done.stderr

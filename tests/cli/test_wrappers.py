"""tools/*.py, which call the command from a checkout: each is executable and starts by its own path."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = sorted((Path(__file__).resolve().parents[2] / "tools").glob("*.py"))
NAMES = (
    "run_gp run_gp_classify evaluate reproduce demo fetch_models fetch_data convert_weights submit_voc_test "
    "train train_demo train_camvid train_classifier"
)


def test_all_are_there():
    assert {tool.stem for tool in TOOLS} == set(NAMES.split())


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.stem)
def test_each_starts_by_its_own_path(tool, tmp_path):
    assert os.access(tool, os.X_OK)
    # The interpreter of #! is the first python3 of PATH; the package is found although nothing says where.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["PATH"] = os.pathsep.join([str(_interpreters(tmp_path)), environment.get("PATH", "")])
    words = [str(tool), "--help"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: caffe_gp ")
    assert sum(bool(line.strip()) for line in tool.read_text().splitlines()) <= 8  # nothing but the call


def test_without_the_packages_one_line_says_so():
    """An interpreter without site-packages stands for a virtual environment that is not activated."""
    words = [sys.executable, "-I", "-S", str(TOOLS[0]), "--help"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.count("\n") == 1 and "is not installed for" in done.stderr
    assert "make venv" in done.stderr


def _interpreters(folder: Path) -> Path:
    """A folder with this interpreter as python3."""
    script = folder / "python3"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    script.chmod(0o755)
    return folder

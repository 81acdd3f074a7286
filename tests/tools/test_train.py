"""tools/train.py as a user runs it: Ctrl-C, going on, the last line, bad input."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

pytestmark = pytest.mark.engine

TOOL = Path(__file__).resolve().parent.parent.parent / "tools" / "train.py"
NET = """
layer { name: "data" type: "HDF5Data" top: "data" top: "label"
        hdf5_data_param { source: "list.txt" batch_size: 4 } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
        inner_product_param { num_output: 1 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
SOLVER = """
net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 40 random_seed: 1
snapshot: 1000 snapshot_prefix: "out/line"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a solver of a linear regression."""
    random = np.random.RandomState(0)
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["data"] = random.normal(size=(16, 3)).astype(np.float32)
        file["label"] = random.normal(size=(16, 1)).astype(np.float32)
    (tmp_path / "list.txt").write_text("data.h5\n")
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "solver.prototxt").write_text(SOLVER)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tool():
    spec = importlib.util.spec_from_file_location("train_tool", str(TOOL))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(monkeypatch, *options):
    monkeypatch.setenv("CAFFE_GP_ENGINE", os.environ.get("CAFFE_GP_ENGINE", "torch"))  # the tool sets it
    monkeypatch.setattr(sys, "argv", ["train.py", "--solver", "solver.prototxt", "--quiet", *options])
    return tool().main()


def test_trains_and_says_where_the_weights_are(folder, monkeypatch, capsys):
    assert run(monkeypatch) == 0
    said = capsys.readouterr().out
    assert said.startswith("out/line_iter_40.caffemodel: loss ") and "minutes" in said
    log = json.loads((folder / "out/line_log.json").read_text())
    assert [i for i, _ in log["loss"]] == [20, 40]
    # The solver as it was run can be given to any Caffe.
    assert 'net: "net.prototxt"' in (folder / "out/line_solver.prototxt").read_text()
    assert run(monkeypatch, "--out", "elsewhere", "--iterations", "5") == 0
    assert (folder / "elsewhere/line_iter_5.caffemodel").exists()
    assert run(monkeypatch, "--out", "third", "--weights", "out/line_iter_40.caffemodel") == 0


def test_errors_are_one_line(folder, monkeypatch, capsys):
    assert run(monkeypatch, "--snapshot", "out/line_iter_7.solverstate") == 2
    assert "line_iter_7.solverstate: no such snapshot" in capsys.readouterr().err
    assert run(monkeypatch, "--data", "mnist-train") == 2
    assert "no Python layer of the net has data in its param_str" in capsys.readouterr().err
    (folder / "net.prototxt").write_text(NET.replace("EuclideanLoss", "EuclidLoss"))
    assert run(monkeypatch) == (4 if os.environ.get("CAFFE_GP_ENGINE") == "bvlc" else 2)
    assert "EuclidLoss" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run(monkeypatch, "--weights", "a", "--snapshot", "b")


def test_a_diverged_training_stops(folder, monkeypatch, capsys):
    (folder / "solver.prototxt").write_text(SOLVER.replace("base_lr: 0.01", "base_lr: 1e4"))
    assert run(monkeypatch) == 1
    assert "iteration 20: the loss is " in capsys.readouterr().err
    assert not list((folder / "out").glob("*.solverstate"))


def test_ctrl_c_writes_a_snapshot_and_the_next_run_goes_on(folder):
    """In a process of its own, and with a second run that finishes what the first began."""
    endless = SOLVER.replace("max_iter: 40", "max_iter: 1000000")
    (folder / "solver.prototxt").write_text(endless)
    command = [sys.executable, str(TOOL), "--solver", "solver.prototxt"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 120
    seen = b""
    while b"loss=" not in seen and time.monotonic() < deadline:
        seen += os.read(process.stderr.fileno(), 4096)
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does
    rest = process.communicate(timeout=120)[1]
    assert process.returncode == 130 and b"The same command goes on from the snapshot" in rest
    states = list((folder / "out").glob("*.solverstate"))
    assert len(states) == 1 and b"loss=" in seen
    reached = int(states[0].stem.rpartition("_")[2])
    assert reached >= 20
    (folder / "solver.prototxt").write_text(endless.replace("1000000", str(reached + 1)))
    again = subprocess.run(command, capture_output=True, timeout=120)
    assert again.returncode == 0
    assert again.stdout.decode().startswith(f"out/line_iter_{reached + 1}.caffemodel: loss ")
    assert f"{reached + 1}/{reached + 1}" in again.stderr.decode()

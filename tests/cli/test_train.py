"""caffe_gp train as a user runs it: Ctrl-C, going on, the last line, bad input."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

pytestmark = pytest.mark.engine

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


@pytest.fixture
def run(monkeypatch, command):
    """Trains by solver.prototxt in this process: run(options..., code=0) -> (stdout, stderr)."""
    monkeypatch.setenv("CAFFE_GP_ENGINE", os.environ.get("CAFFE_GP_ENGINE", "torch"))  # the command sets it
    monkeypatch.setenv("OMP_WAIT_POLICY", os.environ.get("OMP_WAIT_POLICY", "PASSIVE"))
    return lambda *options, code=0: command("train", "--solver", "solver.prototxt", *options, code=code)


def test_trains_and_says_where_the_weights_are(folder, run):
    said, _ = run()
    assert said.startswith("out/line_iter_40.caffemodel: loss ") and "minutes" in said
    log = json.loads((folder / "out/line_log.json").read_text())
    assert [i for i, _ in log["loss"]] == [20, 40]
    # The solver as it was run can be given to any Caffe.
    assert 'net: "net.prototxt"' in (folder / "out/line_solver.prototxt").read_text()
    assert run("--out", "elsewhere", "--max-iter", "5", "--quiet") == ("", "")
    assert (folder / "elsewhere/line_iter_5.caffemodel").exists()
    run("--out", "third", "--weights", "out/line_iter_40.caffemodel")


def test_errors_are_one_line(folder, run):
    _, said = run("--snapshot", "out/line_iter_7.solverstate", code=2)
    assert "line_iter_7.solverstate: no such snapshot" in said
    _, said = run("--data", "mnist-train", code=2)
    assert "no Python layer of the net has data in its param_str" in said
    (folder / "net.prototxt").write_text(NET.replace("EuclideanLoss", "EuclidLoss"))
    _, said = run(code=4 if os.environ.get("CAFFE_GP_ENGINE") == "bvlc" else 2)
    assert "EuclidLoss" in said
    run("--weights", "a", "--snapshot", "b", code=2)


def test_a_diverged_training_stops(folder, run):
    """At the iteration in which it is seen; the same command with a lower rate then trains to the end."""
    diverging = SOLVER.replace("base_lr: 0.01", "base_lr: 1e30").replace("snapshot: 1000", "snapshot: 1")
    (folder / "solver.prototxt").write_text(diverging)
    _, said = run(code=1)
    assert re.search(r"iteration [123]: (the loss|a parameter) is ", said)
    assert "Lower base_lr below 1e+30" in said
    assert not list((folder / "out").glob("*.solverstate"))
    (folder / "solver.prototxt").write_text(SOLVER)
    assert "loss 0." in run()[0] or "loss 1." in run()[0]


@pytest.mark.parametrize(
    "words, message",
    [
        ((), "give one of --solver FILE and a net (digits, lenet, cifar10, camvid, camvid-bn)"),
        (("digits", "--solver", "s"), "give one of --solver FILE and a net"),
        (("digist",), "invalid choice: 'digist'; did you mean digits?"),
        (("lenet", "--weights", "w"), "--weights goes with --solver, not with lenet"),
        (("camvid", "--train", "folder:a", "--test", "folder:b"), "--train goes with lenet, cifar10, not"),
        (("--solver", "s", "--prototxts", "p"), "--prototxts goes with digits, lenet,"),
        (("lenet", "--train", "folder:a"), "--train and --test go together"),
        (("digits", "--engine", "bvlc"), "digits is trained by the embedded Caffe"),
        (
            ("camvid-bn", "--max-iter", "5"),
            "--max-iter goes with --solver, digits, lenet, cifar10, camvid, not",
        ),
    ],
)
def test_options_that_do_not_go_together(command, words, message):
    assert message in command("train", *words, code=2)[1]


def test_ctrl_c_writes_a_snapshot_and_the_next_run_goes_on(folder):
    """In a process of its own, and with a second run that finishes what the first began."""
    endless = SOLVER.replace("max_iter: 40", "max_iter: 1000000")
    (folder / "solver.prototxt").write_text(endless)
    command = [sys.executable, "-m", "caffe_gp", "train", "--solver", "solver.prototxt"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 120
    seen = b""
    while b"loss=" not in seen and time.monotonic() < deadline:
        seen += os.read(process.stderr.fileno(), 4096)
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does
    rest = process.communicate(timeout=120)[1]
    assert process.returncode == 130 and b"The same command resumes from the snapshot" in rest
    states = list((folder / "out").glob("*.solverstate"))
    assert len(states) == 1 and b"loss=" in seen
    reached = int(states[0].stem.rpartition("_")[2])
    assert reached >= 20
    (folder / "solver.prototxt").write_text(endless.replace("1000000", str(reached + 1)))
    again = subprocess.run(command, capture_output=True, timeout=120)
    assert again.returncode == 0
    assert again.stdout.decode().startswith(f"out/line_iter_{reached + 1}.caffemodel: loss ")
    assert f"{reached + 1}/{reached + 1}" in again.stderr.decode()


WRITER = 'layer { name: "w" type: "%s" bottom: "ip" bottom: "label" %s }'


@pytest.mark.parametrize(
    "writer, named",
    [
        (WRITER % ("HDF5Output", 'hdf5_output_param { file_name: "PLACE/x.h5" }'), r"layer 'w' .HDF5Output."),
        (WRITER % ("MatWrite", 'mat_write_param { prefix: "PLACE/x" }'), r"layer 'w' .MatWrite."),
        ("", "snapshot_prefix"),
    ],
)
@pytest.mark.parametrize("place", ["../beside", "/etc/beside", "inside/../../beside"])
def test_nothing_is_written_outside_the_folders_that_were_named(folder, run, writer, named, place):
    (folder / "net.prototxt").write_text(NET + writer.replace("PLACE", place))
    if not writer:
        (folder / "solver.prototxt").write_text(SOLVER.replace("out/line", f"{place}/line"))
    _, said = run("--max-iter", "1", code=2)
    assert re.search(f"solver.prototxt: {named} would write to {re.escape(place)}/.*--out DIR", said)
    assert not (folder.parent / "beside").exists()
    if not writer:
        run("--max-iter", "1", "--out", "named", "--quiet")
        assert (folder / "named/line_iter_1.caffemodel").exists()

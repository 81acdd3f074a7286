"""caffe_gp evaluate as a user runs it: the table, Ctrl-C with several workers, bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from caffe_gp.evaluation.results import read_run
from conformance import gp_nets as nets

COMMAND = [sys.executable, "-m", "caffe_gp", "evaluate"]
NET = nets.input_layer((1, 3, 24, 30)) + nets.conv("score", "data", 3, 3, pad=1)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A net and a folder of 40 images with ground truth."""
    folder = tmp_path_factory.mktemp("case")
    nets.plain_net(folder, NET, name="net.prototxt", gain=0.05).save(str(folder / "net.caffemodel"))
    random = np.random.RandomState(0)
    for name in ("images", "labels"):
        (folder / name).mkdir()
    for number in range(40):
        pixels = random.randint(0, 256, (24, 30, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{number:02d}.png")
        labels = random.randint(0, 3, (24, 30)).astype(np.uint8)
        Image.fromarray(labels).save(folder / "labels" / f"{number:02d}.png")
    return folder


def arguments(case, out, *options):
    return [
        "--prototxt", str(case / "net.prototxt"), "--caffemodel", str(case / "net.caffemodel"),
        "--data", f"folder:{case / 'images'}:{case / 'labels'}:3", "--out", str(out),
        "--engine", nets.ENGINE, "--threads", "1", *map(str, options),
    ]  # fmt: skip


@pytest.fixture()
def run(case, command):
    """Runs the command in this process: run(out, options..., code=0) -> (stdout, stderr)."""
    return lambda out, *options, code=0: command("evaluate", *arguments(case, out, *options), code=code)


def test_table_and_files(run, case, tmp_path):
    (tmp_path / "some.txt").write_text("03\n07\n11\n12\n")
    stdout, stderr = run(tmp_path / "out", "--eps", 1, 2, "--ids", tmp_path / "some.txt", "--limit", 3)
    rows = stdout.splitlines()
    assert rows[0].startswith("base") and rows[1].startswith("GP, eps 1 ") and "gain" in rows[2]
    assert "3 image(s)" in stdout and "3/3" in stderr and "mean IU" in stderr
    found = read_run(tmp_path / "out")
    assert found.ids == ["03", "07", "11"]
    assert found.origin["parts"][0]["command"].startswith("caffe_gp evaluate --prototxt")
    report = json.loads((tmp_path / "out" / "results.json").read_text())
    assert report["schema"] == "caffe_gp.results/2" and report["key"]["eps"] == [1.0, 2.0]
    assert f"mean IU {100 * report['summary']['base']['mean_iu']:6.2f}" in rows[0]
    _, stderr = run(tmp_path / "out", "--eps", 1, 3, "--ids", tmp_path / "some.txt", "--limit", 3, code=2)
    assert "has eps = [1.0, 2.0], now it is [1.0, 3.0]" in stderr


@pytest.mark.parametrize(
    "options, message",
    [
        (
            (),
            "--eps is needed: several cost one backward pass, so try --eps 0.25 0.5 1 2 4 8 (",
        ),
        (
            ("--scale", 0.01),
            "--eps 0.0025 0.005 0.01 0.02 0.04 0.08 (0.25 to 8 grey levels, for images that are",
        ),
        (("--blob", "conv1"), "in units of blob 'conv1'; several cost one backward pass"),
        (("--eps", "1", "--ids", "nothing.txt"), "nothing.txt: no such list"),
        (("--eps", "1", "--data", "voc2013-val"), "unknown data set 'voc2013-val'; did you mean voc2012-val"),
        (("--eps", "1", "--batch-size", "0"), "--batch-size: expected a whole number of at least 1"),
        (("--eps", "1", "--device", "tpu"), "unknown device 'tpu'"),
    ],
)
def test_bad_input_is_one_message(run, tmp_path, options, message):
    _, stderr = run(tmp_path / "out", *options, code=2)
    assert message in stderr and "Traceback" not in stderr and not (tmp_path / "out").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_stops_cleanly_and_the_same_command_goes_on(run, case, tmp_path, workers):
    # Fifty tiny steps an image, so that there is time to stop.
    options = ("--eps", 1, "--iterations", 50)
    out = tmp_path / "out"
    process = subprocess.Popen(
        [*COMMAND, *arguments(case, out, *options, "--workers", workers)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )

    def recorded():
        return sum(path.read_bytes().count(b'"item"') for path in out.glob("records/*.jsonl"))

    deadline = time.time() + 120
    while time.time() < deadline and recorded() < 3:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in stderr, stderr
    last = stderr.strip().splitlines()[-1]
    assert last.startswith("caffe_gp evaluate: interrupted. The same command resumes")
    assert 3 <= recorded() < 40, "the run was not stopped in its middle"
    run(out, *options)
    run(tmp_path / "whole", *options)  # with one worker, as the rest of the other
    assert (out / "results.json").read_bytes() == (tmp_path / "whole" / "results.json").read_bytes()

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


def test_relatives_are_options(run, case, tmp_path):
    views = "--average", "flip", "0.5", "--corrupt", "jpeg:2"
    stdout, _ = run(tmp_path / "out", "--eps", 1, "--limit", 2, *views)
    assert "passes of the net an image: 3 for the base, 9 for one eps" in stdout
    key = json.loads((tmp_path / "out" / "results.json").read_text())["key"]
    assert (key["average"], key["corrupt"]) == (["flip", "0.5"], "jpeg:2") and "adapt" not in key
    _, stderr = run(tmp_path / "bn", "--eps", 1, "--limit", 2, "--adapt", "bn", code=2)
    assert "adapt needs a net with BatchNorm layers, and this one has none" in stderr
    _, stderr = run(tmp_path / "bn", "--eps", 1, "--limit", 2, "--tent-steps", 3, code=2)
    assert "tent_steps and tent_rate are for adapt 'tent'" in stderr


@pytest.mark.parametrize(
    "options, message",
    [
        (("--eps", "auto", "2"), "--eps auto chooses one step"),
        (("--eps-share", "1.5"), "--eps-share: expected a share, above 0 and below 1, found '1.5'"),
        (("--eps-images", "0"), "--eps-images: expected a whole number of at least 1"),
        (("--eps", "1", "--ids", "nothing.txt"), "nothing.txt: no such list"),
        (("--eps", "1", "--data", "voc2013-val"), "unknown data set 'voc2013-val'; did you mean voc2012-val"),
        (("--eps", "1", "--batch-size", "0"), "--batch-size: expected a whole number of at least 1"),
        (("--eps", "1", "--device", "tpu"), "unknown device 'tpu'"),
    ],
)
def test_bad_input_is_one_message(run, tmp_path, options, message):
    _, stderr = run(tmp_path / "out", *options, code=2)
    assert message in stderr and "Traceback" not in stderr and not (tmp_path / "out").exists()


def test_a_step_that_nobody_knows_is_chosen_without_labels(run, case, tmp_path):
    options = ("--eps-images", 6, "--limit", 8, "--switch")
    stdout, stderr = run(tmp_path / "out", *options)
    report = json.loads((tmp_path / "out" / "results.json").read_text())
    choice = report["eps_choice"]
    assert report["key"]["eps"] == [choice["eps"]] and len(choice["images"]) == 6
    said = f"eps {choice['eps']:g} was chosen without labels: it closes {choice['gap_closed']:.3f} of the"
    assert said in stdout and said in stderr and "choosing eps on the first 6 image(s)" in stderr
    assert (
        "switched" in stdout and "ECE" in stdout and "passes of the net an image: 1 for the base, 3" in stdout
    )
    again, _ = run(tmp_path / "out", *options, "--eps", "auto")
    assert again == stdout
    run(tmp_path / "scaled", "--eps-images", 6, "--limit", 8, "--eps-share", 0.1)
    less = json.loads((tmp_path / "scaled" / "results.json").read_text())["eps_choice"]
    assert less["eps"] < choice["eps"] and less["gap_closed"] == pytest.approx(0.1, rel=0.05)


def test_tune_names_the_best_step_of_those_given(command, case, tmp_path):
    words = arguments(case, tmp_path / "out", "--limit", 10, "--eps", 1, 4, 16)
    stdout, _ = command("tune", *words)
    found = read_run(tmp_path / "out")
    gains = {eps: found.gain(eps) for eps in found.eps}
    best = max(gains, key=lambda eps: gains[eps].gain)
    if gains[best].gain > 0:
        assert f"best eps by mean IU: {best:g}, gain {100 * gains[best].gain:+.2f} (" in stdout
        assert "for images that did not choose it (5-fold cross-validation)" in stdout
    else:
        assert "best eps: none" in stdout
    stdout, _ = command("tune", *arguments(case, tmp_path / "auto", "--limit", 6))
    assert len(read_run(tmp_path / "auto").eps) == 7 and "best eps" in stdout


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

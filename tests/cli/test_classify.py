"""caffe_gp classify as a user runs it: options, results, chosen eps, bad input."""

from __future__ import annotations

import json

import numpy as np
import pytest

from caffe_gp.datasets import classification as sets  # noqa: E402
from caffe_gp.errors import DataError  # noqa: E402
from caffe_gp.evaluation.classification import evaluate  # noqa: E402
from caffe_gp.gp import NeighbourPerturbation  # noqa: E402
from conformance import gp_nets as nets
from tests.evaluation import tiny_classifier as tiny

SETS = {
    "tiny-train": tiny.make_set("tiny-train", 60, seed=1),
    "tiny-test": tiny.make_set("tiny-test", 23, seed=2),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("net")
    tiny.make_net(path)
    return path


@pytest.fixture()
def run(folder, tmp_path, monkeypatch, command):
    """Runs the command in this process: run(options..., code=0) -> (stdout, stderr)."""

    def get(name, root=None):
        if name not in SETS:
            raise DataError(f"no set '{name}'")
        return SETS[name]

    monkeypatch.setattr(sets, "get", get)

    def call(*options, code=0, out=tmp_path / "out"):
        given = [
            "--prototxt", folder / "net.prototxt", "--caffemodel", folder / "net.caffemodel",
            "--engine", nets.ENGINE, "--mean", "128", "--scale", 1 / 64,
            "--train", "tiny-train", "--test", "tiny-test", "--out", out,
        ]  # fmt: skip
        return command("classify", *given, *options, code=code)

    return call


def results(out):
    """Both reports in one."""
    reports = (json.loads((out / f"{name}.json").read_text()) for name in ("results", "provenance"))
    return {name: value for report in reports for name, value in report.items()}


def test_everything_at_once(run, folder, tmp_path):
    stdout, stderr = run(
        "--eps", "0.05", "-0.1", "--k", "1", "3", "--features", "ip1", "conv1",
        "--gradient-at", "neighbour", "test", "--batch-size", "5",
    )  # fmt: skip
    report = results(tmp_path / "out")
    everything = {"k": (1, 3), "features": ("ip1", "conv1"), "gradient_at": ("neighbour", "test")}
    expected = evaluate(tiny.settings(folder, tmp_path / "direct", **everything))
    assert report["summary"] == json.loads(json.dumps(expected.summary()))
    assert report["parts"][0]["command"].startswith("caffe_gp classify --prototxt")
    assert stdout.count("eps 0.05") == 8 and "23 image(s)" in stdout
    assert f"accuracy {100 * expected.accuracy():.2f}" in stdout
    assert "lr_mult 0 on every weight" in stderr and "23/23" in stderr and "perturbed" in stderr
    assert (tmp_path / "out" / "index.html").is_file() and (tmp_path / "out" / "table.md").is_file()


def test_eps_is_chosen_on_held_out_images_where_none_is_given(run, tmp_path):
    stdout, _ = run("--hold-out", "10", "--no-page")
    report = results(tmp_path / "out")
    assert report["data"]["train"]["images"] == 50 and report["tuning"]["data"]["images"] == 10
    assert report["method"]["eps"] == [level / 64 for level in (0.25, 0.5, 1, 2, 4, 8, 16, 32)]
    by_eps = {row["eps"]: row["accuracy"] for row in report["tuning"]["variants"][0]["gp"]}
    chosen = report["summary"]["variants"][0]["chosen"]["eps"]
    assert by_eps.get(chosen, report["tuning"]["base"]["accuracy"]) == max(
        *by_eps.values(), report["tuning"]["base"]["accuracy"]
    )
    assert "<- chosen on held-out" in stdout and not (tmp_path / "out" / "index.html").exists()


def test_a_tenth_is_held_out_without_being_told(run, tmp_path):
    run("--no-page", "--limit", "4")
    report = results(tmp_path / "out")
    assert (report["data"]["train"]["images"], report["data"]["images"]["images"]) == (54, 4)
    assert report["tuning"]["data"]["images"] == 6


@pytest.mark.skipif(nets.ENGINE == "bvlc", reason="BVLC Caffe runs in a process of its own")
def test_ctrl_c_and_the_same_command_again(run, tmp_path, monkeypatch):
    plain, looks = NeighbourPerturbation.look, []

    def look(self, images):
        looks.append(len(images))
        if len(looks) == 20:  # 12 batches of the bank, 5 to search, the third to perturb
            raise KeyboardInterrupt
        return plain(self, images)

    monkeypatch.setattr(NeighbourPerturbation, "look", look)
    options = ("--eps", "0.1", "--batch-size", "5", "--gradient-at", "test", "--no-page")
    _, stderr = run(*options, code=130)
    assert "caffe_gp classify: interrupted. The same command resumes where this one stopped." in stderr
    assert len((tmp_path / "out" / "records/0.jsonl").read_text().splitlines()) == 3
    run(*options)
    assert sum(looks[20:]) == 2 * 13
    assert results(tmp_path / "out")["summary"]["base"]["images"] == 23


def test_a_bank_is_shared(run, tmp_path):
    bank = tmp_path / "bank"
    run("--eps", "0.1", "--bank", bank, "--no-page")
    _, stderr = run("--eps", "0.2", "--bank", bank, "--no-page", out=tmp_path / "second")
    assert "features" not in stderr and "gradients" not in stderr and "23/23 images" in stderr
    _, stderr = run("--eps", "0.2", "--bank", bank, "--scale", "1", out=tmp_path / "third", code=2)
    assert "scale = 0.015625, now it is 1" in stderr


@pytest.mark.parametrize(
    "options, code, message",
    [
        (("--test", "nowhere", "--eps", "1"), 2, "caffe_gp classify: no set 'nowhere'"),
        (("--test", "tiny-train", "--eps", "1"), 2, "--test tiny-train are the same images"),
        (("--limit", "0", "--eps", "1"), 2, "--limit: expected a whole number of at least 1, found '0'"),
        (("--hold-out", "60"), 2, "60 of its 60 images cannot be held out"),
        (("--blob", "conv1"), 2, "--eps is needed for blob 'conv1'"),
        (("--gradient-at", "here", "--eps", "1"), 2, "invalid choice"),
        (("--k", "0", "--eps", "1"), 2, "--k: expected a whole number of at least 1"),
        (("--k", "61", "--eps", "1"), 2, "k must be in 1..60"),
        (("--features", "fc7", "--eps", "1"), 2, "no blob 'fc7'"),
        (("--batch-size", "0", "--eps", "1"), 2, "--batch-size: expected a whole number of at least 1"),
        (("--prototxt", "nowhere.prototxt", "--eps", "1"), 2, "nowhere.prototxt"),
    ],
)
def test_bad_input_ends_with_one_line_and_a_code(run, options, code, message):
    _, stderr = run(*options, code=code)
    assert message in stderr and "Traceback" not in stderr


def test_a_net_without_gradient_ends_with_3(run, folder, tmp_path):
    loaded = tiny.load(folder)
    for blobs in loaded.net.params.values():
        for blob in blobs:
            blob.data[...] = 0
    loaded.net.save(str(tmp_path / "zero.caffemodel"))
    _, stderr = run("--caffemodel", tmp_path / "zero.caffemodel", "--eps", "1", "--no-page", code=3)
    assert "all weights are zero" in stderr


def test_images_of_another_size_than_the_net_s(run, monkeypatch):
    pixels = np.random.RandomState(0).randint(0, 256, (5, 7, 9, 1)).astype(np.uint8)
    wide = sets.ClassificationSet("wide", tuple("abcd"), pixels, np.zeros(5, np.int64))
    monkeypatch.setitem(SETS, "wide", wide)
    _, stderr = run("--test", "wide", "--eps", "1", "--no-page", "--resize", "9,7", code=2)
    assert "own input is 8 x 8, and layer 'ip1' (InnerProduct) takes" in stderr and "--resize 8,8" in stderr
    _, stderr = run("--test", "wide", "--eps", "1", "--no-page")
    assert "images are resized to 8 x 8, the net's own size: layer 'ip1'" in stderr

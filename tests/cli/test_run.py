"""caffe_gp run as a user runs it: pictures, numbers, interruption, resuming, bad input."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from PIL import Image

from caffe_gp import proto
from caffe_gp.files import places
from caffe_gp.gp import GuidedPerturbation
from caffe_gp.images.preprocess import FCN_MEAN, Preprocess
from caffe_gp.models import weights, zoo
from conformance import gp_nets as nets

COMMAND = [sys.executable, "-m", "caffe_gp", "run"]
NET = nets.fcn("8s", width=3, classes=5)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A train/val prototxt with random weights, three images of two sizes, ground truth for them."""
    folder = tmp_path_factory.mktemp("model")
    data = 'layer { name: "d" type: "Data" top: "data" top: "label" }\n'
    loss = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }\n'
    (folder / "net.prototxt").write_text(data + NET + loss)
    net = nets.plain_net(folder, nets.input_layer((1, 3, 40, 50)) + NET)
    net.save(str(folder / "net.caffemodel"))
    random = np.random.RandomState(0)
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    for name, (height, width) in {"a": (40, 50), "b": (33, 47), "c": (40, 50)}.items():
        pixels = random.randint(0, 256, (height, width, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{name}.png")
        labels = random.randint(0, 5, (height, width)).astype(np.uint8)
        labels[:3] = 255
        Image.fromarray(labels).save(folder / "labels" / f"{name}.png")
    return folder


def arguments(model, out, *options):
    return [
        "--prototxt", str(model / "net.prototxt"), "--caffemodel", str(model / "net.caffemodel"),
        "--out", str(out), "--engine", nets.ENGINE, *options,
    ]  # fmt: skip


@pytest.fixture()
def run_plain(command):
    """Runs the command in this process: run_plain(options..., code=0) -> (stdout, stderr)."""
    return lambda *options, code=0: command("run", *options, code=code)


@pytest.fixture()
def run(run_plain):
    """The same with the net of ``model``: run(model, out, options..., code=0)."""
    return lambda model, out, *options, code=0: run_plain(*arguments(model, out, *options), code=code)


def read_picture(path):
    """(mode, size, palette, pixels) of a picture file."""
    with Image.open(path) as picture:
        return picture.mode, picture.size, picture.getpalette(), np.asarray(picture)


def results(out):
    """Both reports in one."""
    reports = (json.loads((out / f"{name}.json").read_text()) for name in ("results", "provenance"))
    return {name: value for report in reports for name, value in report.items()}


def test_everything_at_once(run, model, tmp_path):
    out = tmp_path / "out"
    kinds = "labels,overlay,changed,perturbation,probabilities,panel"
    stdout, stderr = run(
        model, out, "--images", model / "images", "--labels", model / "labels", "--eps", "0.5", "-1",
        "--batch-size", "2", "--save", kinds,
    )  # fmt: skip
    assert "GP, eps 0.5" in stdout and "mean IU" in stdout and "3 image(s)" in stdout
    assert "replaced data layer 'd' (Data)" in stderr and "3/3" in stderr
    report = results(out)
    assert (
        report["schema"] == "caffe_gp.results/2"
        and report["task"] == "images"
        and report["images"] == report["data"]["images"] == 3
        and report["classes"] == 5
    )
    assert report["method"] == {
        "eps": [0.5, -1.0], "blob": "data", "score": "score", "encoding": "onehot", "inject": "score",
        "iterations": 1, "seed": 0,
    }  # fmt: skip
    assert report["preprocessing"]["mean"] == list(FCN_MEAN) and report["engine"]["engine"] == nets.ENGINE
    assert len(report["model"]["caffemodel_sha256"]) == 64 and report["model"]["surgery"]
    assert report["code_versions"] and report["date"].endswith("+00:00")
    assert set(report["seconds_per_image"]) == {"forward", "backward", "forward_perturbed"}

    # The numbers, from the label maps that were written and from the method called directly.
    loaded = nets.load(tmp_path, nets.input_layer((1, 3, 40, 50)) + NET)
    nets.fill(loaded.net)
    counts = {variant: np.zeros((5, 5), np.int64) for variant in ("base", "eps_0.5", "eps_-1")}
    for name in "abc":
        pixels = read_picture(model / "images" / f"{name}.png")[3].astype(np.float32)
        blob = (pixels[:, :, ::-1] - np.float32(FCN_MEAN)).transpose(2, 0, 1)[np.newaxis]
        expected = GuidedPerturbation(loaded)(blob, [0.5, -1.0], keep_probabilities=True)
        truth = read_picture(model / "labels" / f"{name}.png")[3]
        for variant, labels in zip(counts, [expected.base_labels, *expected.labels]):
            mode, size, _, written = read_picture(out / "labels" / variant / f"{name}.png")
            assert mode == "P" and size == pixels.shape[1::-1]
            assert (written == labels[0]).mean() > 0.999
            np.add.at(counts[variant], (truth[truth != 255], written[truth != 255]), 1)
            assert read_picture(out / "overlay" / variant / f"{name}.png")[1] == size
        with np.load(out / "perturbation" / f"{name}.npz") as signs:
            assert signs["eps_0.5"].dtype == np.int8 and signs["eps_0.5"].shape == blob.shape[1:]
            assert (signs["eps_0.5"] == expected.perturbation[0][0]).mean() > 0.99
        with np.load(out / "probabilities" / f"{name}.npz") as y:
            np.testing.assert_allclose(y["base"], expected.base_probabilities[0], atol=1e-5)
            assert sorted(y.files) == ["base", "eps_-1", "eps_0.5"]
        for picture in ("changed/eps_0.5", "changed/eps_-1", "panel"):
            assert (out / picture / f"{name}.png").stat().st_size > 0
    for variant, row in zip(counts, [report["summary"]["base"], *report["summary"]["gp"]]):
        matrix = counts[variant]
        iu = np.diag(matrix) / (matrix.sum(0) + matrix.sum(1) - np.diag(matrix))
        assert row["mean_iu"] == pytest.approx(iu.mean())
        assert row["pixel_accuracy"] == pytest.approx(np.trace(matrix) / matrix.sum())
    gain = report["summary"]["gp"][0]["mean_iu"] - report["summary"]["base"]["mean_iu"]
    assert report["summary"]["gp"][0]["gain"]["gain"] == pytest.approx(100 * gain)
    assert not list(out.rglob(".*"))  # no temporary files are left


def test_inner_blobs_lists_and_quiet(run, model, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text(f"# two images\n{model / 'images' / 'c.png'}\n\n{model / 'images' / 'a.png'}\n")
    stdout, stderr = run(
        model, tmp_path / "out", "--images", str(listed), "--eps", "0.1", "--blob", "pool3",
        "--iterations", "2",
        "--encoding", "random-onehot", "--seed", "3", "--quiet", "--save", "none",
    )  # fmt: skip
    assert stdout == stderr == ""
    report = results(tmp_path / "out")
    assert [image["item"] for image in report["records"]] == ["c", "a"]
    assert report["method"]["blob"] == "pool3" and report["method"]["iterations"] == 2
    assert "mean_iu" not in report["summary"]["base"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "ids.txt",
        "index.html",
        "key.json",
        "page",
        "provenance.json",
        "records",
        "results.json",
        "table.md",
    ]


@pytest.fixture()
def named(model, tmp_path, monkeypatch):
    """The net of ``model`` as one of the zoo, and its weights where models lie."""
    folder = tmp_path / "prototxt" / "named"
    folder.mkdir(parents=True)
    (folder / "deploy.prototxt").write_text(nets.input_layer((1, 3, 40, 50)) + NET)
    (tmp_path / "models").mkdir()
    os.link(model / "net.caffemodel", tmp_path / "models" / "named.caffemodel")
    monkeypatch.setattr(places, "checkout", lambda: tmp_path)
    monkeypatch.setenv("CAFFE_GP_MODELS", str(tmp_path / "models"))
    entry = zoo.Model(
        name="named",
        title="a net",
        net=None,
        score="score",
        classes=("a", "b", "c", "d", "e"),
        parameters=0,
        weights="named.caffemodel",
        eps=0.5,
        eps_source="somebody said so",
        feed=Preprocess(mean=(10.0, 20.0, 30.0), scale=0.5, pad_to=(60, 48)),
    )
    monkeypatch.setitem(zoo.MODELS, "named", entry)
    file = dataclasses.replace(weights.find("fcn-32s"), name="named.caffemodel")
    monkeypatch.setitem(weights.released(), "named.caffemodel", file)


@pytest.mark.skipif(nets.ENGINE == "bvlc", reason="BVLC Caffe runs in a process of its own, with its own zoo")
def test_a_model_by_name_is_the_same_net_with_its_options_written_out(run, run_plain, model, named, tmp_path):
    image = ("--image", model / "images" / "a.png", "--save", "labels,probabilities")
    run_plain("--model", "named", *image, "--out", tmp_path / "named")
    run(
        model, tmp_path / "plain", *image, "--eps", "0.5", "--mean", "10,20,30", "--scale", "0.5",
        "--pad-to", "60,48",
    )  # fmt: skip
    by_name, plain = results(tmp_path / "named"), results(tmp_path / "plain")
    for part in ("method", "preprocessing", "summary"):
        assert by_name[part] == plain[part], part
    assert by_name["model"]["name"] == "named" and plain["model"]["name"] is None
    assert by_name["model"]["eps_source"] == "somebody said so" and plain["model"]["eps_source"] == "given"
    assert by_name["class_names"] == ["a", "b", "c", "d", "e"]
    assert plain["class_names"] is None
    assert by_name["model"]["caffemodel"] == str(tmp_path / "models" / "named.caffemodel")


@pytest.mark.skipif(nets.ENGINE == "bvlc", reason="BVLC Caffe runs in a process of its own, with its own zoo")
def test_options_override_the_models(run_plain, model, named, tmp_path):
    (tmp_path / "models" / "named.caffemodel").unlink()
    run_plain(
        "--model", "named", "--image", model / "images" / "a.png", "--out", tmp_path / "out", "--eps", "0.25",
        "--scale", "1", "--caffemodel", model / "net.caffemodel", "--save", "none",
    )  # fmt: skip
    report = results(tmp_path / "out")
    assert report["method"]["eps"] == [0.25] and report["model"]["eps_source"] == "given"
    assert report["preprocessing"]["scale"] == 1.0 and report["preprocessing"]["pad_to"] == [60, 48]
    assert report["model"]["caffemodel"] == str(model / "net.caffemodel")


def test_lenet_by_name(run_plain, tmp_path):
    """A net of the zoo as it is, on whichever engine."""
    random = np.random.RandomState(0)
    shapes = {"conv1": (20, 1, 5, 5), "conv2": (50, 20, 5, 5), "ip1": (500, 800), "ip2": (10, 500)}
    arrays = {name: [random.normal(0, 0.1, s), random.normal(0, 0.1, s[:1])] for name, s in shapes.items()}
    proto.write_caffemodel(str(tmp_path / "lenet.caffemodel"), zoo.get("lenet").net(), arrays)
    Image.fromarray(random.randint(0, 256, (28, 28)).astype(np.uint8)).save(tmp_path / "digit.png")
    run_plain(
        "--model", "lenet", "--caffemodel", tmp_path / "lenet.caffemodel", "--image", tmp_path / "digit.png",
        "--eps", "0.03", "--engine", nets.ENGINE, "--save", "none", "--out", tmp_path / "out",
    )  # fmt: skip
    report = results(tmp_path / "out")
    assert report["preprocessing"]["scale"] == 1 / 256 and report["preprocessing"]["mean"] == [0.0]
    assert report["class_names"] == list("0123456789") and report["method"]["score"] == "ip2"


@pytest.mark.parametrize(
    "options, message",
    [
        (("--model", "fcn-16s"), "the weights of 'fcn-16s' are not there"),
        (("--model", "fcn-16s", "--eps", "auto", "1"), "--eps auto chooses one step: give it alone"),
        (("--model", "fcn-16s", "--eps", "car"), "--eps: expected a number, found 'car', or auto"),
        (("--model", "fcn8s"), "unknown model 'fcn8s'; did you mean fcn-8s"),
        (
            ("--model", "fcn-32s"),
            "fcn32s-heavy-pascal.caffemodel: the weights of 'fcn-32s' are not there",
        ),
        (("--model", "fcn-32s"), "caffe_gp fetch models fcn-32s"),
        (("--prototxt", "net.prototxt"), "without --model or --module, --caffemodel is needed"),
        (("--prototxt", "p", "--caffemodel", "w"), "p: cannot be read"),
    ],
)
def test_a_model_that_lacks_something_is_one_message(run_plain, tmp_path, monkeypatch, options, message):
    monkeypatch.setenv("CAFFE_GP_MODELS", str(tmp_path))
    _, stderr = run_plain(*options, "--image", "a.png", "--out", tmp_path / "out", code=2)
    assert message in stderr and not (tmp_path / "out").exists()


def test_list_of_models(run_plain):
    stdout, _ = run_plain("--list-models")
    assert [line.split()[0] for line in stdout.splitlines()] == list(zoo.named())
    assert "eps 0.55" in stdout.splitlines()[0] and "21 classes" in stdout.splitlines()[0]


def test_finished_images_are_skipped_and_other_settings_refused(run, model, tmp_path):
    out = tmp_path / "out"
    options = ("--images", str(model / "images"), "--eps", "0.5", "--save", "labels")
    run(model, out, *options)
    first = results(out)
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    _, stderr = run(model, out, *options)
    assert "3/3" in stderr
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.png")} == stamps
    assert results(out)["records"] == first["records"] and results(out)["summary"] == first["summary"]
    (out / "labels" / "base" / "b.png").unlink()
    before = read_picture(model / "images" / "c.png")[3]
    Image.fromarray(255 - before).save(model / "images" / "c.png")
    run(model, out, *options)
    assert (out / "labels" / "base" / "b.png").exists()
    pairs = zip(first["records"], results(out)["records"])
    Image.fromarray(before).save(model / "images" / "c.png")
    assert [old["item"] for old, new in pairs if old["image_sha256"] != new["image_sha256"]] == ["c"]
    _, stderr = run(model, out, *options[:2], "--eps", "0.7", "--save", "labels", code=2)
    assert "eps = [0.5], now it is [0.7]; give another output folder" in stderr
    _, stderr = run(model, out, *options, "--scale", "0.5", code=2)
    assert "scale = 1.0, now it is 0.5" in stderr


def test_files_of_images_that_are_gone_do_not_stay_beside_the_new_ones(run, model, tmp_path):
    images, out = tmp_path / "images", tmp_path / "out"
    shutil.copytree(model / "images", images)
    options = ("--images", images, "--eps", "0.5", "--save")
    run(model, out, *options, "labels,overlay")
    foreign = out / "labels" / "base" / "mine.png"
    foreign.write_bytes(b"put there by hand")
    (images / "b.png").unlink()
    Image.fromarray(255 - read_picture(images / "c.png")[3]).save(images / "c.png")
    _, stderr = run(model, out, *options, "labels")
    # b.png's four, and the overlays of what c.png was
    assert f"6 files of images that are not in this run: moved to {out / 'left_out'}" in stderr
    assert sorted(path.name for path in (out / "labels" / "base").iterdir()) == ["a.png", "c.png", "mine.png"]
    assert [path.name for path in (out / "overlay" / "base").iterdir()] == ["a.png"]
    assert (out / "left_out" / "overlay" / "eps_0.5" / "b.png").is_file()
    shutil.copy(model / "images" / "b.png", images)
    run(model, out, *options, "labels")
    assert (out / "labels" / "base" / "b.png").is_file()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_leaves_whole_files_and_goes_on(run, model, tmp_path, number):
    """Ctrl-C (exit code 130, one line) and kill -9; the resumed run equals one that was never stopped."""
    many = tmp_path / "many"
    many.mkdir()
    for i in range(16):
        os.link(model / "images" / f"{'ac'[i % 2]}.png", many / f"{i:02d}.png")
    out = tmp_path / "out"
    options = ("--images", str(many), "--eps", "0.5", "--save", "labels,panel")
    process = subprocess.Popen(
        [*COMMAND, *arguments(model, out, *options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.time() + 120
    while time.time() < deadline and len(list(out.glob("panel/*.png"))) < 3:
        time.sleep(0.01)
    os.killpg(process.pid, number)
    _, stderr = process.communicate(timeout=60)
    done = [line for line in (out / "records/0.jsonl").read_text().splitlines() if '"item"' in line]
    assert 2 <= len(done) < 16, "the run was not stopped in its middle"
    if number == signal.SIGINT:
        assert process.returncode == 130 and "Traceback" not in stderr
        last = stderr.strip().splitlines()[-1]
        assert last.startswith("caffe_gp run: interrupted. The same command resumes")
        assert not list(out.rglob(".*.png*"))
    for path in out.rglob("[!.]*.png"):
        read_picture(path)
    run(model, out, *options)
    whole = tmp_path / "whole"
    run(model, whole, *options)

    def numbers(folder):
        return [{**image, "seconds": None} for image in results(folder)["records"]]

    assert numbers(out) == numbers(whole)
    for path in whole.rglob("*.png"):
        assert path.read_bytes() == (out / path.relative_to(whole)).read_bytes()


def test_ground_truth_encoding_needs_labels(run, model, tmp_path):
    options = (
        "--images",
        str(model / "images"),
        "--eps",
        "0.5",
        "--encoding",
        "ground-truth",
        "--save",
        "none",
    )
    _, stderr = run(model, tmp_path / "out", *options, code=2)
    assert "give --labels DIR" in stderr
    run(model, tmp_path / "out2", *options, "--labels", str(model / "labels"))
    summary = results(tmp_path / "out2")["summary"]
    assert summary["gp"][0]["gain"]["gain"] > 0


def test_resizing_padding_and_palette(run, model, tmp_path):
    (tmp_path / "palette.txt").write_text("0 0 0\n255 0 0\n0 255 0\n0 0 255\n9 9 9\n")
    run(model, tmp_path / "out", "--image", str(model / "images" / "a.png"), "--eps", "0.5", "--resize", "60",
        "--pad-to", "64,64", "--mean", "128", "--channel-order", "rgb", "--palette", tmp_path / "palette.txt",
        "--save", "labels,probabilities",
    )  # fmt: skip
    _, size, palette, _ = read_picture(tmp_path / "out" / "labels" / "base" / "a.png")
    assert size == (50, 40) and palette[3:9] == [255, 0, 0, 0, 255, 0]
    with np.load(tmp_path / "out" / "probabilities" / "a.npz") as y:
        assert y["base"].shape == (5, 48, 60)
    assert results(tmp_path / "out")["preprocessing"]["resize"] == 60


def test_a_net_that_labels_whole_images(run, model, tmp_path):
    text = (
        nets.input_layer((1, 1, 12, 12))
        + nets.conv("conv1", "data", 4, 3)
        + 'layer { name: "ip" type: "InnerProduct" bottom: "conv1" top: "ip" '
        "inner_product_param { num_output: 3 } }\n"
    )
    nets.plain_net(tmp_path, text).save(str(tmp_path / "plain.caffemodel"))
    run(
        model, tmp_path / "out", "--prototxt", tmp_path / "plain.prototxt", "--caffemodel",
        tmp_path / "plain.caffemodel", "--images", model / "images", "--resize", "12,12",
        "--scale", "0.00390625", "--eps", "0.1", "--save", "labels,perturbation",
    )  # fmt: skip
    images = results(tmp_path / "out")["records"]
    assert all(0 <= image["gp"][0]["label"] < 3 for image in images)
    assert images[0]["files"] == ["perturbation/a.npz"]


def test_a_second_input_and_its_values(run, model, tmp_path):
    two = (
        nets.input_layer((1, 3, 40, 50))
        + nets.input_layer((1, 3, 40, 50), name="second", top="flow")
        + nets.add("sum", "data", "flow")
        + nets.conv("score", "sum", 3, 3, 1)
    )
    nets.plain_net(tmp_path, two).save(str(tmp_path / "plain.caffemodel"))
    options = (
        "--prototxt", tmp_path / "plain.prototxt", "--caffemodel", tmp_path / "plain.caffemodel", "--image",
        model / "images" / "a.png", "--eps", "1", "--save", "probabilities",
    )  # fmt: skip
    _, stderr = run(model, tmp_path / "none", *options, code=2)
    assert "need 2 inputs: 'data' (1 x 3 x 40 x 50)" in stderr
    np.save(tmp_path / "flow.npy", np.full((3, 40, 50), 7.5, np.float32))
    for name, values in (("file", tmp_path / "flow.npy"), ("constants", "7.5,7.5,7.5"), ("zeros", "0")):
        run(model, tmp_path / name, *options, "--input", f"flow={values}")
    found = {
        name: np.load(tmp_path / name / "probabilities" / "a.npz")["base"]
        for name in ("file", "constants", "zeros")
    }
    np.testing.assert_array_equal(found["file"], found["constants"])
    assert not np.array_equal(found["file"], found["zeros"])
    _, stderr = run(model, tmp_path / "file", *options, "--input", "flow=0", code=2)
    assert "inputs" in stderr  # the values belong to what a folder's numbers depend on


def test_layers_without_weights(run, model, tmp_path):
    text = nets.input_layer((1, 3, 40, 50)) + nets.conv("conv", "data", 4, 3, 1)
    nets.plain_net(tmp_path, text).save(str(tmp_path / "plain.caffemodel"))
    filled = nets.conv("score_new", "conv", 3, 1, top="score").replace(
        "num_output", 'weight_filler { type: "xavier" } num_output'
    )
    (tmp_path / "net.prototxt").write_text(text + filled)
    options = (
        "--prototxt", tmp_path / "net.prototxt", "--caffemodel", tmp_path / "plain.caffemodel", "--image",
        model / "images" / "a.png", "--eps", "1", "--save", "none", "--quiet", "--no-page",
    )  # fmt: skip
    _, stderr = run(model, tmp_path / "out", *options, code=2)
    assert "plain.caffemodel: no weights for layer(s) 'score_new' (Convolution" in stderr
    stdout, stderr = run(model, tmp_path / "out", *options, "--allow-missing-weights")
    assert stdout == "" and stderr.strip() == (
        "no weights in the file for score_new: left as their fillers made them"
    )


ONE = ("--image", "{model}/images/a.png", "--eps", "1")


@pytest.mark.parametrize(
    "options, code, message",
    [
        (("--image", "none.png", "--eps", "1"), 2, "none.png: no such image"),
        ((*ONE, "--blob", "pol3"), 2, "; did you mean pool3"),
        ((*ONE, "--score", "scroe"), 2, "; did you mean score"),
        (("--images", "nowhere", "--eps", "1"), 2, "nowhere: no such image, folder or list"),
        (("--image", "{model}/net.prototxt", "--eps", "1"), 2, "no such image"),
        ((*ONE[:-1], "nan"), 2, "--eps: expected a number, found 'nan'"),
        ((*ONE, "--blob", "pool9"), 2, "no blob 'pool9'"),
        ((*ONE, "--score", "x"), 2, "no blob 'x'"),
        (
            ("--image", "{model}/images/a.png", "--eps", "1", "--caffemodel", "{model}/net.prototxt"),
            2,
            "net.prototxt",
        ),
        (
            ("--image", "{model}/images/a.png", "--eps", "1", "--prototxt", "none.prototxt"),
            2,
            "none.prototxt",
        ),
        (
            ("--image", "{model}/images/a.png", "--eps", "1", "--labels", "{model}"),
            2,
            "no label map for image",
        ),
        ((*ONE, "--mean", "1,2"), 2, "three numbers with commas between them"),
        ((*ONE, "--mean", "mean.npy"), 2, "mean.npy: no such mean file"),
        ((*ONE, "--input", "flow"), 2, "expected NAME=FILE.npy or NAME=1,2,3"),
        ((*ONE, "--input", "flow=none.npy"), 2, "none.npy: not a readable .npy file"),
        ((*ONE, "--input", "flow=1"), 2, "the scores need no input 'flow'"),
        (
            ("--image", "{model}/images/a.png", "--eps", "1", "--pad-to", "20"),
            2,
            "more than the canvas of 20 x 20",
        ),
        ((*ONE, "--device", "tpu"), 2, "unknown device 'tpu'"),
        (
            ("--image", "{model}/images/a.png", "--eps", "1", "--palette", "{model}/net.prototxt"),
            2,
            "a palette",
        ),
        (("--image", "{model}/images/a.png", "{model}/labels/a.png", "--eps", "1"), 2, "names must differ"),
        ((*ONE, "1.0"), 2, "values must differ"),
        (("--eps", "1"), 2, "--image or --images"),
        ((*ONE, "--save", "colours"), 2, "unknown kind 'colours'"),
        ((*ONE, "--batch-size", "0"), 2, "at least 1"),
    ],
)
def test_bad_input_is_one_message(run, model, tmp_path, options, code, message):
    options = [option.format(model=model) for option in options]
    stdout, stderr = run(model, tmp_path / "out", *options, code=code)
    assert message in stderr
    assert stdout == "" and not (tmp_path / "out" / "results.json").exists()


def test_colours_as_ground_truth(run, model, tmp_path):
    (tmp_path / "labels").mkdir()
    Image.new("RGB", (50, 40), (128, 0, 0)).save(tmp_path / "labels" / "a.png")
    image = str(model / "images" / "a.png")
    _, stderr = run(
        model, tmp_path / "out", "--image", image, "--eps", "1", "--labels", str(tmp_path / "labels"), code=2
    )
    assert "palette colours" in stderr
    Image.new("L", (49, 40), 1).save(tmp_path / "labels" / "a.png")
    _, stderr = run(
        model, tmp_path / "out2", "--image", image, "--eps", "1", "--labels", str(tmp_path / "labels"), code=2
    )
    assert "labels of 49 x 40 for an image of 50 x 40" in stderr
    assert not list((tmp_path / "out2" / "records").glob("*"))  # found before anything was computed


def test_masks_of_0_and_255(run, model, tmp_path):
    """255 is void, so such label maps are refused until --label-255 says what it is."""
    (tmp_path / "labels").mkdir()
    truth = np.zeros((40, 50), np.uint8)
    truth[10:] = 255
    Image.fromarray(truth).save(tmp_path / "labels" / "a.png")
    options = ("--image", model / "images" / "a.png", "--eps", "0.5", "--labels", tmp_path / "labels")
    _, stderr = run(model, tmp_path / "out", *options, code=2)
    assert (
        "label maps hold 0 and 255 and nothing else" in stderr and "--label-255 1 makes it class 1" in stderr
    )
    run(model, tmp_path / "out", *options, "--label-255", "3", "--save", "labels")
    labels = read_picture(tmp_path / "out" / "labels" / "base" / "a.png")[3]
    right = (labels == np.where(truth, 3, 0)).mean()
    assert results(tmp_path / "out")["summary"]["base"]["pixel_accuracy"] == pytest.approx(right)
    run(model, tmp_path / "void", *options, "--label-255", "void", "--save", "none")
    right = (labels[truth == 0] == 0).mean()
    assert results(tmp_path / "void")["summary"]["base"]["pixel_accuracy"] == pytest.approx(right)
    _, stderr = run(model, tmp_path / "out3", *options, "--label-255", "5", code=2)
    assert "label_255 5: the net's classes are 0..4" in stderr
    _, stderr = run(model, tmp_path / "out3", *options, "--label-255", "ignore", code=2)
    assert "expected void or the number of a class" in stderr


def test_label_maps_that_are_all_void(run, model, tmp_path):
    (tmp_path / "labels").mkdir()
    Image.new("L", (50, 40), 255).save(tmp_path / "labels" / "a.png")
    options = ("--image", model / "images" / "a.png", "--eps", "0.5", "--labels", tmp_path / "labels")
    stdout, _ = run(model, tmp_path / "out", *options, "--save", "none")
    assert "mean IU is undefined: every pixel of the label maps is 255 (void)" in stdout


def test_a_list_with_label_maps_and_pixels_of_other_kinds(run, model, tmp_path):
    """The same numbers from a list of pairs as from folders; from 16 bits as from 8; turned as shown."""
    (tmp_path / "list.txt").write_text(f"{model}/images/a.png {model}/labels/a.png\r\n")
    run(model, tmp_path / "1", "--images", tmp_path / "list.txt", "--eps", "0.5", "--save", "none")
    options = ("--labels", model / "labels", "--eps", "0.5", "--save", "none")
    run(model, tmp_path / "2", "--image", model / "images" / "a.png", *options)
    pixels = read_picture(model / "images" / "a.png")[3]
    cv2.imwrite(str(tmp_path / "a.png"), pixels[:, :, ::-1].astype(np.uint16) * 257)
    run(model, tmp_path / "3", "--image", tmp_path / "a.png", *options)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned to the left, to be shown turned to the right
    Image.fromarray(np.rot90(pixels)).save(tmp_path / "a.png", exif=exif)
    run(model, tmp_path / "4", "--image", tmp_path / "a.png", *options)
    first, *others = (results(tmp_path / name)["summary"] for name in "1234")
    assert "mean_iu" in first["base"] and others == [first] * 3
    Image.fromarray(np.rot90(read_picture(model / "labels" / "a.png")[3])).save(tmp_path / "stored.png")
    (tmp_path / "list.txt").write_text("a.png stored.png\n")
    _, stderr = run(model, tmp_path / "5", "--images", tmp_path / "list.txt", "--eps", "0.5", code=2)
    assert "labels of 40 x 50 for an image of 50 x 40, as its EXIF orientation shows it" in stderr


def test_a_cut_image_is_found_before_anything_is_computed(run, model, tmp_path):
    shutil.copytree(model / "images", tmp_path / "images")
    content = (tmp_path / "images" / "c.png").read_bytes()
    (tmp_path / "images" / "c.png").write_bytes(content[:-500])
    _, stderr = run(model, tmp_path / "out", "--images", tmp_path / "images", "--eps", "0.5", code=2)
    assert "c.png: not a readable image" in stderr and not (tmp_path / "out" / "records" / "0.jsonl").exists()


def test_help_is_complete():
    done = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    for option in (
        "--model --list-models --prototxt --caffemodel --image --images --out --eps --blob --encoding "
        "--iterations --score --mean --scale --channel-order --pad-to --engine --device --labels --palette "
        "--save --batch-size --seed --quiet"
    ).split():
        assert option in done.stdout, option
    assert "examples:" in done.stdout and "exit codes:" in done.stdout


@pytest.mark.skipif(nets.ENGINE != "bvlc", reason="needs BVLC Caffe")
def test_an_abort_of_bvlc_caffe_is_one_message(run, model, tmp_path):
    text = (model / "net.prototxt").read_text().replace("pad: 100", "pad: 0")
    (tmp_path / "small.prototxt").write_text(text)
    _, stderr = run(model, tmp_path / "out", "--prototxt", str(tmp_path / "small.prototxt"), "--image",
        str(model / "images" / "a.png"), "--eps", "1", "--resize", "8,8", code=4,
    )  # fmt: skip
    assert "caffe_gp run: BVLC Caffe stopped at" in stderr

"""Calibration error, log likelihood, entropy against loops over pixels; in runs, and records without them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from caffe_gp.errors import DataError, NetError
from caffe_gp.evaluation.calibration import check_sums, measures, sums_of
from caffe_gp.evaluation.results import read_run, table
from caffe_gp.evaluation.segmentation import evaluate
from caffe_gp.gp import GuidedPerturbation
from caffe_gp.images.preprocess import Preprocess
from tests.evaluation import tiny_run

pytestmark = pytest.mark.engine

NAMES = ("expected_calibration_error", "negative_log_likelihood", "entropy")


def by_loops(images):
    """The three measures of (probabilities, truth) pairs, pixel by pixel."""
    bins = [[] for _ in range(15)]
    nll, entropy = [], []
    for y, truth in images:
        for row, column in np.ndindex(truth.shape):
            label = int(truth[row, column])
            if label == 255:
                continue
            p = [float(value) for value in y[:, row, column]]
            nll.append(-math.log(p[label]))
            entropy.append(-sum(value * math.log(value) for value in p if value > 0))
            bins[min(14, int(15 * max(p)))].append((p.index(max(p)) == label, max(p)))
    total = len(nll)
    error = sum(
        len(one) / total * abs(np.mean([right for right, _ in one]) - np.mean([sure for _, sure in one]))
        for one in bins
        if one
    )
    return [error, sum(nll) / total, sum(entropy) / total]


def made(seed, classes=5, shape=(9, 11)):
    random = np.random.RandomState(seed)
    y = np.exp(3 * random.randn(classes, *shape)).astype(np.float32)
    truth = random.randint(0, classes, shape).astype(np.uint8)
    truth[0] = 255
    return y / y.sum(axis=0), truth


def test_measures_of_several_images_equal_loops_over_their_pixels():
    images = [made(seed) for seed in range(3)]
    sums = [sums_of(*image) for image in images]
    found = measures([json.loads(json.dumps(one)) for one in sums])
    assert [found[name] for name in NAMES] == pytest.approx(by_loops(images), rel=1e-5)
    for one in sums:
        assert check_sums(one, True, 5) == 8 * 11
    assert len(json.dumps(sums[0])) < 700


def test_a_sure_net_and_an_impossible_label():
    y = np.zeros((2, 1, 4), np.float32)
    y[0] = 1
    right, wrong = (sums_of(y, np.full((1, 4), label, np.uint8)) for label in (0, 1))
    assert measures([right]) == dict.fromkeys(NAMES, 0)
    found = measures([wrong])
    assert found["expected_calibration_error"] == 1 and found["negative_log_likelihood"] == pytest.approx(
        87.34, abs=0.01
    )
    assert right["bins"] == [[14, 4, 4, 4.0]]
    assert check_sums(wrong, True, 2) == 4


def test_of_a_tie_the_smaller_class_is_the_label():
    y = np.full((3, 1, 3), 0.2, np.float32)
    y[1:] = 0.4
    sums = sums_of(y, np.array([[0, 1, 2]], np.uint8))
    assert [(count, right) for _, count, right, _ in sums["bins"]] == [(3, 1)]


def test_nothing_counted_and_no_truth():
    y, truth = made(0)
    assert measures([sums_of(y, np.full_like(truth, 255))]) == {}
    assert set(measures([sums_of(y, None)])) == {"entropy"}
    inside = np.zeros(truth.shape, bool)
    inside[3:] = True
    assert sums_of(y, truth, inside) == sums_of(y[:, 3:], truth[3:])
    with pytest.raises(DataError, match="labels must be 0..4, found 7"):
        sums_of(y, np.full_like(truth, 7))
    y[0, 4, 4] = np.nan
    for given in (truth, None):
        with pytest.raises(NetError, match="NaN"):
            sums_of(y, given)


@pytest.mark.parametrize(
    "change",
    [
        {"pixels": 87}, {"pixels": -1}, {"pixels": 88.0}, {"entropy": 1e9}, {"entropy": float("nan")},
        {"nll": -5}, {"nll": 1e6}, {"bins": []}, {"bins": None}, {"bins": [[14, 88, 89, 87.0]]},
        {"bins": [[15, 88, 8, 87.0]]}, {"bins": [[14, 88, 8, 3.0]]}, {"bins": [[14, 88, 8]]},
        {"bins": [[14, 44, 8, 43.0], [14, 44, 8, 43.0]]},
    ],
)  # fmt: skip
def test_sums_that_cannot_be(change):
    sums = sums_of(*made(1))
    with pytest.raises(ValueError, match="calibration"):
        check_sums({**sums, **change}, True, 5)


# ---- runs


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    folder = tmp_path_factory.mktemp("case")
    tiny_run.make_net(folder)
    return folder, tiny_run.make_data(folder, 5)


def test_a_run_measures_what_direct_calls_give(case, tmp_path):
    run = evaluate(tiny_run.settings(*case, tmp_path / "run", switch=True))
    gp, preprocess = GuidedPerturbation(tiny_run.load(case[0])), Preprocess()
    pairs, switched = [[], [], []], np.zeros((2, 4, 4), np.int64)
    for item in case[1].ids:
        truth = case[1].truth(item)
        found = gp(preprocess.load(case[1].image(item)).data[np.newaxis], run.eps, keep_probabilities=True)
        for k, y in enumerate([found.base_probabilities, *found.probabilities]):
            pairs[k].append((y[0], truth))
        for k in range(2):
            surer = found.confidence[k, 0] > found.base_confidence[0]
            labels = np.where(surer, found.labels[k, 0], found.base_labels[0])
            np.add.at(switched[k], (truth[truth != 255], labels[truth != 255]), 1)
    summary = run.origin["summary"]
    for row, images in zip([summary["base"], *summary["gp"]], pairs):
        assert [row[name] for name in NAMES] == pytest.approx(by_loops(images), rel=1e-5)
    for k, eps in enumerate(run.eps):
        assert np.array_equal(run.at(eps, switched=True).sum(axis=0), switched[k])
        assert summary["gp"][k]["switched"]["mean_iu"] == run.total(eps, switched=True).mean_iu
        assert summary["gp"][k]["passes"] == 3
        gains = []
        for one, other in zip(run.base, run.at(eps)):
            ious = [np.diag(m) / (m.sum(0) + m.sum(1) - np.diag(m)) for m in (one, other)]
            gains.append(100 * (np.nanmean(ious[1]) - np.nanmean(ious[0])))
        spread = summary["gp"][k]["image_gains"]
        assert 100 * run.image_gains(eps) == pytest.approx(gains)
        assert spread["quantiles"]["0.5"] == pytest.approx(np.median(gains))
        assert sum(spread["histogram"]["images"]) == spread["images"] == 5
        assert spread["better"] == np.mean(np.array(gains) > 0)
    text = table(run)
    assert (
        "ECE" in text
        and "NLL" in text
        and "GP, eps 0.5, switched" in text
        and "single images, eps -1:" in text
    )
    with pytest.raises(DataError, match="not switched"):
        evaluate(tiny_run.settings(*case, tmp_path / "other")).at(0.5, switched=True)


def test_padding_is_not_counted_and_truth_moves_with_the_image(case, tmp_path):
    run = evaluate(tiny_run.settings(*case, tmp_path / "run", resize=(40, 32), pad_to=(48, 40)))
    preprocess = Preprocess(resize=(40, 32), pad_to=(48, 40))
    gp = GuidedPerturbation(tiny_run.load(case[0]))
    images = []
    for item in case[1].ids:
        canvas, truth = preprocess.load(case[1].image(item)), case[1].truth(item)
        y = gp(canvas.data[np.newaxis], 0.5, keep_probabilities=True).base_probabilities[0]
        images.append((y[:, :32, :40], preprocess.labels_to_canvas(truth, canvas)[:32, :40]))
    base = run.origin["summary"]["base"]
    assert [base[name] for name in NAMES] == pytest.approx(by_loops(images), rel=1e-5)


def test_records_of_earlier_versions_are_read_without(case, tmp_path):
    out = tmp_path / "run"
    evaluate(tiny_run.settings(*case, out))
    (path,) = out.glob("records/*.jsonl")
    head, *records = map(json.loads, path.read_text().splitlines())
    for record in records:
        for entry in [record["base"], *record["gp"]]:
            del entry["calibration"]
    path.write_text("".join(json.dumps(line) + "\n" for line in [head, *records]))
    (out / "results.json").unlink()
    run = evaluate(tiny_run.settings(*case, out))
    assert "entropy" not in run.origin["summary"]["base"] and "mean_iu" in run.origin["summary"]["base"]
    assert read_run(out).calibration == [] and "ECE" not in table(run)
    # One image of five computed by this version: nothing is mixed, and it is said.
    path.write_text("".join(json.dumps(line) + "\n" for line in [head, *records[:-1]]))
    run = evaluate(tiny_run.settings(*case, out))
    assert "not in the records of 4 image(s)" in table(run)

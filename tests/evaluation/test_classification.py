"""Evaluations of a classifier: against one image after the other by hand; stopped, resumed, refused."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from math import comb

import numpy as np
import pytest

from caffe_gp.errors import CaffeGPError, DataError, NetError
from caffe_gp.evaluation import classification_page
from caffe_gp.evaluation.classification import ClassificationTask, Variant, evaluate, run_task
from caffe_gp.evaluation.classification_examples import examples
from caffe_gp.evaluation.classification_results import ClassificationResults, mcnemar, table
from caffe_gp.evaluation.neighbour_worker import toward_each
from caffe_gp.gp import NeighbourPerturbation
from tests.evaluation import tiny_classifier as tiny
from tests.report.checked_page import checked_page

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("net")
    tiny.make_net(path)
    return path


EVERYTHING = {"k": (1, 3), "features": ("ip1", "conv1"), "gradient_at": ("neighbour", "test")}


# ---- the numbers


def by_hand(folder, settings):
    """Labels {variant: (E, N)}, one image at a time: distances in float64, the formula as printed."""
    method = NeighbourPerturbation(tiny.load(folder), features=list(settings.features))
    train, test = (
        ((one.images.astype(np.float32) - 128) / 64).transpose(0, 3, 1, 2)
        for one in (settings.train, settings.test)
    )
    bank = {name: [] for name in settings.features}
    for image in train:
        for name, values in method.look(image[np.newaxis])[1].items():
            bank[name].append(values[0].astype(np.float64))
    found = {variant: [] for variant in settings.variants()}
    for image in test[:, np.newaxis]:
        _, features = method.look(image)
        for variant in found:
            squares = ((np.array(bank[variant.features]) - features[variant.features]) ** 2).sum(axis=1)
            step = np.zeros(image.shape)
            for i in np.lexsort((np.arange(len(train)), squares))[: variant.k]:
                at = image if variant.gradient_at == "test" else train[i : i + 1]
                step += method.directions(at, settings.train.labels[i : i + 1])
            method.look(image)
            found[variant].append([method.after(step, eps / variant.k)[0] for eps in settings.eps])
    return {variant: np.array(labels).T for variant, labels in found.items()}


def test_labels_are_those_of_the_method_by_hand(folder, tmp_path):
    settings = tiny.settings(folder, tmp_path, **EVERYTHING)
    run = evaluate(settings)
    expected = by_hand(folder, settings)
    assert run.variants == list(expected) and len(expected) == 8
    for variant, labels in expected.items():
        np.testing.assert_array_equal(run.labels[variant], labels, err_msg=variant.name)
    changed = [(labels != run.base).mean() for labels in run.labels.values()]
    assert min(changed) > 0 and len(set(changed)) > 2  # something to compare
    assert run.accuracy() == (run.base == settings.test.labels).mean()


def test_gradients_towards_several_classes(folder):
    method = NeighbourPerturbation(tiny.load(folder))
    images = np.random.RandomState(0).standard_normal((4, 1, 8, 8)).astype(np.float32)
    classes = np.array([[0, 0, 0], [1, 2, 1], [3, 2, 1], [2, 2, 0]])
    method.look(images)
    expected = np.stack([method.toward(column) for column in classes.T], axis=1)
    np.testing.assert_array_equal(toward_each(method, classes), expected)


def test_an_inner_blob(folder, tmp_path):
    run = evaluate(tiny.settings(folder, tmp_path, blob="conv1", eps=[0.3]))
    assert (run.labels[run.variants[0]] != run.base).any()
    assert json.loads((tmp_path / "provenance.json").read_text())["method"]["blob"] == "conv1"


def test_eps_0_changes_nothing_and_batches_do_not_matter(folder, tmp_path):
    one = evaluate(tiny.settings(folder, tmp_path / "a", eps=[0.0, 0.1]))
    two = evaluate(tiny.settings(folder, tmp_path / "b", eps=[0.0, 0.1], batch_size=23))
    variant = one.variants[0]
    np.testing.assert_array_equal(one.labels[variant], two.labels[variant])
    np.testing.assert_array_equal(one.at(variant, 0.0), one.base)
    np.testing.assert_array_equal(one.labels[variant][0], one.base)


@pytest.mark.parametrize("fixed, broken", [(0, 0), (1, 0), (5, 5), (36, 11), (2, 9), (40, 0)])
def test_mcnemar_s_p_value_is_the_binomial_sum(fixed, broken):
    n, low = fixed + broken, min(fixed, broken)
    tail = 2 * sum(Fraction(comb(n, i), 2**n) for i in range(low + 1))
    assert mcnemar(fixed, broken) == pytest.approx(float(min(tail, Fraction(1))), rel=1e-9)


def test_what_results_amount_to():
    """Ten images, counted on fingers."""
    truth = np.array([0, 1, 2, 3, 0, 1, 2, 3, 0, 1])
    base = np.array([0, 1, 2, 3, 0, 1, 2, 0, 1, 0])  # the last three are wrong
    better = np.array([0, 1, 2, 3, 0, 1, 0, 3, 0, 1])  # which this corrects, breaking one
    worse = np.array([1, 1, 2, 3, 0, 1, 2, 0, 1, 0])
    variant = Variant("ip1", "neighbour", 3)
    classes = np.stack([truth, base, base], axis=1)
    run = ClassificationResults(
        [-0.1, 0.1, 0.2], truth, base, {variant: np.array([worse, better, better])},
        {"ip1": np.zeros((10, 3), int)}, {"ip1": classes}, {},
    )  # fmt: skip
    found = run.outcome(variant, 0.1)
    assert (found.fixed, found.broken) == (3, 1)
    assert found.accuracy == pytest.approx(0.9) and found.gain == pytest.approx(0.2)
    assert found.p == pytest.approx(0.625)  # 2 * (1 + 4) / 16
    assert run.outcome(variant, -0.1).gain == pytest.approx(-0.1)
    assert run.accuracy() == pytest.approx(0.7) and run.vote("ip1", 1) == 1 and run.vote("ip1", 3) == 0.7
    assert run.best_eps(variant) == 0.1  # the smaller of two equals
    assert run.chosen_eps(variant) is None
    run.tuning = replace(run, labels={variant: np.array([worse, worse, worse])})
    assert run.chosen_eps(variant) == 0  # no step beat the base on the tuning images
    assert "eps 0 " in table(run) and "<- chosen" in table(run)
    assert run.reported_eps(variant) == [-0.1, 0.0, 0.1, 0.2]
    rows = classification_page.outcomes(run, "").rows
    assert [row[1].text for row in rows[2:]] == ["-0.1", "0 (chosen)", "0.1", "0.2"]
    row = run.summary()["variants"][0]
    assert row["chosen"] == {"eps": 0.0, "accuracy": 0.7, "gain": 0.0, "fixed": 0, "broken": 0, "p": 1.0}
    with pytest.raises(DataError, match="eps 0.3 was not computed"):
        run.outcome(variant, 0.3)


# ---- the bank


def count_looks(monkeypatch, stop_at=None):
    """Counts images that a net is shown; Ctrl-C instead of the call number ``stop_at``."""
    seen = []
    plain = NeighbourPerturbation.look

    def look(self, images):
        if len(seen) == stop_at:
            raise KeyboardInterrupt
        seen.append(len(images))
        return plain(self, images)

    monkeypatch.setattr(NeighbourPerturbation, "look", look)
    return seen


def make_bank(folder, path, **options):
    worker = ClassificationTask.of(tiny.settings(folder, path, **options)).open("cpu")
    return worker.bank, worker


def test_the_bank_holds_each_image_s_features_and_gradient(folder, tmp_path):
    bank, worker = make_bank(folder, tmp_path, features=("ip1", "conv1"))
    features, train = bank.features(), bank.data
    rows = np.array([50, 3, 3, 17])
    directions = bank.directions(rows)
    assert features["ip1"].shape == (60, 6) and features["conv1"].shape == (60, 5 * 6 * 6)
    for i, row in enumerate(rows):
        image = worker.preprocess.batch(train.images[row : row + 1])
        expected = worker.method.directions(image, train.labels[row : row + 1])
        np.testing.assert_array_equal(directions[i], expected[0])
        _, found = worker.method.look(image)
        for name in features:
            np.testing.assert_allclose(features[name][row], found[name][0], atol=1e-5)
    again, _ = make_bank(folder, tmp_path, features=("ip1", "conv1"))
    for name, values in again.features().items():
        np.testing.assert_array_equal(values, features[name])


def test_a_second_run_computes_only_what_is_missing(folder, tmp_path, monkeypatch):
    bank, _ = make_bank(folder, tmp_path)
    bank.features(), bank.directions(np.arange(20))
    seen = count_looks(monkeypatch)
    bank, _ = make_bank(folder, tmp_path)
    bank.features(), bank.directions(np.arange(20))
    assert not seen
    bank.directions(np.arange(10, 27))
    assert sum(seen) == 7
    more, _ = make_bank(folder, tmp_path, features=("ip1", "conv1"))
    more.features()
    assert sum(seen) == 67


def test_a_stopped_bank_goes_on_where_it_stopped(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("caffe_gp.evaluation.feature_bank._FILE_BYTES", 10 * 4 * 6)  # ten rows a file
    with monkeypatch.context() as patch:
        count_looks(patch, stop_at=7)
        with pytest.raises(KeyboardInterrupt):
            make_bank(folder, tmp_path)[0].features()
    seen = count_looks(monkeypatch)
    features = make_bank(folder, tmp_path)[0].features()["ip1"]
    assert sum(seen) == 30  # of 60: three files of ten were finished
    whole = make_bank(folder, tmp_path / "other")[0].features()["ip1"]
    np.testing.assert_array_equal(features, whole)


@pytest.mark.parametrize(
    "change, field",
    [
        ({"scale": 1 / 32}, "scale = 0.015625, now it is 0.03125"),
        ({"mean": (127.0,)}, "mean"),
        ({"train": tiny.make_set("tiny-train", 60, seed=9)}, "train"),
    ],
)
def test_a_bank_of_something_else_is_refused_by_name(folder, tmp_path, change, field):
    make_bank(folder, tmp_path / "first", bank=tmp_path / "bank")[0].features()
    with pytest.raises(DataError, match=field):
        make_bank(folder, tmp_path / "second", bank=tmp_path / "bank", **change)


def test_a_bank_without_rows_is_anyone_s(folder, tmp_path):
    first, _ = make_bank(folder, tmp_path / "first", bank=tmp_path / "bank")
    second, _ = make_bank(folder, tmp_path / "second", bank=tmp_path / "bank", scale=1 / 32)
    second.features()
    with pytest.raises(DataError, match="scale"):
        first.features()


def test_a_bank_with_a_damaged_key(folder, tmp_path):
    make_bank(folder, tmp_path)
    (tmp_path / "bank" / "key.json").write_text("{")
    with pytest.raises(DataError, match="key.json: not readable"):
        make_bank(folder, tmp_path)


# ---- runs


def test_a_stopped_run_goes_on_where_it_stopped(folder, tmp_path, monkeypatch):
    whole = evaluate(tiny.settings(folder, tmp_path / "whole", **EVERYTHING))
    settings = tiny.settings(folder, tmp_path / "run", bank=tmp_path / "whole" / "bank", **EVERYTHING)
    with monkeypatch.context() as patch:
        count_looks(patch, stop_at=5 + 2)  # five batches are searched, two perturbed
        with pytest.raises(KeyboardInterrupt):
            evaluate(settings)
    lines = (tmp_path / "run" / "records" / "0.jsonl").read_text().splitlines()
    assert [json.loads(line).get("item") for line in lines] == [None, "0-4", "5-9"]
    assert not (tmp_path / "run" / "results.json").exists()
    seen = count_looks(monkeypatch)
    run = evaluate(settings)
    assert sum(seen) == 2 * 13  # searched and perturbed
    for variant in whole.variants:
        np.testing.assert_array_equal(run.labels[variant], whole.labels[variant])
    reports = [json.loads((tmp_path / name / "results.json").read_text()) for name in ("whole", "run")]
    assert reports[0]["summary"] == reports[1]["summary"]
    del seen[:]
    evaluate(settings)
    assert not seen


def test_other_settings_are_refused_by_name(folder, tmp_path):
    evaluate(tiny.settings(folder, tmp_path))
    with pytest.raises(DataError, match=r"k = \[3\], now it is \[1\]"):
        evaluate(tiny.settings(folder, tmp_path, k=(1,)))


def test_eps_is_chosen_on_other_images(folder, tmp_path):
    tune = tiny.make_set("tiny-tune", 11, seed=4)
    run = evaluate(tiny.settings(folder, tmp_path, tune=tune))
    alone = evaluate(tiny.settings(folder, tmp_path / "alone", test=tune))
    variant = run.variants[0]
    np.testing.assert_array_equal(run.tuning.labels[variant], alone.labels[variant])
    assert run.chosen_eps(variant) == alone.best_eps(variant)
    report = json.loads((tmp_path / "results.json").read_text())
    assert report["tuning"]["data"]["name"] == "tiny-tune"
    assert report["summary"]["variants"][0]["chosen"]["eps"] == run.chosen_eps(variant)


def test_runs_that_share_a_folder(folder, tmp_path, monkeypatch):
    tune = tiny.make_set("tiny-tune", 11, seed=4)
    first, second = (
        evaluate(tiny.settings(folder, tmp_path, by_key=True, tune=tune, k=k)) for k in ((1,), (3,))
    )
    assert first.chosen_eps(first.variants[0]) is not None and second.variants != first.variants
    names = sorted(path.name for path in tmp_path.iterdir())
    kinds = [name.rsplit("-", 1)[0].split("-tiny-")[1] for name in names]
    assert sorted(kinds) == ["test", "test", "train-bank", "tune-tuning", "tune-tuning"]
    seen = count_looks(monkeypatch)
    again = evaluate(tiny.settings(folder, tmp_path, by_key=True, tune=tune, k=(1,)))
    np.testing.assert_array_equal(again.labels[again.variants[0]], first.labels[first.variants[0]])
    assert not seen


def test_what_a_result_says_about_its_origin(folder, tmp_path):
    settings = tiny.settings(folder, tmp_path, **EVERYTHING)
    evaluate(settings)
    results = json.loads((tmp_path / "results.json").read_text())
    report = json.loads((tmp_path / "provenance.json").read_text())
    assert results["schema"] == "caffe_gp.results/2" and results["task"] == "classification"
    assert report["method"] == {
        "eps": [0.05, -0.1], "blob": "data", "score": "ip2", "k": [1, 3], "features": ["ip1", "conv1"],
        "gradient_at": ["neighbour", "test"],
    }  # fmt: skip
    assert report["data"]["train"]["images"] == 60 and report["data"]["images"]["images"] == 23
    assert len(report["model"]["caffemodel_sha256"]) == 64 and report["engine"]["engine"]
    assert set(report["seconds"]) == {"features", "search", "gradients", "perturbed"}
    assert len(results["summary"]["variants"]) == 8


def test_the_page(folder, tmp_path):
    tune = tiny.make_set("tiny-tune", 11, seed=4)
    settings = tiny.settings(folder, tmp_path, tune=tune, eps=[0.05, 0.4])
    run = classification_page.evaluate_with_page(settings)
    markdown = (tmp_path / "table.md").read_text()
    assert f"| none (base) |  | {100 * run.accuracy():.2f} |" in markdown
    found = run.outcome(run.variants[0], 0.4)
    assert f"| {found.fixed} | {found.broken} |" in markdown
    assert "tiny-tune" in markdown and "(chosen)" in markdown
    root = checked_page(tmp_path / "index.html")
    assert len(list(root.iter("img"))) == 1 and (tmp_path / "examples.pdf").is_file()
    assert len(root.findall(".//section")) == 1 and (tmp_path / "curve.svg").is_file()


def test_the_curve_has_a_line_for_each_variant(folder, tmp_path):
    run = evaluate(tiny.settings(folder, tmp_path, eps=[0.05, 0.4], **{**EVERYTHING, "k": (1, 2, 3, 5)}))
    axes = classification_page.curve(run, "eps").axes[0]
    drawn = [line for line in axes.lines if len(line.get_xdata()) == 3]  # eps 0 is drawn too
    assert len(drawn) == len(run.variants) == 16
    assert len({(line.get_color(), line.get_linestyle(), line.get_marker()) for line in drawn}) == 16


def test_examples_are_images_whose_label_changed(folder, tmp_path):
    settings = tiny.settings(folder, tmp_path, eps=[0.4], k=(3,))
    task = ClassificationTask.of(settings)
    run = run_task(task)
    variant = run.variants[0]
    found = examples(task, run, variant, 0.4, fixed=3, broken=3)
    assert 1 < len(found) <= 6
    assert [example.after == example.truth for example in found] == sorted(
        (example.after == example.truth for example in found), reverse=True
    )
    for example in found:
        assert example.base != example.after
        np.testing.assert_array_equal(example.neighbours, run.neighbours["ip1"][example.row])
        pixels = settings.test.images[example.row, :, :, 0] + 0.4 / 3 * 64 * example.step[0].astype(float)
        expected = np.clip(np.rint(pixels), 0, 255)
        assert np.abs(example.perturbed[:, :, 0] - expected).max() <= 1  # halves may round either way


# ---- refused


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"k": (61,)}, CaffeGPError, r"k must be in 1..60, found \[61\]"),
        ({"k": ()}, CaffeGPError, "k must be"),
        ({"gradient_at": ("here",)}, CaffeGPError, "'neighbour' or 'test', found 'here'"),
        ({"eps": [0.1, 0.1]}, CaffeGPError, "values must differ"),
        ({"eps": []}, CaffeGPError, "must be values"),
        ({"features": ("fc7",)}, NetError, "no blob 'fc7'"),
        ({"blob": "fc7"}, NetError, "no blob 'fc7'"),
    ],
)
def test_settings_that_make_no_sense(folder, tmp_path, change, error, message):
    with pytest.raises(error, match=message):
        evaluate(tiny.settings(folder, tmp_path / "out", **change))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("names", ("abcde", "abc"))
def test_sets_of_more_or_fewer_classes_than_the_net_has(folder, tmp_path, names):
    test, train = (
        replace(one, classes=tuple(names), labels=one.labels % len(names))
        for one in (tiny.make_set("tiny-test", 5, seed=2), tiny.make_set("tiny-train", 60, seed=1))
    )
    message = f"set 'tiny-train' has {len(names)} classes, the net's scores have 4 channels"
    with pytest.raises(DataError, match=message):
        evaluate(tiny.settings(folder, tmp_path, test=test, train=train))


def test_sets_of_other_classes(folder, tmp_path):
    """Two folders whose sub-folders differ number their classes differently."""
    test = replace(tiny.make_set("tiny-test", 5, seed=2), classes=tuple("abdc"))
    message = "'tiny-train' and 'tiny-test' differ in their classes: class 2 is 'c' in one and 'd' in the"
    with pytest.raises(DataError, match=message):
        evaluate(tiny.settings(folder, tmp_path, test=test))

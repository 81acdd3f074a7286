"""The relatives on classifiers: the committed nets, on images that mean nothing; and that they resume."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from caffe_gp.datasets import classification
from caffe_gp.datasets.classification import ClassificationSet
from caffe_gp.errors import DataError, NetError, UsageError
from caffe_gp.evaluation.class_probabilities import ClassProbabilities, ProbabilityTask, probabilities
from caffe_gp.evaluation.labeller import Labeller
from caffe_gp.experiments import relatives_classifiers
from caffe_gp.experiments.bench import Bench
from caffe_gp.experiments.suites import get


def test_rows(tmp_path, monkeypatch):
    """Random images on the real nets: the rows are there, and the average is not the base."""
    random = np.random.RandomState(0)

    def made(name, root=None):
        side, channels = (28, 1) if name.startswith("mnist") else (32, 3)
        count = classification.TUNING + 20 if "train" in name else 120
        images = random.randint(0, 256, (count, side, side, channels)).astype(np.uint8)
        return ClassificationSet(name, tuple("0123456789"), images, random.randint(0, 10, count))

    monkeypatch.setattr(classification, "get", made)
    monkeypatch.setattr(relatives_classifiers, "_TUNING", 10)
    report = relatives_classifiers.run(Bench(get("paper"), tmp_path, quiet=True))
    for rows in report.numbers["nets"].values():
        assert [row["method"] for row in rows][:3] == ["base", "GP, its own label", "entropy"]
        assert rows[0]["gain"] == {"gain": 0, "low": 0, "high": 0}
        assert rows[0]["negative_log_likelihood"] != rows[-2]["negative_log_likelihood"]
        assert 0 <= rows[0]["accuracy"] <= 0.3


def _settings(out, count=250, **more):
    random = np.random.RandomState(1)
    images = random.randint(0, 256, (count, 28, 28, 1)).astype(np.uint8)
    given = ClassificationSet("noise", tuple("0123456789"), images, random.randint(0, 10, count))
    return ClassProbabilities.of_model(
        "lenet", images=given, eps=[0.004, 0.1], out=out, quiet=True, threads=1, **more
    )


def test_probabilities_of_a_stopped_run_are_those_of_a_whole_one(tmp_path, monkeypatch):
    """Ctrl-C behind the first batch: the next run computes the rest only, also with two processes."""
    whole = probabilities(_settings(tmp_path / "whole"))
    assert [y.shape for y in whole] == [(250, 10)] * 3
    np.testing.assert_allclose(whole[0].sum(axis=1), 1, atol=1e-5)
    assert (whole[2] != whole[0]).any()
    label, calls = Labeller.label, []

    def stopped(self, *args, **more):
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append(len(args[0]))
        return label(self, *args, **more)

    monkeypatch.setattr(Labeller, "label", stopped)
    with pytest.raises(KeyboardInterrupt):
        probabilities(_settings(tmp_path / "stopped"))
    monkeypatch.setattr(Labeller, "label", label)
    assert calls == [100]
    resumed = probabilities(_settings(tmp_path / "stopped", workers=2))
    np.testing.assert_array_equal(resumed, whole)
    files = sorted(path.name for path in (tmp_path / "stopped" / "records").iterdir())
    assert files == ["0.jsonl", "1.jsonl", "2.jsonl"]
    with pytest.raises(DataError, match="eps"):
        probabilities(replace(_settings(tmp_path / "stopped"), eps=[0.5]))


def test_what_has_no_classes_is_refused(tmp_path):
    with pytest.raises(UsageError, match="ground-truth"):
        probabilities(_settings(tmp_path, count=3, encoding="ground-truth"))
    digits = ClassificationSet(
        "scenes", tuple("0123456789"), np.zeros((2, 96, 96, 3), np.uint8), np.zeros(2, int)
    )
    with pytest.raises(NetError, match="expected those of a net that labels whole images"):
        given = {"images": digits, "eps": [1.0], "out": tmp_path / "pixels", "quiet": True}
        probabilities(ClassProbabilities.of_model("digits", **given))


def test_records_that_were_edited_are_refused(tmp_path):
    settings = _settings(tmp_path, count=3)
    probabilities(settings)
    folder = ProbabilityTask.of(settings.with_workers()).folder
    path = tmp_path / "records" / "0.jsonl"
    head, record = path.read_text().splitlines()
    for damaged, words in (
        (record.replace('"0-2"', '"0-3"'), "rows that the set does not have"),
        (record.replace("[[[", "[[[2.5, ", 1), "a list of 10"),
        (record.replace("[[[0.", "[[[7.", 1), "a number in 0..1"),
        (record.replace("[[[0.", "[[[0.9", 1), "a sum of 1"),
    ):
        path.write_text(f"{head}\n{damaged}\n")
        with pytest.raises(DataError, match=words):
            folder.records()

"""The relatives on classifiers: the committed nets, on images that mean nothing."""

from __future__ import annotations

import numpy as np

from caffe_gp.datasets import classification
from caffe_gp.datasets.classification import ClassificationSet
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

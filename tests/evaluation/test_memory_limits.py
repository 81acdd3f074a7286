"""Runs whose batches, or whose images, need more memory than they may take (embedded Caffe)."""

from __future__ import annotations

import re

import numpy as np
import pytest

from caffe_gp.caffe import memory
from caffe_gp.engines.sizes import memory_for
from caffe_gp.errors import OutOfMemoryError
from caffe_gp.evaluation.classification import evaluate as classify
from caffe_gp.evaluation.segmentation import evaluate
from tests.evaluation import tiny_classifier, tiny_run


@pytest.fixture
def net(tmp_path):
    tiny_run.make_net(tmp_path)
    return tmp_path


def test_a_batch_is_halved_until_it_fits(net, tmp_path, monkeypatch, caplog):
    data = tiny_run.make_data(tmp_path, 10)
    settings = tiny_run.settings(net, data, tmp_path / "whole", batch_size=1)
    whole = evaluate(settings)
    one = memory_for(settings.prototxt, (30, 24)).backward
    monkeypatch.setenv(memory.VARIABLE, str(int(2.5 * one)))
    options = {"batch_size": 5, "quiet": False}
    run = evaluate(tiny_run.settings(net, data, tmp_path / "halved", **options))
    assert np.array_equal(run.base, whole.base) and np.array_equal(run.after, whole.after)
    said = caplog.text
    assert said.count("images at once, so 2 from here on") == 1 and "may take" in said


def test_an_image_that_does_not_fit_alone_hears_which_size_does(net, tmp_path, monkeypatch):
    data = tiny_run.make_data(tmp_path, 3)
    settings = tiny_run.settings(net, data, tmp_path / "run")
    monkeypatch.setenv(memory.VARIABLE, str(memory_for(settings.prototxt, (30, 24)).backward - 1))
    with pytest.raises(OutOfMemoryError, match="needs .* bytes") as caught:
        evaluate(settings)
    width, height = map(int, re.search(r"fit: --resize (\d+),(\d+)$", str(caught.value)).groups())
    assert 25 <= width < 30 and height == round(width * 24 / 30)
    evaluate(tiny_run.settings(net, data, tmp_path / "smaller", resize=(width, height)))


def test_a_classifier_looks_at_fewer_images_at_once(tmp_path, monkeypatch, caplog):
    tiny_classifier.make_net(tmp_path)
    options = {"batch_size": 10, "k": (1, 3), "gradient_at": ("neighbour", "test")}
    settings = tiny_classifier.settings(tmp_path, tmp_path / "whole", **options)
    whole = classify(settings)
    one = memory_for(settings.prototxt, (8, 8)).backward
    monkeypatch.setenv(memory.VARIABLE, str(4 * one))
    run = classify(tiny_classifier.settings(tmp_path, tmp_path / "halved", **options, quiet=False))
    assert "no memory for 10 images at once, so 5 from here on" in caplog.text
    assert np.array_equal(run.base, whole.base) and run.labels.keys() == whole.labels.keys()
    assert all(np.array_equal(run.labels[name], whole.labels[name]) for name in whole.labels)

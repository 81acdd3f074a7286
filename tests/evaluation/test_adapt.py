"""Batch normalisation adapted to an image: beside numpy, finite differences, and weights that come back."""

from __future__ import annotations

import numpy as np
import pytest

from caffe_gp.errors import DataError, UsageError
from caffe_gp.evaluation.segmentation import evaluate
from caffe_gp.gp.adapt import Adaptation
from caffe_gp.gp.encodings import softmax
from caffe_gp.surgery.batch_norms import normalised
from conformance import gp_nets as nets
from tests.evaluation import tiny_run

pytestmark = pytest.mark.engine

NET = (
    nets.input_layer((1, 3, 24, 30))
    + nets.conv("conv1", "data", 6, 3, pad=1)
    + nets.in_place("bn1", "BatchNorm", "conv1")
    + 'layer { name: "scale1" type: "Scale" bottom: "conv1" top: "conv1" scale_param { bias_term: true } }'
    + nets.in_place("relu1", "ReLU", "conv1")
    + nets.conv("score", "conv1", tiny_run.CLASSES, 3, pad=1)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A net with batch normalisation, and images."""
    folder = tmp_path_factory.mktemp("adapt")
    net = nets.plain_net(folder, NET, name="net.prototxt", gain=0.05)
    random = np.random.RandomState(3)
    for blob, values in zip(net.params["bn1"], (random.normal(size=6), random.uniform(1, 9, 6), 2.0)):
        blob.data[...] = values
    for blob, values in zip(net.params["scale1"], (random.uniform(0.5, 1.5, 6), random.normal(size=6))):
        blob.data[...] = values
    net.params["score"][0].data[...] *= 10  # an entropy that is worth a step
    net.save(str(folder / "net.caffemodel"))
    return folder


@pytest.fixture(scope="module")
def data(folder):
    return tiny_run.make_data(folder, 3)


@pytest.fixture
def net(folder, data, tmp_path):
    """The net as an evaluation with TENT loads it."""
    return tiny_run.settings(folder, data, tmp_path, adapt="tent").resolve().open_net()


def adaptation(net, **options):
    names = normalised(net.prepared.net)
    return Adaptation(net, batch_norms=names.batch_norms, scales=names.scales, **options)


def images(seed=0):
    return np.random.RandomState(seed).normal(0, 60, (1, 3, 24, 30)).astype(np.float32)


def entropy(net, values):
    net.net.blobs["data"].data[...] = values
    net.net.forward()
    y = softmax(net.net.blobs["score"].data.astype(np.float64))
    return float(-(y * np.log(y)).sum(axis=1).mean())


def blobs(net):
    return [np.array(blob.data) for name in ("bn1", "scale1") for blob in net.net.params[name]]


def test_the_statistics_are_the_images(net):
    """Batch normalisation in training mode, by hand: the biased variance of the image's own pixels."""
    values = images()
    with adaptation(net).to(values):
        entropy(net, values)
        net.net.forward(start="conv1", end="conv1")
        x = net.net.blobs["conv1"].data.astype(np.float64)
        net.net.forward(start="bn1", end="scale1")
        found = np.array(net.net.blobs["conv1"].data)
    gamma, beta = (blob.data[:, None, None] for blob in net.net.params["scale1"])
    mean, variance = (getattr(x, name)(axis=(0, 2, 3), keepdims=True) for name in ("mean", "var"))
    expected = gamma * (x - mean) / np.sqrt(variance + 1e-5) + beta
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_the_gradient_is_the_entropys(net):
    values, adapting = images(), adaptation(net)
    gradients = adapting.gradients(values)
    assert [gradient.shape for gradient in gradients] == [(6,), (6,)]
    for blob, gradient in zip(net.net.params["scale1"], gradients):
        for k in range(6):
            before, ends = float(blob.data[k]), []
            for step in (1e-2, -1e-2):
                blob.data[k] = before + step
                ends.append(entropy(net, values))
            blob.data[k] = before
            assert gradient[k] == pytest.approx((ends[0] - ends[1]) / 2e-2, abs=2e-4, rel=0.02)
    assert max(np.abs(gradient).max() for gradient in gradients) > 5e-3


def test_tent_lowers_the_entropy_and_takes_everything_back(net):
    values = images()
    base, before = entropy(net, values), blobs(net)
    with adaptation(net, steps=5, rate=1e-2).to(values):
        within = entropy(net, values)
        moved = np.abs(net.net.params["scale1"][0].data - before[3])
        assert 0.01 < moved.max() < 0.06  # five steps of Adam
    assert within < base - 1e-3
    assert all(np.array_equal(one, other) for one, other in zip(before, blobs(net)))
    with pytest.raises(KeyError), adaptation(net, steps=2, rate=1e-2).to(values):
        raise KeyError  # what happens within does not matter
    assert all(np.array_equal(one, other) for one, other in zip(before, blobs(net)))


def test_the_first_step_is_the_rate_along_the_sign(net):
    """Adam's first step, whatever the gradient's size."""
    values, adapting = images(), adaptation(net, steps=1, rate=0.01)
    gradients = adapting.gradients(values)
    before = [np.array(blob.data) for blob in net.net.params["scale1"]]
    with adapting.to(values):
        for blob, first, gradient in zip(net.net.params["scale1"], before, gradients):
            assert np.allclose(blob.data, first - 0.01 * np.sign(gradient), atol=2e-5)


def test_evaluations_adapt_to_each_image_alone(folder, data, tmp_path):
    """Whatever came before an image: its numbers are those of a run with it alone."""
    options = {"adapt": "tent", "tent_steps": 2, "tent_rate": 1e-2, "eps": [0.5]}
    run = evaluate(tiny_run.settings(folder, data, tmp_path / "all", **options))
    assert run.passes == (5, 7)
    for i, item in enumerate(data.ids):
        alone = evaluate(tiny_run.settings(folder, data.only([item]), tmp_path / item, **options))
        assert np.array_equal(run.base[i], alone.base[0]) and np.array_equal(
            run.after[:, i], alone.after[:, 0]
        )
    plain = evaluate(tiny_run.settings(folder, data, tmp_path / "plain", eps=[0.5]))
    own = evaluate(tiny_run.settings(folder, data, tmp_path / "bn", eps=[0.5], adapt="bn"))
    found = [one.base.tobytes() for one in (plain, own, run)]
    assert len(set(found)) == 3


@pytest.mark.parametrize(
    "then",
    [{}, {"adapt": "bn"}, {"adapt": "tent", "tent_steps": 2}, {"adapt": "tent", "tent_rate": 1e-2}],
)
def test_a_run_is_not_resumed_with_another_adaptation(folder, data, tmp_path, then):
    evaluate(tiny_run.settings(folder, data, tmp_path, adapt="tent"))
    with pytest.raises(DataError, match="other settings|adapt|tent|prepared"):
        evaluate(tiny_run.settings(folder, data, tmp_path, **then))


def test_padding_is_no_image(folder, data, tmp_path):
    with pytest.raises(UsageError, match="padding would count as image"):
        evaluate(tiny_run.settings(folder, data, tmp_path, adapt="bn", pad_to=(40, 40)))

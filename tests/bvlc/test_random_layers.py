"""What is random in Caffe, by its statistics: the same must hold on BVLC Caffe and on the embedded Caffe.

On BVLC Caffe:

    CAFFE_GP_ENGINE=bvlc tools/in_bvlc.sh python3 -m pytest tests/bvlc/test_random_layers.py
"""

from __future__ import annotations

import numpy as np
import pytest

from caffe_gp import engines

if engines.resolve() == "torch":
    pytest.importorskip("torch", reason="the embedded Caffe needs torch")

pytestmark = pytest.mark.engine
SHAPE = (60, 40, 3, 5)  # outputs, inputs, height, width of the weights that the fillers fill
COUNT = 60 * 40 * 3 * 5
FAN_IN, FAN_OUT = 40 * 3 * 5, 60 * 3 * 5
INPUT = 'layer { name: "input" type: "Input" top: "data" input_param { shape { %s } } }\n'


@pytest.fixture(scope="module")
def caffe():
    return engines.load_caffe("auto")


def make_net(caffe, tmp_path, text, phase=0, seed=1):
    path = tmp_path / "net.prototxt"
    path.write_text(text)
    caffe.set_random_seed(seed)
    return caffe.Net(str(path), phase)


def filled(caffe, tmp_path, filler, seed=1):
    text = INPUT % "dim: 1 dim: 40 dim: 3 dim: 5" + (
        'layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { '
        "num_output: 60 kernel_h: 3 kernel_w: 5 weight_filler { %s } } }" % filler
    )
    weights = make_net(caffe, tmp_path, text, seed=seed).params["conv"][0].data
    assert weights.shape == SHAPE
    return weights.astype(np.float64)


@pytest.mark.parametrize(
    "filler, mean, deviation, bounds",
    [
        ("type: 'uniform' min: -2 max: 3", 0.5, 5 / 12**0.5, (-2, 3)),
        ("type: 'gaussian' mean: 0.5 std: 0.2", 0.5, 0.2, None),
        ("type: 'xavier'", 0, FAN_IN**-0.5, (-((3 / FAN_IN) ** 0.5), (3 / FAN_IN) ** 0.5)),
        ("type: 'xavier' variance_norm: FAN_OUT", 0, FAN_OUT**-0.5, None),
        ("type: 'xavier' variance_norm: AVERAGE", 0, (2 / (FAN_IN + FAN_OUT)) ** 0.5, None),
        ("type: 'msra'", 0, (2 / FAN_IN) ** 0.5, None),
        ("type: 'msra' variance_norm: FAN_OUT", 0, (2 / FAN_OUT) ** 0.5, None),
        ("type: 'msra' variance_norm: AVERAGE", 0, (4 / (FAN_IN + FAN_OUT)) ** 0.5, None),
    ],
)
def test_fillers_have_caffe_s_moments(caffe, tmp_path, filler, mean, deviation, bounds):
    weights = filled(caffe, tmp_path, filler)
    five_sigma = 5 / COUNT**0.5
    assert abs(weights.mean() - mean) < five_sigma * deviation
    assert abs(weights.std() / deviation - 1) < five_sigma
    # The fourth moment tells a uniform (1.8) from a normal distribution (3).
    kurtosis = (((weights - mean) / deviation) ** 4).mean()
    uniform = "uniform" in filler or "xavier" in filler
    assert abs(kurtosis - (1.8 if uniform else 3)) < 0.3
    if bounds:
        assert bounds[0] <= weights.min() < bounds[0] + 1e-3 * (bounds[1] - bounds[0])
        assert bounds[1] - 1e-3 * (bounds[1] - bounds[0]) < weights.max() <= bounds[1]


def test_sparse_gaussian_filler(caffe, tmp_path):
    weights = filled(caffe, tmp_path, "type: 'gaussian' std: 2 sparse: 6")
    kept = weights != 0
    assert abs(kept.mean() - 0.1) < 5 * (0.1 * 0.9 / COUNT) ** 0.5  # 6 of 60 outputs
    assert abs(weights[kept].std() / 2 - 1) < 5 / kept.sum() ** 0.5


def test_positive_unitball_filler(caffe, tmp_path):
    rows = filled(caffe, tmp_path, "type: 'positive_unitball'").reshape(60, -1)
    assert rows.min() >= 0
    np.testing.assert_allclose(rows.sum(1), 1, rtol=1e-5)
    # Uniform numbers over their sum: between 0 and about 2 / n.
    assert abs(rows.max() * FAN_IN / 2 - 1) < 0.1
    assert abs(rows.std() * FAN_IN * 3**0.5 - 1) < 0.05


def test_the_seed_decides(caffe, tmp_path):
    for filler in ("type: 'gaussian'", "type: 'uniform'", "type: 'xavier'"):
        first = filled(caffe, tmp_path, filler, seed=3)
        np.testing.assert_array_equal(filled(caffe, tmp_path, filler, seed=3), first)
        assert (filled(caffe, tmp_path, filler, seed=4) != first).mean() > 0.99


@pytest.mark.parametrize("ratio", [0.5, 0.1, 0.9])
@pytest.mark.parametrize("in_place", [False, True])
def test_dropout_in_training(caffe, tmp_path, ratio, in_place):
    top = "data" if in_place else "top"
    text = (
        "force_backward: true\n"
        + INPUT % "dim: 100 dim: 10 dim: 8 dim: 5"
        + (
            'layer { name: "drop" type: "Dropout" bottom: "data" top: "%s" '
            "dropout_param { dropout_ratio: %g } }" % (top, ratio)
        )
    )
    net = make_net(caffe, tmp_path, text)
    count, random = 40000, np.random.RandomState(0)
    values = random.rand(100, 10, 8, 5).astype(np.float32) + 1
    masks = []
    for _ in range(2):
        net.blobs["data"].data[...] = values
        net.forward()
        out = net.blobs[top].data.copy()
        kept = out != 0
        masks.append(kept)
        assert abs(kept.mean() - (1 - ratio)) < 5 * (ratio * (1 - ratio) / count) ** 0.5
        np.testing.assert_allclose(out[kept], values[kept] / (1 - ratio), rtol=1e-5)
        # Neighbours are dropped independently.
        pairs = (kept[..., 1:] & kept[..., :-1]).mean()
        assert abs(pairs - (1 - ratio) ** 2) < 0.02
        diff = random.randn(*values.shape).astype(np.float32)
        net.blobs[top].diff[...] = diff
        net.backward()
        np.testing.assert_allclose(net.blobs["data"].diff, np.where(kept, diff / (1 - ratio), 0), rtol=1e-5)
    assert (masks[0] != masks[1]).mean() == pytest.approx(2 * ratio * (1 - ratio), abs=0.03)


def test_dummy_data_is_drawn_anew_for_each_forward(caffe, tmp_path):
    text = (
        'layer { name: "dummy" type: "DummyData" top: "noise" top: "fixed" dummy_data_param { '
        "shape { dim: 50 dim: 40 } shape { dim: 2 dim: 3 } "
        "data_filler { type: 'gaussian' mean: 1 std: 3 } data_filler { type: 'constant' value: 7 } } }"
    )
    net = make_net(caffe, tmp_path, text)
    draws = []
    for _ in range(2):
        net.forward()
        draws.append(net.blobs["noise"].data.astype(np.float64))
        assert abs(draws[-1].mean() - 1) < 5 * 3 / 2000**0.5
        assert abs(draws[-1].std() / 3 - 1) < 5 / 2000**0.5
        np.testing.assert_array_equal(net.blobs["fixed"].data, np.full((2, 3), 7, np.float32))
    assert abs(np.corrcoef(draws[0].ravel(), draws[1].ravel())[0, 1]) < 5 / 2000**0.5

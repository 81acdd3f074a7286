"""BatchNorm with a scale and a bias of its own (NVIDIA Caffe), and Intel's fields of it."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from caffe_gp import caffe, proto
from caffe_gp.errors import NetError, PrototxtError, WeightsError
from caffe_gp.proto import messages as pb
from tests.caffe.layer_harness import TEST, TRAIN, Run, assert_close, numeric_gradient

SHAPE = (3, 4, 5, 2)


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.RandomState(seed).randn(*shape)


def across(x: np.ndarray, v: np.ndarray) -> np.ndarray:
    """One value a channel, against x."""
    return np.reshape(v, (1, -1) + (1,) * (x.ndim - 2))


def layer(fields: str = "scale_bias: true") -> str:
    return f'type: "BatchNorm" batch_norm_param {{ {fields} }}'


def statistics(seed: int = 5) -> list[np.ndarray]:
    return [values(4, seed=seed), np.abs(values(4, seed=seed + 1)) + 0.2]


@pytest.mark.parametrize("shape", [SHAPE, (6, 4), (2, 4, 3, 2, 2)])
@pytest.mark.parametrize("correction", [1.0, 4.0])
def test_moving_statistics(shape, correction):
    """Values and diffs of the bottom, the scale and the bias; the correction divides, as in BVLC Caffe."""
    mean, variance = statistics()

    def formula(x, scale, bias):
        moved = (x - across(x, mean / correction)) / np.sqrt(across(x, variance / correction) + 1e-5)
        return across(x, scale) * moved + across(x, bias)

    x, scale, bias, dy = values(*shape), values(4, seed=1), values(4, seed=2), values(*shape, seed=3)
    for in_place in (False, True):
        for channels_last in (False, True):
            run = Run(
                layer(), [x], phase=TEST, params=[mean, variance, [correction], scale, bias],
                in_place=in_place, channels_last=channels_last,
            )  # fmt: skip
            assert_close(run.data[0], formula(x, scale, bias))
            run.layer.blobs[3].diff[...] = 10  # diffs of parameters are added to
            run.layer.blobs[4].diff[...] = 20
            dx = run.backward([dy])[0]
            for found, at, one in (
                (dx, x, lambda v: formula(v, scale, bias)),
                (run.layer.blobs[3].diff - 10, scale, lambda v: formula(x, v, bias)),
                (run.layer.blobs[4].diff - 20, bias, lambda v: formula(x, scale, v)),
            ):
                slope = numeric_gradient(lambda v, one=one: float((one(v) * dy).sum()), at)
                assert_close(found, slope, 2e-4)


@pytest.mark.parametrize("shape", [SHAPE, (6, 4)])
def test_statistics_of_the_batch(shape):
    def formula(x, scale, bias):
        axes = (0, *range(2, x.ndim))
        mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
        return across(x, scale) * (x - mean) / np.sqrt(variance + 1e-2) + across(x, bias)

    x, scale, bias, dy = values(*shape) * 2 + 1, values(4, seed=1), values(4, seed=2), values(*shape, seed=3)
    for in_place in (False, True):
        run = Run(
            layer("scale_bias: true eps: 1e-2"), [x], phase=TRAIN, in_place=in_place,
            params=[np.zeros(4), np.zeros(4), [1], scale, bias],
        )  # fmt: skip
        assert_close(run.data[0], formula(x, scale, bias))
        dx = run.backward([dy])[0]
        for found, at, one in (
            (dx, x, lambda v: formula(v, scale, bias)),
            (run.layer.blobs[3].diff, scale, lambda v: formula(x, v, bias)),
            (run.layer.blobs[4].diff, bias, lambda v: formula(x, scale, v)),
        ):
            slope = numeric_gradient(lambda v, one=one: float((one(v) * dy).sum()), at)
            assert_close(found, slope, 2e-4)


def test_it_is_batch_norm_and_scale():
    """BVLC's two layers, with the same blobs, forward and backward, in both phases."""
    mean, variance = statistics()
    x, scale, bias, dy = values(*SHAPE), values(4, seed=1), values(4, seed=2), values(*SHAPE, seed=3)
    for phase in (TEST, TRAIN):
        one = Run(layer(), [x], phase=phase, params=[mean, variance, [1], scale, bias])
        first = Run('type: "BatchNorm"', [x], phase=phase, params=[mean, variance, [1]])
        second = Run('type: "Scale" scale_param { bias_term: true }', first.data, params=[scale, bias])
        assert_close(one.data[0], second.data[0])
        dx = first.backward(second.backward([dy]))[0]
        assert_close(one.backward([dy])[0], dx)
        for k in range(2):
            assert_close(one.layer.blobs[3 + k].diff, second.layer.blobs[k].diff)


def test_moving_averages():
    """The first pass takes the batch's own, the next f old + (1 - f) new; the correction stays 1."""
    run = Run(layer("scale_bias: true moving_average_fraction: 0.9"), [values(*SHAPE)])
    mean = variance = None
    for step in range(3):
        x = values(*SHAPE, seed=step) * (step + 1) + step
        if step:
            run.bottom[0].data[...] = x
            run.forward()
        else:
            x = values(*SHAPE)
        new = x.mean((0, 2, 3)), x.var((0, 2, 3), ddof=1)
        mean = new[0] if step == 0 else 0.9 * mean + 0.1 * new[0]
        variance = new[1] if step == 0 else 0.9 * variance + 0.1 * new[1]
        assert_close(run.layer.blobs[0].data, mean)
        assert_close(run.layer.blobs[1].data, variance)
        assert run.layer.blobs[2].data.tolist() == [1]


def test_eps_is_never_below_1e_5_beside_a_scale():
    """BVLC's layer keeps its eps, whatever it is."""
    x = np.full((1, 4, 1, 1), 1e-3)
    params = [np.zeros(4), np.zeros(4), [1], np.ones(4), np.zeros(4)]
    small, least, large = (
        Run(layer(f"scale_bias: true eps: {eps}"), [x], phase=TEST, params=params).data[0].ravel()[0]
        for eps in ("1e-9", "1e-5", "1e-2")
    )
    assert small == least and large < small
    np.testing.assert_allclose(small, 1e-3 / np.sqrt(1e-5), rtol=1e-6)
    plain = Run(layer("eps: 1e-9"), [x], phase=TEST, params=params[:3]).data[0].ravel()[0]
    np.testing.assert_allclose(plain, 1e-3 / np.sqrt(1e-9), rtol=1e-6)


@pytest.mark.parametrize(
    "fields, blobs, scale, bias",
    [
        ("", 3, None, None),
        ("scale_bias: false", 3, None, None),
        ("scale_bias: true", 5, 1, 0),
        ('scale_filler { type: "constant" value: 3 }', 5, 3, 0),
        ("bias_filler { value: 2 }", 5, 1, 2),
        ("scale_filler { value: 3 } bias_filler { value: 2 } engine: CUDNN", 5, 3, 2),
        # Intel's kind: BVLC's three blobs
        ("filler { value: 3 } bias_filler { value: 2 } engine: MKLDNN", 3, None, None),
        ("use_weight_bias: true", 3, None, None),
    ],
)
def test_what_tells_a_scale_and_a_bias(fields, blobs, scale, bias):
    run = Run(layer(fields), [values(*SHAPE)], phase=TEST)
    assert [blob.shape for blob in run.layer.blobs] == [(4,), (4,), (1,), (4,), (4,)][:blobs]
    if blobs == 5:
        assert run.layer.blobs[2].data.tolist() == [1]
        assert run.layer.blobs[3].data.tolist() == [scale] * 4
        assert run.layer.blobs[4].data.tolist() == [bias] * 4


def test_the_phase_alone_decides_beside_a_scale(caplog):
    """As in NVIDIA Caffe; it is said."""
    x = values(*SHAPE) * 2 + 3
    params = [*statistics(), [1], np.ones(4), np.zeros(4)]
    with caplog.at_level(logging.WARNING, logger="caffe_gp.caffe"):
        plain = Run(layer(), [x], phase=TEST, params=params).data[0]
        assert not caplog.records
        told = Run(layer("scale_bias: true use_global_stats: false"), [x], phase=TEST, params=params).data[0]
    assert np.array_equal(plain, told) and "use_global_stats has no effect" in caplog.text


def test_intel_s_statistics_of_parts_of_a_batch_are_refused():
    x = values(*SHAPE)
    with pytest.raises(NetError, match="stats_batch_size is Intel Caffe's"):
        Run(layer("stats_batch_size: 2"), [x], phase=TRAIN)
    Run(layer("stats_batch_size: 2"), [x], phase=TEST)  # there they do not count


NET = """
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 2 dim: 4 dim: 3 dim: 3 } } }
layer { name: "bn" type: "BatchNorm" bottom: "data" top: "bn" batch_norm_param { scale_bias: true } }
"""


def net_of(tmp_path, text: str = NET, phase: int = caffe.TEST):
    path = tmp_path / "net.prototxt"
    path.write_text(text)
    return caffe.Net(str(path), phase)


def weights_of(tmp_path, *arrays):
    net = pb.NetParameter()
    blobs = [pb.BlobProto(data=np.ravel(one), shape={"dim": np.shape(one)}) for one in arrays]
    net.layer.add(name="bn", type="BatchNorm", blobs=blobs)
    path = tmp_path / "w.caffemodel"
    path.write_bytes(net.SerializeToString())
    return str(path)


def test_both_orders_are_loaded(tmp_path):
    """The same numbers from a file of either Caffe; what is saved is today's."""
    mean, variance = statistics()
    scale, bias = values(4, seed=1), values(4, seed=2)
    x = values(2, 4, 3, 3, seed=9)
    expected = across(x, scale) * (x - across(x, mean)) / np.sqrt(across(x, variance) + 1e-5) + across(
        x, bias
    )
    for order in ([mean, variance, [1], scale, bias], [scale, bias, mean, variance, [1]]):
        net = net_of(tmp_path)
        net.copy_from(weights_of(tmp_path, *order))
        net.blobs["data"].data[...] = x
        assert_close(net.forward()["bn"], expected)
        net.save(str(tmp_path / "saved.caffemodel"))
        with proto.read_weights(tmp_path / "saved.caffemodel") as saved:
            for found, array in zip(saved.as_dict()["bn"], (mean, variance, [1], scale, bias), strict=True):
                assert_close(found, array)


def test_another_number_of_blobs_is_refused(tmp_path):
    mean, variance = statistics()
    with pytest.raises(WeightsError, match="the net has 5, the file 3"):
        net_of(tmp_path).copy_from(weights_of(tmp_path, mean, variance, [1]))
    plain = NET.replace("scale_bias: true", "")
    with pytest.raises(WeightsError, match="the net has 3, the file 5"):
        net_of(tmp_path, plain).copy_from(weights_of(tmp_path, mean, variance, [1], mean, mean))


def test_solvers_learn_the_scale_and_the_bias_alone(tmp_path):
    """Multipliers are NVIDIA's, whatever the prototxt says; it may be in the order of Caffe 0.15."""
    declared = "param { lr_mult: 1 } " * 2 + "param { lr_mult: 0 } " * 3
    declared = NET.replace("batch_norm_param", f"{declared} batch_norm_param")
    for text in (NET, declared):
        net = net_of(tmp_path, text, caffe.TRAIN)
        assert net.params_lr == [0, 0, 0, 1, 1]
    two = NET.replace("batch_norm_param", "param { lr_mult: 3 } param { decay_mult: 3 } batch_norm_param")
    specs = proto.parse_net_param(two).layer[1].param
    assert [(spec.lr_mult, spec.decay_mult) for spec in specs] == [(0, 0), (0, 0)]


def test_training_moves_them(tmp_path):
    text = NET + 'layer { name: "l" type: "EuclideanLoss" bottom: "bn" bottom: "data" top: "loss" }'
    (tmp_path / "net.prototxt").write_text(text)
    solver = tmp_path / "solver.prototxt"
    solver.write_text(f'net: "{tmp_path}/net.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 5')
    trained = caffe.get_solver(str(solver))
    trained.net.blobs["data"].data[...] = values(2, 4, 3, 3) * 3 + 1
    losses = []
    for _ in range(5):
        trained.step(1)
        losses.append(float(trained.net.blobs["loss"].data))
    assert losses == sorted(losses, reverse=True)
    assert (trained.net.params["bn"][3].data > 1).all() and trained.net.params["bn"][4].data.any()


def test_a_file_of_intel_s_relu_is_read_and_refused(tmp_path):
    text = NET.replace("scale_bias: true", "relu: true")
    proto.parse_net_param(text)
    with pytest.raises(NetError, match=r"batch_norm_param.relu is a field of Intel Caffe"):
        net_of(tmp_path, text)
    with pytest.raises(PrototxtError):
        proto.parse_net_param(NET.replace("scale_bias: true", "scale_bia: true"))

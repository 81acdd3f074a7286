"""What convolutions and inner products compute in: bfloat16 by its definition, and who decides."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
import torch

import caffe_gp.caffe as caffe
from caffe_gp import engines, load_model, proto
from caffe_gp.caffe import mode
from caffe_gp.caffe.layers.convolution import _channels_last
from caffe_gp.caffe.precision import computing_in, is_bf16
from caffe_gp.cli.main import main
from caffe_gp.errors import CaffeGPError, EngineError, NetError, UsageError
from caffe_gp.evaluation.segmentation import evaluate
from caffe_gp.evaluation.settings import NetSettings
from caffe_gp.gp import GuidedPerturbation
from tests.caffe.layer_harness import TEST, Run
from tests.evaluation import tiny_run

LAYERS = {
    "convolution": (
        'type: "Convolution" convolution_param { num_output: 8 kernel_size: 3 pad: 1 }',
        (2, 6, 9, 8),
    ),
    "pointwise": ('type: "Convolution" convolution_param { num_output: 5 kernel_size: 1 }', (2, 6, 9, 8)),
    "of one axis": ('type: "Convolution" convolution_param { num_output: 5 kernel_size: 3 }', (2, 6, 9)),
    "deconvolution": (
        'type: "Deconvolution" convolution_param { num_output: 4 kernel_size: 4 stride: 2 pad: 1 }',
        (2, 6, 5, 4),
    ),
    "inner product": ('type: "InnerProduct" inner_product_param { num_output: 7 }', (3, 4, 2, 2)),
    "transposed": ('type: "InnerProduct" inner_product_param { num_output: 7 transpose: true }', (3, 16)),
}


def rounded(values: np.ndarray) -> np.ndarray:
    """To the nearest number of 8 bits of mantissa, of two as near the even one."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16).astype(np.uint32).view(np.float32)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("phase", (0, TEST))
def test_factors_and_results_are_rounded(name, phase):
    text, shape = LAYERS[name]
    random = np.random.RandomState(0)
    x = random.standard_normal(shape).astype(np.float32)
    shapes = [blob.shape for blob in Run(text, [x]).layer.blobs]
    params = [random.standard_normal(one).astype(np.float32) for one in shapes]
    with computing_in("bf16"):
        found = Run(text, [x], params=params, phase=phase)
        dy = random.standard_normal(found.top[0].shape).astype(np.float32)
        diffs = [*found.backward([dy]), *(blob.diff.copy() for blob in found.layer.blobs)]
    expected = Run(text, [rounded(x)], params=[rounded(one) for one in params], phase=0)
    wanted = [*expected.backward([rounded(dy)]), *(blob.diff.copy() for blob in expected.layer.blobs)]
    for one, other in zip([*found.data, *diffs], [*expected.data, *wanted]):
        # Sums in another order may fall on the other side of the middle between two numbers.
        np.testing.assert_array_equal(one, rounded(one))
        np.testing.assert_allclose(one, rounded(other), rtol=2**-7, atol=1e-6)


def test_other_layers_are_left_alone():
    x = np.random.RandomState(0).standard_normal((1, 3, 6, 6)).astype(np.float32)
    text = 'type: "Pooling" pooling_param { pool: AVE kernel_size: 2 stride: 2 }'
    with computing_in("bf16"):
        found = Run(text, [x]).data[0]
    np.testing.assert_array_equal(found, Run(text, [x]).data[0])


def test_a_net_keeps_its_precision_whatever_others_have():
    exact, coarse = load_model("digits"), load_model("digits", precision="bf16")
    assert (exact.net.precision, coarse.net.precision) == ("float32", "bf16")
    images = np.random.RandomState(0).uniform(-100, 100, (1, 3, 96, 96)).astype(np.float32)
    first = GuidedPerturbation(exact)(images, 8.0)
    other = GuidedPerturbation(coarse)(images, 8.0)
    again = GuidedPerturbation(exact)(images, 8.0)
    np.testing.assert_array_equal(first.confidence, again.confidence)
    np.testing.assert_array_equal(first.perturbation, again.perturbation)
    share = float((first.perturbation != other.perturbation).mean())
    assert 0 < share < 0.2  # some signs of small diffs
    assert not is_bf16()


def test_channels_come_last_where_tensor_cores_compute():
    values = torch.empty(1, 8, 4, 4, device="meta")  # of no CPU
    for precision, wanted in ((None, False), ("float32", False), ("tf32", True), ("bf16", True)):
        with computing_in(precision):
            found = _channels_last(values)
        assert found.is_contiguous(memory_format=torch.channels_last) is wanted


def test_another_thread_computes_in_its_own():
    found = []
    with computing_in("bf16"):
        thread = threading.Thread(target=lambda: found.append(is_bf16()))
        thread.start()
        thread.join()
    assert found == [False]


def test_tf32_is_off_in_float32_and_as_it_was_behind(monkeypatch):
    net = load_model("digits").net.net
    seen = []
    net.before_forward(lambda i: seen.append(torch.backends.cudnn.allow_tf32))
    caffe.allow_tf32(True)
    try:
        net.forward()
        assert set(seen) == {False} and torch.backends.cudnn.allow_tf32
        del seen[:]
        net.precision = None  # of a plain caffe.Net: what the script says
        net.forward()
        assert set(seen) == {True}
    finally:
        caffe.allow_tf32(False)
    with computing_in("tf32"):
        assert torch.backends.cuda.matmul.allow_tf32 and torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32 and not torch.backends.cudnn.allow_tf32


def test_what_cannot_be_is_refused(tmp_path):
    tiny_run.make_net(tmp_path)
    files = str(tmp_path / "net.prototxt"), str(tmp_path / "net.caffemodel")
    with pytest.raises(UsageError, match="unknown precision 'fp16'; known are float32, tf32, bf16"):
        engines.load_net(*files, precision="fp16")
    with pytest.raises(EngineError, match="tf32.*CUDA devices, and device is 'cpu'.*--device cuda"):
        engines.load_net(*files, precision="tf32")
    with pytest.raises(EngineError, match="embedded Caffe, engine 'torch'; BVLC Caffe computes in float32"):
        engines.check_precision("bf16", "bvlc", "cpu")
    engines.check_precision("tf32", "torch", "cuda:1")
    options = ["--eps", "0.5", "--quiet", "--images", str(tmp_path), "--out", str(tmp_path / "out")]
    files = "--prototxt", files[0], "--caffemodel", files[1]
    assert main(["run", *files, *options, "--precision", "tf32"]) != 0


def test_a_module_is_refused():
    settings = NetSettings(module="nets:make", precision="bf16", eps=[1.0], mean=(0.5,), std=(0.5,))
    with pytest.raises(UsageError, match="--precision bf16 is of Caffe's nets"):
        settings.resolve()


def test_runs_say_it_and_do_not_mix(tmp_path):
    tiny_run.make_net(tmp_path)
    data = tiny_run.make_data(tmp_path, 3)
    plain = evaluate(tiny_run.settings(tmp_path, data, tmp_path / "plain"))
    found = evaluate(tiny_run.settings(tmp_path, data, tmp_path / "bf16", precision="bf16", workers=2))
    said = [json.loads((run.folder / "provenance.json").read_text()) for run in (plain, found)]
    assert [one["engine"]["precision"] for one in said] == ["float32", "bf16"]
    keys = [json.loads((run.folder / "key.json").read_text()) for run in (plain, found)]
    assert "precision" not in json.dumps(keys[0]) and keys[1]["precision"] == "bf16"
    assert (plain.base != found.base).any()
    with pytest.raises(CaffeGPError, match="precision"):
        evaluate(tiny_run.settings(tmp_path, data, tmp_path / "bf16"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
@pytest.mark.parametrize("precision", ("tf32", "bf16"))
def test_on_a_device(precision):
    """Within what the mantissa allows, of float32's on the CPU."""
    images = np.random.RandomState(0).uniform(-100, 100, (1, 3, 96, 96)).astype(np.float32)
    try:
        found = GuidedPerturbation(load_model("digits", device="cuda", precision=precision))(images, 8.0)
    finally:
        mode.set_mode_cpu()
    exact = GuidedPerturbation(load_model("digits"))(images, 8.0)
    np.testing.assert_allclose(found.base_confidence, exact.base_confidence, atol=0.1)
    assert (found.perturbation != exact.perturbation).mean() < 0.2


def test_a_pass_in_bf16_follows_no_window_of_an_earlier_one(tmp_path):
    """In float32 a pass with the image of the last one computes nothing anew: no rule for the next."""
    text = """input: "data" input_shape { dim: 1 dim: 3 dim: 60 dim: 60 }
    layer { name: "c1" type: "Convolution" bottom: "data" top: "c1" convolution_param {
      num_output: 16 kernel_size: 3 pad: 60 weight_filler { type: "xavier" } } }
    layer { name: "r1" type: "ReLU" bottom: "c1" top: "c1" }
    layer { name: "p1" type: "Pooling" bottom: "c1" top: "p1" pooling_param { kernel_size: 2 stride: 2 } }
    layer { name: "c2" type: "Convolution" bottom: "p1" top: "c2" convolution_param {
      num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }"""
    caffe.set_random_seed(0)
    net = caffe.Net.from_param(proto.parse_net_param(text), caffe.TEST)
    one, other = np.random.RandomState(0).standard_normal((2, 1, 3, 60, 60)).astype(np.float32)
    net.blobs["data"].copy_data(one)
    net.forward()
    net.forward()
    net.precision = "bf16"
    net.blobs["data"].copy_data(other)
    net.forward()
    found = [net.blobs[name].read_data().copy() for name in ("p1", "c2")]
    fresh = caffe.Net.from_param(proto.parse_net_param(text), caffe.TEST)
    fresh.share_with(net)
    fresh.precision = "bf16"
    fresh.blobs["data"].copy_data(other)
    fresh.forward()
    for name, values in zip(("p1", "c2"), found):
        np.testing.assert_array_equal(values, fresh.blobs[name].read_data(), err_msg=name)


def test_passes_of_two_threads_leave_the_switch_as_it_was():
    """Whichever ends first, and with the switch off while they differ."""

    def flags():
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    before = flags()
    tf32, float32 = computing_in("tf32"), computing_in("float32")
    tf32.__enter__()
    assert flags() == (True, True)
    float32.__enter__()
    assert flags() == (False, False)
    tf32.__exit__(None, None, None)
    assert flags() == (False, False)
    float32.__exit__(None, None, None)
    assert flags() == before


def test_a_net_has_one_of_the_precisions():
    loaded = load_model("lenet")
    with pytest.raises(NetError, match="expected float32, tf32, bf16 or None, found 'half'"):
        loaded.net.net.precision = "half"
    loaded.net.net.precision = "bf16"
    assert loaded.net.precision == "bf16"

"""MultiStageMeanfield against CRF-RNN's own order of operations in float64, and its finite differences."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from caffe_gp.caffe.permutohedral import TensorPermutohedral, TensorRows
from caffe_gp.crf import CRFSettings, DenseCRF, Kernel, MeanField, Permutohedral
from caffe_gp.errors import NetError
from tests.caffe.layer_harness import Run, check_layer
from tests.crfrnn_formula import mean_field

ALPHA, BETA, GAMMA = 5.0, 8.0, 2.0


def layer_text(iterations: int, more: str = "") -> str:
    return (
        'type: "MultiStageMeanfield" multi_stage_meanfield_param { '
        f"num_iterations: {iterations} theta_alpha: {ALPHA} theta_beta: {BETA} theta_gamma: {GAMMA} {more} }}"
    )


def case(seed: int, batch: int, classes: int, height: int, width: int) -> tuple[list, list]:
    rng = np.random.RandomState(seed)
    image = rng.randint(0, 60, (batch, 3, height, width)) - 30.0
    scores = rng.randn(2, batch, classes, height, width)
    matrices = [rng.randn(1, 1, classes, classes) * 0.7 for _ in range(3)]
    return [*scores, image], matrices


@pytest.mark.parametrize(
    ("iterations", "shape"), ((1, (1, 3, 4, 5)), (2, (1, 4, 5, 3)), (5, (1, 2, 4, 4)), (2, (2, 3, 3, 4)))
)
def test_forward_and_every_diff(iterations: int, shape: tuple[int, ...]) -> None:
    inputs, matrices = case(iterations, *shape)
    check_layer(
        layer_text(iterations),
        inputs,
        mean_field(inputs[2], iterations, ALPHA, BETA, GAMMA),
        params=matrices,
        propagate=[True, True, False],
    )


def test_image_gets_no_diff_and_matrix_diffs_are_overwritten() -> None:
    inputs, matrices = case(0, 1, 3, 6, 5)
    run = Run(layer_text(3), inputs, params=matrices)
    top_diff = np.random.RandomState(1).randn(*run.top[0].shape)
    run.bottom[2].diff[...] = 7
    run.backward([top_diff])
    first = [blob.diff.copy() for blob in run.layer.blobs]
    diffs = run.backward([top_diff])
    assert (diffs[2] == 7).all()
    for blob, diff in zip(run.layer.blobs, first, strict=True):
        np.testing.assert_array_equal(blob.diff, diff)
    assert not run.layer.allow_force_backward(2) and run.layer.allow_force_backward(0)


def test_starts_as_diagonal_weights_and_potts() -> None:
    inputs, _ = case(0, 1, 3, 4, 4)
    run = Run(layer_text(2, "spatial_filter_weight: 3 bilateral_filter_weight: 5"), inputs)
    for blob, diagonal in zip(run.layer.blobs, (3, 5, -1), strict=True):
        np.testing.assert_array_equal(blob.data, diagonal * np.eye(3)[None, None])
    text = 'spatial_filter_weights_str: "1 2 3" bilateral_filter_weights_str: "4"'
    run = Run(layer_text(2, text), inputs)
    np.testing.assert_array_equal(run.layer.blobs[0].data[0, 0], np.diag([1, 2, 3]))
    np.testing.assert_array_equal(run.layer.blobs[1].data[0, 0], 4 * np.eye(3))


def test_size_may_change_between_passes() -> None:
    inputs, matrices = case(0, 1, 3, 6, 5)
    run = Run(layer_text(2), inputs, params=matrices)
    other, _ = case(5, 2, 3, 4, 7)
    for blob, values in zip(run.bottom, other, strict=True):
        blob.reshape(*values.shape)
        blob.data[...] = values
    run.forward()
    fresh = Run(layer_text(2), other, params=matrices)
    np.testing.assert_array_equal(run.data[0], fresh.data[0])


@pytest.mark.parametrize(
    ("text", "message"),
    (
        (layer_text(0), "num_iterations must be in 1 to 1000, found 0"),
        (layer_text(2**32 - 1), "num_iterations must be in 1 to 1000"),
        (layer_text(2, 'spatial_filter_weights_str: "1 2"'), "expected 3 numbers .classes., found 2"),
        (layer_text(2, 'bilateral_filter_weights_str: "x"'), "filter_weights_str: could not convert"),
        (layer_text(2).replace("theta_beta: 8.0", "theta_beta: 0"), "theta_beta must be positive"),
    ),
)
def test_bad_parameters(text: str, message: str) -> None:
    inputs, _ = case(0, 1, 3, 4, 4)
    with pytest.raises(NetError, match=message):
        Run(text, inputs)


def test_bad_bottoms() -> None:
    unary, initial, image = case(0, 1, 3, 4, 4)[0]
    with pytest.raises(NetError, match="the image .* must have the batch and size of the scores"):
        Run(layer_text(2), [unary, initial, image[:, :, :3]])
    with pytest.raises(NetError, match="must have one shape and 3 classes"):
        Run(layer_text(2), [unary, initial[:, :2], image])
    with pytest.raises(NetError, match="bottom image: features must be finite"):
        Run(layer_text(2), [unary, initial, image * np.nan])


# ---- the lattice on tensors is the compiled one


@pytest.mark.parametrize("dimensions", (1, 2, 3, 5, 7))
def test_tensor_lattice_equals_the_compiled_one(dimensions: int) -> None:
    rng = np.random.RandomState(dimensions)
    features = (rng.randn(3000, dimensions) * 3).astype(np.float32)
    values = rng.rand(3000, 5).astype(np.float32)
    compiled, tensors = Permutohedral(features), TensorPermutohedral(torch.from_numpy(features))
    assert abs(compiled.vertices - tensors.vertices) <= 2  # a point on a border may fall to either side
    for name in ("filter", "adjoint"):
        expected = getattr(compiled, name)(values)
        found = getattr(tensors, name)(torch.from_numpy(values)).numpy()
        np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())


def test_tensor_mean_field_equals_the_compiled_one() -> None:
    inputs, matrices = case(3, 2, 4, 9, 7)
    arrays = [np.asarray(array, np.float32) for array in inputs]
    arrays += [np.asarray(matrix[0, 0], np.float32) for matrix in matrices]
    diff = np.random.RandomState(4).randn(*arrays[0].shape).astype(np.float32)
    compiled = MeanField(4, ALPHA, BETA, GAMMA)
    tensors = MeanField(4, ALPHA, BETA, GAMMA, TensorRows(torch.device("cpu")))
    expected = [compiled.forward(*arrays), *compiled.backward(diff)]
    found = [tensors.forward(*map(torch.from_numpy, arrays)), *tensors.backward(torch.from_numpy(diff))]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-5 * np.abs(theirs).max())


def test_dense_crf_on_tensors_equals_the_compiled_one() -> None:
    rng = np.random.RandomState(6)
    image, scores = rng.randint(0, 60, (12, 10, 3)).astype(np.uint8), rng.randn(4, 12, 10)
    settings = CRFSettings(4, 5, 10, 3, 2, max_iter=5, normalization="symmetric")
    tensors = DenseCRF(image, settings, TensorRows(torch.device("cpu"))).probabilities(scores)
    np.testing.assert_allclose(tensors, DenseCRF(image, settings).probabilities(scores), atol=1e-5)


@pytest.mark.parametrize("normalization", ("after", "symmetric", "none"))
def test_kernels_of_tensors(normalization: str) -> None:
    features = np.random.RandomState(0).randn(500, 3).astype(np.float32)
    ours = Kernel(TensorPermutohedral(torch.from_numpy(features)), normalization)
    theirs = Kernel(Permutohedral(features), normalization)
    np.testing.assert_allclose(ours.into.numpy(), theirs.into, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(ours.out_of.numpy(), theirs.out_of, rtol=1e-4, atol=1e-6)


def test_features_too_far_apart_for_tensors() -> None:
    with pytest.raises(ValueError, match="features lie too far apart"):
        TensorPermutohedral(torch.rand(10, 8) * 1e5)
    with pytest.raises(ValueError, match="features must be finite"):
        TensorPermutohedral(torch.full((2, 2), float("nan")))


def test_pytorch_keeps_its_number_of_threads() -> None:
    """numba's start must not change it; this takes a process in which numba has not started."""
    script = (
        "import torch; torch.set_num_threads(1)\n"
        "import numpy as np; from caffe_gp.caffe.layers.meanfield import MultiStageMeanfieldLayer\n"
        "import caffe_gp.caffe as caffe; from caffe_gp import proto\n"
        'text = \'\'\'layer { name: "i" type: "Input" top: "u" top: "q" top: "x" input_param {\n'
        "shape { dim: 1 dim: 2 dim: 9 dim: 9 } shape { dim: 1 dim: 2 dim: 9 dim: 9 }\n"
        "shape { dim: 1 dim: 3 dim: 9 dim: 9 } } }\n"
        'layer { name: "c" bottom: "u" bottom: "q" bottom: "x" top: "t" \'\'\' + """'
        + layer_text(2)
        + ' }"""\n'
        "net = caffe.Net.from_param(proto.parse_net_param(text), caffe.TEST, source='n')\n"
        "net.forward(); print(torch.get_num_threads())\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1"]

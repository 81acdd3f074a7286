"""Runs one layer outside a net and compares it with a float64 formula and its finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from google.protobuf import text_format

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers import Layer, create_layer
from caffe_gp.proto import messages as pb

TRAIN, TEST = 0, 1


def make_layer(text: str, phase: int = TRAIN) -> Layer:
    """The layer of a LayerParameter text."""
    param = pb.LayerParameter()
    text_format.Parse(f'name: "layer" {text}', param)
    return create_layer(param, phase)


def make_blob(array: Any, channels_last: bool = False) -> Blob:
    """A blob with these values, on request in the memory layout that fast convolutions leave behind."""
    values = torch.tensor(np.asarray(array), dtype=torch.float32)
    blob = Blob(values.shape)
    if channels_last and values.dim() == 4:
        values = values.contiguous(memory_format=torch.channels_last)
    blob.data_tensor = values
    return blob


class Run:
    """A layer with its blobs after setup and one forward pass; ``backward`` goes on from there."""

    def __init__(
        self,
        text: str,
        inputs: Sequence[Any],
        *,
        num_top: int = 1,
        phase: int = TRAIN,
        params: Sequence[Any] | None = None,
        in_place: bool = False,
        channels_last: bool = False,
    ) -> None:
        self.layer = make_layer(text, phase)
        self.bottom = [make_blob(array, channels_last) for array in inputs]
        self.top = [Blob() for _ in range(num_top)]
        if in_place:
            self.top[0] = self.bottom[0]
        self.layer.check_blob_counts(len(self.bottom), num_top)
        self.layer.setup(self.bottom, self.top)
        self.layer.reshape(self.bottom, self.top)
        for blob, values in zip(self.layer.blobs, params or [], strict=bool(params)):
            blob.data[...] = values
        self.forward()

    def forward(self) -> None:
        self.layer.reshape(self.bottom, self.top)
        self.layer.forward(self.bottom, self.top)

    @property
    def data(self) -> list[np.ndarray]:
        return [blob.data.copy() for blob in self.top]

    def backward(self, diffs: Sequence[Any], propagate: Sequence[bool] | None = None) -> list[np.ndarray]:
        """Bottom diffs for these top diffs."""
        for blob, diff in zip(self.top, diffs, strict=True):
            blob.diff[...] = diff
        self.layer.backward(self.top, propagate or [True] * len(self.bottom), self.bottom)
        return [blob.diff.copy() for blob in self.bottom]


def numeric_gradient(function: Callable[[np.ndarray], float], at: np.ndarray) -> np.ndarray:
    """Central differences in float64."""
    step, point = 1e-6, np.array(at, dtype=np.float64)
    gradient = np.zeros_like(point)
    for index in np.ndindex(*point.shape):
        kept = point[index]
        point[index] = kept + step
        up = function(point)
        point[index] = kept - step
        gradient[index] = (up - function(point)) / (2 * step)
        point[index] = kept
    return gradient


def assert_close(found: np.ndarray, expected: Any, tolerance: float = 1e-5) -> None:
    """Equal shapes and values, relative to the largest of them."""
    expected = np.asarray(expected, dtype=np.float64)
    assert found.shape == expected.shape
    if expected.size:
        scale = max(float(np.abs(expected).max()), 1e-3)
        assert np.abs(found - expected).max() <= tolerance * scale


def check_layer(
    text: str,
    inputs: Sequence[np.ndarray],
    formula: Callable[..., Any],
    *,
    params: Sequence[np.ndarray] = (),
    num_top: int = 1,
    phase: int = TRAIN,
    propagate: Sequence[bool] | None = None,
    in_place: bool = False,
    loss: bool = False,
    seed: int = 0,
) -> Run:
    """The layer equals ``formula(*inputs, *params)``, its backward the formula's finite differences.

    ``formula`` works in float64 and returns one array or a list of ``num_top``. Both memory layouts are
    tried, and with ``in_place`` the layer working in place too. ``loss``: only the first top's diff counts.
    """
    rng = np.random.RandomState(seed)
    arguments = [np.asarray(array, dtype=np.float64) for array in (*inputs, *params)]
    propagate = list(propagate or [True] * len(inputs))

    def tops(*values: np.ndarray) -> list[np.ndarray]:
        result = formula(*values)
        return [np.asarray(array, np.float64) for array in (result if isinstance(result, list) else [result])]

    expected = tops(*arguments)
    diffs = [rng.randn(*array.shape) for array in expected]
    if loss:
        diffs = [np.array(1.5)] + [np.zeros_like(diff) for diff in diffs[1:]]

    def objective(values: list[np.ndarray]) -> float:
        return float(sum((array * diff).sum() for array, diff in zip(tops(*values), diffs, strict=True)))

    def gradient_of(i: int) -> np.ndarray:
        return numeric_gradient(lambda v: objective(arguments[:i] + [v] + arguments[i + 1 :]), arguments[i])

    gradients = [gradient_of(i) if wanted else None for i, wanted in enumerate(propagate)]
    param_gradients = [gradient_of(i) for i in range(len(inputs), len(arguments))]
    for channels_last in (False, True):
        for where in (False, True) if in_place else (False,):
            run = Run(
                text, inputs, num_top=num_top, phase=phase, params=params, in_place=where,
                channels_last=channels_last,
            )  # fmt: skip
            for found, array in zip(run.data, expected, strict=True):
                assert_close(found, array)
            for blob in run.layer.blobs:
                blob.diff[...] = 0
            bottom_diffs = run.backward(diffs, propagate)
            for found, gradient in zip(bottom_diffs, gradients, strict=True):
                if gradient is not None:
                    assert_close(found, gradient, 1e-4)
            for blob, gradient in zip(run.layer.blobs, param_gradients, strict=True):
                assert_close(blob.diff, gradient, 1e-4)
    return run

"""The harness itself, with a layer that every Caffe has: OpenCV is asked, and a difference is found."""

from __future__ import annotations

import numpy as np
import pytest

from tests.forks.harness import OpenCVError, agrees, close

RNG = np.random.RandomState(0)


def test_a_layer_with_weights(opencv):
    text = 'type: "InnerProduct" inner_product_param { num_output: 3 }'
    weights = RNG.randn(3, 20), RNG.randn(3)
    x = RNG.randn(2, 5, 2, 2)
    [y] = agrees(opencv, text, x, tolerance=1e-6, params=weights)
    close(y, x.reshape(2, 20) @ weights[0].T + weights[1], 1e-6)


def test_several_tops(opencv):
    x = RNG.randn(2, 4, 3, 3)
    tops = agrees(opencv, 'type: "Slice" slice_param { slice_point: 1 }', x, tops=2)
    assert [top.shape for top in tops] == [(2, 1, 3, 3), (2, 3, 3, 3)]


def test_a_difference_is_found():
    for ours, theirs in (([1, 1.1], [1, 1]), ([1, 1], [1, 1, 1]), ([1, np.nan], [1, 1])):
        with pytest.raises(AssertionError):
            close(np.array(ours), np.array(theirs), 0.01)


def test_what_opencv_does_not_run_is_said(opencv):
    prototxt = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 } } }'
    prototxt += 'layer { name: "y" type: "Nonsense" bottom: "x" top: "y" }'
    with pytest.raises(OpenCVError, match="Nonsense|type"):
        opencv.forward(prototxt, {"x": [1]}, ["y"])
    agrees(opencv, 'type: "AbsVal"', RNG.randn(2, 3))  # and it goes on

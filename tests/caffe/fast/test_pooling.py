"""Max pooling against PyTorch's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from caffe_gp.caffe.fast import pooling
from caffe_gp.caffe.fast.windows import Geometry, Window

CASES = [  # images, channels, height, width, kernel, stride, pad, rounded up
    (2, 5, 13, 9, (2, 2), (2, 2), (0, 0), True),
    (1, 40, 30, 31, (3, 3), (2, 2), (0, 0), True),
    (1, 33, 31, 31, (3, 3), (1, 1), (1, 1), False),
    (2, 3, 17, 18, (3, 2), (2, 3), (1, 0), True),
    (1, 4, 10, 9, (2, 2), (3, 3), (0, 0), False),
    (1, 2, 15, 17, (15, 17), (1, 1), (0, 0), False),
]


def _last(values):
    return values.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("n, c, h, w, kernel, stride, pad, ceil", CASES)
def test_pooling_and_its_gradient(n, c, h, w, kernel, stride, pad, ceil, threads):
    """Bit for bit, with many equal values: the first of equal ones is chosen."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    x = _last(torch.randint(-3, 3, (n, c, h, w)).float())
    expected, index = F.max_pool2d_with_indices(x, kernel, stride, pad, 1, ceil)
    y, chosen = _last(torch.randn(expected.shape)), _last(torch.zeros(expected.shape, dtype=torch.uint8))
    geometry = Geometry(kernel, stride, pad)
    pooling.max_pool(x, y, chosen, geometry=geometry)
    assert torch.equal(y, expected)
    dy, dx = _last(torch.randn(expected.shape)), _last(torch.randn(x.shape))
    pooling.max_pool_backward(dy, chosen, dx, geometry=geometry)
    gradient = torch.ops.aten.max_pool2d_with_indices_backward(
        dy, x, kernel, stride, pad, [1, 1], ceil, index
    )
    torch.testing.assert_close(dx, gradient, rtol=0, atol=1e-6)

    part, window = _last(torch.full(x.shape, 7.0)), Window(1, h - 2, 0, w - 1)
    pooling.max_pool_backward(dy, chosen, part, geometry=geometry, window=window)
    inside = (slice(None), slice(None), slice(*window[:2]), slice(*window[2:]))
    assert torch.equal(part[inside], dx[inside])
    part[inside] = 7
    assert bool((part == 7).all())
    torch.set_num_threads(before)


def test_nan_is_a_maximum_and_windows_outside_have_caffes_least_value():
    x = _last(torch.zeros(1, 1, 4, 4))
    x[0, 0, 1, 1] = float("nan")
    y, chosen = _last(torch.zeros(1, 1, 3, 3)), _last(torch.zeros(1, 1, 3, 3, dtype=torch.uint8))
    pooling.max_pool(x, y, chosen, geometry=Geometry((2, 2), (2, 2), (0, 0)))
    assert torch.isnan(y[0, 0, 0, 0]) and y[0, 0, 0, 1] == 0
    assert y[0, 0, 2, 2] == torch.finfo(torch.float32).min

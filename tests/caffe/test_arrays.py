"""Products of numpy arrays where layers compute."""

from __future__ import annotations

import numpy as np

import caffe_gp.caffe as caffe


def test_matmul_is_the_product_in_float32():
    random = np.random.RandomState(0)
    a, b = random.standard_normal((7, 30)).astype(np.float32), random.standard_normal((11, 30))
    b = b.astype(np.float32)
    a.flags.writeable = False  # a view of a file, say
    found = caffe.matmul(a, b.T)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, a.astype(np.float64) @ b.T.astype(np.float64), atol=1e-5)
    found += 1  # an array of its own
    np.testing.assert_array_equal(caffe.matmul(a, b.T) + 1, found)


def test_matmul_leaves_the_choice_of_tf32_alone():
    import torch

    caffe.allow_tf32(True)
    try:
        caffe.matmul(np.ones((2, 2), np.float32), np.ones((2, 2), np.float32))
        assert torch.backends.cuda.matmul.allow_tf32
    finally:
        caffe.allow_tf32(False)

"""Coordinate maps: values worked out by hand, and the crop offsets of the published FCNs (19; 5, 9, 31)."""

from __future__ import annotations

import numpy as np
import pytest

from caffe_gp.caffe import NetSpec
from caffe_gp.caffe import layers as L
from caffe_gp.caffe.coord_map import (
    AxisMismatchException,
    UndefinedMapException,
    compose,
    coord_map,
    coord_map_from_to,
    crop,
    inverse,
)
from caffe_gp.errors import NetError


def data():
    return L.Input(shape=dict(dim=[1, 3, 100, 100]))


def conv_relu(bottom, **kwargs):
    return L.ReLU(L.Convolution(bottom, num_output=4, **kwargs), in_place=True)


def assert_map(found, axis, scale, shift):
    assert found[0] == axis
    for values, expected in ((found[1], scale), (found[2], shift)):
        np.testing.assert_allclose(np.atleast_1d(values), np.atleast_1d(expected))


@pytest.mark.parametrize(
    "make, axis, scale, shift",
    [
        (lambda x: L.Convolution(x, kernel_size=3), 1, 1, -1),
        (lambda x: L.Convolution(x, kernel_size=3, pad=1), 1, 1, 0),
        (lambda x: L.Convolution(x, kernel_size=3, dilation=4, pad=2), 1, 1, -2),  # kernel 9
        (lambda x: L.Convolution(x, kernel_size=4, stride=2, pad=1), 1, 0.5, -0.25),
        (lambda x: L.Convolution(x, convolution_param=dict(kernel_size=5, stride=2, axis=2)), 2, 0.5, -1),
        (lambda x: L.Convolution(x, kernel_size=[3, 5], pad=[1, 0]), 1, 1, [0, -2]),
        (lambda x: L.Pooling(x, kernel_size=2, stride=2), 1, 0.5, -0.25),
        (lambda x: L.Deconvolution(x, convolution_param=dict(kernel_size=64, stride=32)), 1, 32, 31.5),
        (lambda x: L.ReLU(x), None, 1, 0),
        (lambda x: L.Crop(x, x, axis=2, offset=[3, 4]), 1, 1, [-3, -4]),
    ],
)
def test_single_layers(make, axis, scale, shift):
    assert_map(coord_map(make(data()).fn), axis, scale, shift)


def test_compose_and_inverse():
    first, second = (1, 0.5, -0.25), (None, 3, 2)
    assert compose(first, second) == (1, 1.5, 0.75)  # .5 (3x + 2) - .25
    assert_map(compose(inverse(first), first), 1, 1, 0)
    with pytest.raises(AxisMismatchException):
        compose((1, 1, 0), (2, 1, 0))


def test_identity_and_a_walk_through_a_common_ancestor():
    x = data()
    assert coord_map_from_to(x, x)[1:] == (1, 0)
    top = conv_relu(conv_relu(x, kernel_size=3, pad=1), kernel_size=3, pad=1)
    assert_map(coord_map_from_to(top, x), 1, 1, 0)
    assert_map(coord_map_from_to(L.Pooling(x, kernel_size=2, stride=2), x), 1, 2, 0.5)
    up = deconv(L.Pooling(x, kernel_size=2, stride=2), 4, 2)
    assert_map(coord_map_from_to(up, x), 1, 1, -1)  # 2 (x - .25) + 1.5 is shifted by 1


def vgg_pools(pad):
    """pool3, pool4, fc7 of the FCN's VGG-16, the first convolution padded by ``pad``."""
    n = NetSpec()
    n.data = data()
    top, pools = n.data, []
    for stage, count in enumerate((2, 2, 3, 3, 3)):
        for i in range(count):
            top = conv_relu(top, kernel_size=3, pad=pad if stage == i == 0 else 1)
        top = L.Pooling(top, kernel_size=2, stride=2)
        pools.append(top)
    fc7 = conv_relu(conv_relu(top, kernel_size=7), kernel_size=1)
    return n.data, pools[2], pools[3], fc7


def deconv(bottom, kernel, stride):
    return L.Deconvolution(bottom, convolution_param=dict(num_output=21, kernel_size=kernel, stride=stride))


def offset_of(top):
    param = top.fn.params["crop_param"]
    assert param["axis"] == 2
    return param["offset"]


def test_fcn32s_offset():
    image, _, _, fc7 = vgg_pools(100)
    score = deconv(L.Convolution(fc7, num_output=21, kernel_size=1), 64, 32)
    assert offset_of(crop(score, image)) == [19]


def test_fcn8s_offsets():
    image, pool3, pool4, fc7 = vgg_pools(100)
    up2 = deconv(L.Convolution(fc7, num_output=21, kernel_size=1), 4, 2)
    score4 = crop(L.Convolution(pool4, num_output=21, kernel_size=1), up2)
    assert offset_of(score4) == [5]
    up4 = deconv(L.Eltwise(up2, score4), 4, 2)
    score3 = crop(L.Convolution(pool3, num_output=21, kernel_size=1), up4)
    assert offset_of(score3) == [9]
    up8 = deconv(L.Eltwise(up4, score3), 16, 8)
    assert offset_of(crop(up8, image)) == [31]


def test_crop_writes_a_layer():
    image, _, _, fc7 = vgg_pools(100)
    n = NetSpec()
    n.data = image
    n.score = crop(deconv(fc7, 64, 32), n.data)
    layer = n.to_proto().layer[-1]
    assert (layer.type, layer.crop_param.axis, list(layer.crop_param.offset)) == ("Crop", 2, [19])
    assert list(layer.bottom)[1] == "data"


def test_refusals():
    x = data()
    with pytest.raises(RuntimeError, match="connected"):
        coord_map_from_to(x, data())
    flat = L.InnerProduct(x, num_output=3)
    with pytest.raises(NetError, match="connected"):
        coord_map_from_to(flat, x)
    with pytest.raises(UndefinedMapException):
        coord_map(flat.fn)
    pooled = L.Pooling(x, kernel_size=2, stride=2)
    with pytest.raises(AssertionError, match="scale mismatch"):
        crop(pooled, x)
    with pytest.raises(AssertionError, match="negative offset"):
        crop(L.Convolution(x, kernel_size=3), x)
    with pytest.raises(AssertionError, match="noninteger"):
        crop(x, L.Convolution(x, kernel_size=4))
    with pytest.raises(AssertionError, match="legacy"):
        coord_map(L.Convolution(x, kernel_h=3, kernel_w=3).fn)

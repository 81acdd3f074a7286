"""Shapes of parameters that follow from a description, and files checked against them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from caffe_gp import proto
from caffe_gp.errors import NetError, WeightsError
from caffe_gp.models import zoo
from caffe_gp.models.builder import Builder
from caffe_gp.proto import messages as pb
from caffe_gp.surgery.param_shapes import check_layers, param_shapes, shared_layers

pytestmark = pytest.mark.engine

WITH_WEIGHTS = [model for model in zoo.MODELS.values() if model.weights]


@pytest.mark.parametrize("model", WITH_WEIGHTS, ids=lambda model: model.name)
def test_shapes_from_the_description_add_up(model):
    """The counts are published, or follow from published shapes: zoo.Model.parameters."""
    net = model.net()
    shared = shared_layers(net)
    own = [shapes for name, shapes in param_shapes(net).items() if name not in shared]
    assert sum(math.prod(shape) for shapes in own for shape in shapes) == model.parameters


def test_shapes_of_known_layers():
    """Shapes as the released files have them."""
    shapes = param_shapes(zoo.get("fcn-32s").net())
    assert shapes["fc6"] == [(4096, 512, 7, 7), (4096,)]
    assert shapes["upscore"] == [(21, 21, 64, 64)]
    shapes = param_shapes(zoo.get("fcn-alexnet").net())
    assert shapes["conv2"] == [(256, 48, 5, 5), (256,)], "two groups"
    shapes = param_shapes(zoo.get("crfasrnn-coco").net())
    assert shapes["score2"] == [(21, 21, 4, 4), (21,)]
    assert shapes["inference1"] == [(1, 1, 21, 21)] * 3


def test_shapes_equal_those_of_the_engine(tmp_path):
    """Grouped, transposed, dilated, shared, BatchNorm and Scale: what the embedded Caffe allocates."""
    caffe = pytest.importorskip("caffe_gp.caffe")
    net = Builder("mixed", (1, 6, 9, 9))
    blob = net.conv("grouped", "data", 8, 3, group=2, dilation=2, pad=2, bias=False)
    blob = net.add("BatchNorm", "bn", [blob])
    blob = net.add("Scale", "scale", [blob], scale_param={"bias_term": True})
    blob = net.add("Scale", "factor", [blob])
    blob = net.relu("relu", blob)
    one = net.conv("one", blob, 4, 1, param=[{"name": "w"}, {"name": "b"}])
    two = net.conv("two", blob, 4, 1, param=[{"name": "w"}, {"name": "b"}])
    net.deconv("up", net.eltwise("sum", [one, two]), 10, 4, stride=2, group=2, bias=True)
    proto.write_text(net.param, tmp_path / "mixed.prototxt")
    built = caffe.Net(str(tmp_path / "mixed.prototxt"), caffe.TEST)
    expected = {name: [blob.data.shape for blob in blobs] for name, blobs in built.params.items()}
    assert param_shapes(net.param) == expected
    assert shared_layers(net.param) == {"two"}


@pytest.fixture
def shared_net():
    """Two layers with the same parameters."""
    net = Builder("twins", (1, 3, 9, 9))
    for name in ("first", "second"):
        net.conv(name, "data", 4, 1, param=[{"name": "w"}, {"name": "b"}])
    return net.param


def test_a_copy_of_shared_parameters_may_be_missing_but_not_wrong(tmp_path, shared_net):
    path = tmp_path / "twins.caffemodel"
    blobs = [np.zeros((4, 3, 1, 1), np.float32), np.zeros(4, np.float32)]
    proto.write_caffemodel(path, shared_net, {"first": blobs})
    check_layers(path, [shared_net])
    proto.write_caffemodel(path, shared_net, {"second": blobs})
    with pytest.raises(WeightsError, match="'first' of twins is missing"):
        check_layers(path, [shared_net])
    proto.write_caffemodel(path, shared_net, {"first": blobs, "second": blobs[:1]})
    with pytest.raises(WeightsError, match="'second' has 4x3x1x1; twins expects 4x3x1x1 and 4"):
        check_layers(path, [shared_net])


def test_files_of_2014_give_every_shape_four_axes(tmp_path):
    """A V1 caffemodel: num, channels, height, width; a bias of four is 1x1x1x4."""
    net = Builder("old", (1, 3, 9, 9))
    net.conv("conv", "data", 4, 1)
    old = pb.NetParameter(name="old")
    layer = old.layers.add(name="conv")
    for num, channels, height, width in ((4, 3, 1, 1), (1, 1, 1, 4)):
        count = num * channels * height * width
        blob = layer.blobs.add(num=num, channels=channels, height=height, width=width)
        blob.data.extend([0.5] * count)
    path = tmp_path / "old.caffemodel"
    path.write_bytes(old.SerializeToString())
    check_layers(path, [net.param])
    net.conv("conv2", "conv", 4, 1)
    with pytest.raises(WeightsError, match="'conv2' of old is missing"):
        check_layers(path, [net.param])


def test_shapes_that_do_not_follow():
    net = Builder("lenet", (1, 1, 28, 28))
    net.inner_product("ip1", "data", 10)
    with pytest.raises(NetError, match="'ip1'.*InnerProduct"):
        param_shapes(net.param)

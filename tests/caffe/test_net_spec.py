"""NetSpec: the nets it writes, compared with prototxts written by hand."""

from __future__ import annotations

import numpy as np
import pytest

from caffe_gp import proto
from caffe_gp.caffe import NetSpec, draw, to_proto
from caffe_gp.caffe import layers as L
from caffe_gp.caffe import params as P
from caffe_gp.caffe.net import Net
from caffe_gp.errors import NetError
from caffe_gp.proto import messages as pb


def same(net, text):
    assert net == proto.parse_net_param(text)


def lenet(batch):
    n = NetSpec()
    n.data, n.label = L.DummyData(
        shape=[dict(dim=[batch, 1, 28, 28]), dict(dim=[batch])], transform_param=dict(scale=0.5), ntop=2
    )
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20, weight_filler=dict(type="xavier"))
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.ip1 = L.InnerProduct(n.pool1, num_output=500, param=[dict(lr_mult=1), dict(lr_mult=2)])
    n.relu1 = L.ReLU(n.ip1, in_place=True)
    n.ip2 = L.InnerProduct(n.relu1, num_output=10)
    n.loss = L.SoftmaxWithLoss(n.ip2, n.label, loss_weight=2, loss_param=dict(ignore_label=255))
    n.silence = L.Silence(n.label, ntop=0)
    return n.to_proto()


def test_lenet():
    same(
        lenet(4),
        """
layer { name: "data" type: "DummyData" top: "data" top: "label" transform_param { scale: 0.5 }
  dummy_data_param { shape { dim: 4 dim: 1 dim: 28 dim: 28 } shape { dim: 4 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 20 kernel_size: 5 weight_filler { type: "xavier" } } }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "ip1" type: "InnerProduct" bottom: "pool1" top: "ip1" param { lr_mult: 1 } param { lr_mult: 2 }
  inner_product_param { num_output: 500 } }
layer { name: "relu1" type: "ReLU" bottom: "ip1" top: "ip1" }
layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2" inner_product_param { num_output: 10 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" top: "loss" loss_weight: 2
  loss_param { ignore_label: 255 } }
layer { name: "silence" type: "Silence" bottom: "label" }
""",
    )
    net = Net.from_param(lenet(2), pb.TRAIN)
    assert net.forward()["loss"].shape == ()


def test_automatic_names_count_by_type():
    data = L.Input(shape=dict(dim=[1, 2]))
    one = L.InnerProduct(data, num_output=3)
    two = L.InnerProduct(one, num_output=3, name="chosen")
    same(
        to_proto(two, L.Silence(one, ntop=0)),
        """
layer { name: "Input1" type: "Input" top: "Input1" input_param { shape { dim: 1 dim: 2 } } }
layer { name: "InnerProduct1" type: "InnerProduct" bottom: "Input1" top: "InnerProduct1"
  inner_product_param { num_output: 3 } }
layer { name: "chosen" type: "InnerProduct" bottom: "InnerProduct1" top: "InnerProduct2"
  inner_product_param { num_output: 3 } }
layer { name: "Silence1" type: "Silence" bottom: "InnerProduct1" }
""",
    )
    assert one.to_proto().layer[-1].name == "InnerProduct1"


def test_values_of_all_kinds():
    n = NetSpec()
    n["x"] = L.Input(input_param=dict(shape=[dict(dim=[1, 3, np.int64(8), 8])]))
    n.y = L.Convolution(
        n["x"],
        num_output=np.int32(2),
        kernel_size=(3, 5),
        pad=1,
        include=dict(phase=pb.TEST),
        propagate_down=True,
        bias_term=False,
        weight_filler=dict(type="constant", value=np.float32(2)),
    )
    n.z = L.Python(n.y, module="m", layer="Z", param_str="{}", ntop=1)
    layer = n.to_proto().layer[1]
    assert list(layer.convolution_param.kernel_size) == [3, 5] and list(layer.convolution_param.pad) == [1]
    assert layer.include[0].phase == pb.TEST and list(layer.propagate_down) == [True]
    assert layer.convolution_param.weight_filler.value == 2
    assert n.to_proto().layer[2].python_param.layer == "Z"
    assert hasattr(n, "x") and not hasattr(n, "nothing")


def test_fork_parameters():
    x = L.Input(shape=dict(dim=[1, 2, 3, 3]))
    layer = to_proto(L.Interp(x, zoom_factor=8)).layer[1]
    assert layer.interp_param.zoom_factor == 8
    # MobileNet-YOLO's relu6_param is of the type of ReLU's parameters there.
    assert to_proto(L.ReLU(x, negative_slope=0.5)).layer[1].relu_param.negative_slope == 0.5
    assert to_proto(L.ReLU6(x, negative_slope=0.5)).layer[1].relu6_param.negative_slope == 0.5
    assert to_proto(L.ShuffleChannel(x, group=2)).layer[1].shuffle_channel_param.group == 2
    layer = to_proto(L.Unpooling(x, kernel_size=2, unpool_size=4, unpool=P.Unpooling.TILE)).layer[1]
    assert layer.unpooling_param.unpool == P.Unpooling.TILE
    layer = to_proto(L.CropCenter(x, crop_size=[0, 0, 1, 1])).layer[1]
    assert list(layer.crop_center_param.crop_size) == [0, 0, 1, 1]


def test_a_detector_of_ssd(tmp_path):
    """Every layer by its name, and messages in messages; the net runs, and can be drawn."""

    def conv(bottom, outputs):
        return L.Convolution(
            bottom, num_output=outputs, kernel_size=3, pad=1, weight_filler=dict(type="xavier")
        )

    n = NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 3, 32, 32]))
    n.norm = L.Normalize(conv(n.data, 8), across_spatial=False, scale_filler=dict(value=20.0))
    n.loc = L.Flatten(L.Permute(conv(n.norm, 8), order=[0, 2, 3, 1]))
    n.classes = L.Reshape(L.Permute(conv(n.norm, 6), order=[0, 2, 3, 1]), shape=dict(dim=[0, -1, 3]))
    n.conf = L.Flatten(L.Softmax(n.classes, axis=2))
    n.priors = L.PriorBox(n.norm, n.data, min_size=[8.0], max_size=[12.0], variance=[0.1, 0.1, 0.2, 0.2])
    n.out = L.DetectionOutput(
        *(n.loc, n.conf, n.priors),
        num_classes=3,
        nms_param=dict(nms_threshold=0.45, top_k=400),
        code_type=P.PriorBox.CENTER_SIZE,
        keep_top_k=10,
    )
    proto_text = str(n.to_proto())
    assert (
        "norm_param" in proto_text and "top_k: 400" in proto_text and "code_type: CENTER_SIZE" in proto_text
    )
    (tmp_path / "net.prototxt").write_text(proto_text)
    net = Net(str(tmp_path / "net.prototxt"), pb.TEST)
    assert net.forward()["out"].shape == (1, 1, 10, 7)
    draw.draw_net_to_file(n.to_proto(), str(tmp_path / "net.raw"), "TB")
    assert "DetectionOutput" in (tmp_path / "net.raw").read_text()


def test_deep_nets_do_not_exhaust_the_stack():
    top = L.Input(shape=dict(dim=[1]))
    for _ in range(3000):
        top = L.ReLU(top)
    assert len(to_proto(top).layer) == 3001


def test_refusals():
    with pytest.raises(TypeError, match="input 0 is not a Top"):
        L.ReLU("data")
    with pytest.raises(NetError, match="input 0 is not a Top"):
        L.ReLU("data")
    with pytest.raises(AttributeError, match="nm_output"):
        to_proto(L.InnerProduct(L.Input(), nm_output=3))
    with pytest.raises(AttributeError):
        _ = P.Nothing.MAX
    n = NetSpec()
    n.pair = L.DummyData(ntop=2)
    with pytest.raises(TypeError, match="'pair' is not a Top"):
        n.to_proto()


def test_misspelt_names_are_told_with_the_nearest():
    data = L.Input(shape={"dim": [1, 3, 8, 8]})
    with pytest.raises(AttributeError, match="no layer type has that name; did you mean Convolution"):
        to_proto(L.Convolutoin(data, num_output=2))
    with pytest.raises(AttributeError, match="no parameter 'kernal_size'; did you mean kernel_size"):
        to_proto(L.Convolution(data, kernal_size=2))

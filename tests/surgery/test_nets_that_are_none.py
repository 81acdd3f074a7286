"""Descriptions that parse and describe no net: a NetError, or what can be told of them; nothing else."""

from __future__ import annotations

import pytest

from caffe_gp import proto
from caffe_gp.errors import NetError, nearest
from caffe_gp.surgery.param_shapes import param_shapes
from caffe_gp.surgery.prepare import prepare
from caffe_gp.surgery.shapes import blob_shapes
from caffe_gp.surgery.sizes import fixed_by

DATA = 'layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 9 dim: 9 } } }'
NO_AXES = 'layer { name: "in" type: "Input" top: "data" input_param { shape { } } }'


def layer(kind: str, rest: str = "", bottoms: str = 'bottom: "data"', top: str = "t") -> str:
    return f'layer {{ name: "l" type: "{kind}" {bottoms} top: "{top}" {rest} }}'


@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution", "DepthwiseConvolution"])
def test_a_stride_of_zero_is_refused(kind):
    net = proto.parse_net_param(DATA + layer(kind, "convolution_param { num_output: 2 stride: 0 }"))
    with pytest.raises(NetError, match="'l'.*the stride must be at least 1, found 0"):
        prepare(net)


def test_a_pooling_of_stride_zero_is_refused():
    net = proto.parse_net_param(DATA + layer("Pooling", "pooling_param { kernel_size: 2 stride_h: 0 }"))
    with pytest.raises(NetError, match="'l'.*the stride must be at least 1, found 0"):
        prepare(net)


def test_a_blob_that_is_read_before_it_is_made_is_refused():
    net = proto.parse_net_param(layer("LSTM", top="data") + DATA + layer("Pooling", top="score"))
    with pytest.raises(NetError, match="layer 'l' .LSTM.: its bottom 'data' is made by a later layer only"):
        prepare(net)


@pytest.mark.parametrize(
    "text",
    [
        NO_AXES + layer("Tile"),
        NO_AXES + layer("InnerProduct", "inner_product_param { num_output: 2 }"),
        NO_AXES + layer("Flatten"),
        DATA + layer("Crop"),
        DATA + layer("Tile", "tile_param { axis: 4 }"),
        DATA + layer("InnerProduct", "inner_product_param { num_output: 2 axis: -5 }"),
    ],
    ids=["Tile", "InnerProduct", "Flatten", "Crop", "Tile at axis 4", "InnerProduct at axis -5"],
)
def test_shapes_that_do_not_follow_are_left_out(text):
    assert "t" not in blob_shapes(proto.parse_net_param(text))


@pytest.mark.parametrize("data", [NO_AXES, DATA], ids=["no axes", "four axes"])
@pytest.mark.parametrize("axis", [4, -5])
def test_an_inner_product_at_an_axis_that_its_bottom_lacks_says_nothing_of_sizes(data, axis):
    text = data + layer("InnerProduct", f"inner_product_param {{ num_output: 2 axis: {axis} }}")
    assert fixed_by(proto.parse_net_param(text), "data", (9, 9)) == ""


@pytest.mark.parametrize("data", [NO_AXES, DATA], ids=["no axes", "four axes"])
def test_a_softmax_at_an_axis_that_its_bottom_lacks_is_refused(data):
    softmax = layer("Softmax", "softmax_param { axis: 5 }", 'bottom: "s"', top="p")
    net = proto.parse_net_param(data + layer("ReLU", top="s") + softmax)
    with pytest.raises(NetError, match="'l' .Softmax. has the classes of 's' on axis 5"):
        prepare(net, score="s")


def test_an_input_without_pixels_has_no_picture_of_its_scores():
    net = proto.parse_net_param(DATA.replace("dim: 9 dim: 9", "dim: 0 dim: 9") + layer("ReLU"))
    assert prepare(net).score == "t"


def test_a_softmax_without_a_top_gets_one():
    net = proto.parse_net_param(
        DATA + layer("ReLU", top="s") + 'layer { name: "p" type: "Softmax" bottom: "s" }'
    )
    assert prepare(net).prob == "prob"


def test_parameter_shapes_of_inputs_without_channels_and_of_no_groups():
    convolution = layer("Convolution", "convolution_param { num_output: 2 kernel_size: 1 group: 0 }")
    for text, why in (
        (NO_AXES + convolution, "is not known"),
        (DATA + convolution, "group must be at least 1"),
    ):
        with pytest.raises(NetError, match=why):
            param_shapes(proto.parse_net_param(text))


def test_a_deep_net_with_an_old_crop_is_prepared_in_time_and_memory_in_proportion_to_its_layers():
    """Numbers of a map that grow with every layer, and a map from every ancestor, took minutes and GBs."""
    pools = "".join(
        f'layer {{ name: "r{i}" type: "Pooling" bottom: "{f"r{i - 1}" if i else "data"}" top: "r{i}" '
        "pooling_param { kernel_size: 1 stride: 4294967291 } }"
        for i in range(3000)
    )
    crop = 'layer { name: "crop" type: "Crop" bottom: "r2999" bottom: "data" top: "score" }'
    prepared = prepare(proto.parse_net_param(DATA + pools + crop))
    assert any("do not line up" in change for change in prepared.changes)


def test_an_input_with_a_bottom_is_refused():
    text = layer("BatchNorm", bottoms='bottom: "b"', top="b") + layer("Input", bottoms='bottom: "b"', top="b")
    net = proto.parse_net_param(text + layer("Pooling", bottoms='bottom: "b"', top="score"))
    with pytest.raises(NetError, match="layer 'l' .Input.: takes no bottom, found 'b'"):
        prepare(net)


def test_names_are_given_in_order_where_some_are_taken():
    names = ["r", "r_2", "r", "r", "r_4", "r"]
    text = DATA + "".join(
        f'layer {{ name: "{name}" type: "ReLU" bottom: "data" top: "data" }}' for name in names
    )
    net = proto.parse_net_param(text + layer("Pooling", top="score"))
    found = [layer.name for layer in prepare(net).net.layer if layer.type == "ReLU"]
    assert found == ["r", "r_2", "r_3", "r_5", "r_4", "r_6"]


def test_a_label_that_nothing_makes_is_left_out_and_a_misspelt_blob_is_not():
    loss = layer("SoftmaxWithLoss", bottoms='bottom: "score" bottom: "{}"', top="loss")
    text = DATA + layer("Pooling", top="score")
    assert prepare(proto.parse_net_param(text + loss.replace("{}", "label"))).score == "score"
    with pytest.raises(NetError, match="no layer makes its bottom 'scores'; did you mean score"):
        prepare(proto.parse_net_param(text + loss.replace("{}", "scores")))


def test_of_names_like_a_missing_one_long_ones_are_not_compared():
    """Comparing two takes time with the square of their lengths."""
    assert nearest("scor", ["score", "s" * 101]) == ["score"]
    assert nearest("s" * 101, ["s" * 100]) == []


def test_a_misspelt_bottom_of_a_loss_is_found_in_a_net_of_more_blobs_than_are_compared():
    relus = "".join(layer("ReLU", bottoms=f'bottom: "{i or "data"}"', top=str(i + 1)) for i in range(1500))
    text = DATA + relus + layer("Pooling", bottoms='bottom: "1500"', top="score")
    text += layer("SoftmaxWithLoss", bottoms='bottom: "score" bottom: "scores"', top="loss")
    with pytest.raises(NetError, match="no layer makes its bottom 'scores'; did you mean score"):
        prepare(proto.parse_net_param(text))

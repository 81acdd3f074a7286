"""What follows from the description of a net with layers of segmentation and classification forks."""

from __future__ import annotations

from fractions import Fraction

import pytest

from caffe_gp import proto
from caffe_gp.errors import NetError
from caffe_gp.surgery.param_shapes import param_shapes
from caffe_gp.surgery.positions import position_map
from caffe_gp.surgery.prepare import prepare
from caffe_gp.surgery.shapes import blob_shapes
from caffe_gp.surgery.sizes import fixed_by

DATA = (
    'layer { name: "data" type: "Input" top: "data" '
    "input_param { shape { dim: 1 dim: 6 dim: 16 dim: 24 } } }\n"
)


def layer(name: str, kind: str, bottoms: str = "data", rest: str = "", tops: str = "") -> str:
    blobs = "".join(f'bottom: "{bottom}" ' for bottom in bottoms.split())
    blobs += "".join(f'top: "{top}" ' for top in (tops or name).split())
    return f'layer {{ name: "{name}" type: "{kind}" {blobs}{rest} }}\n'


POOL = layer("pool", "Pooling", rest="pooling_param { kernel_size: 2 stride: 2 }", tops="pool mask")
CONV = layer("conv", "Convolution", rest="convolution_param { num_output: 6 kernel_size: 3 }")
UNPOOL = "unpooling_param {{ unpool: {} kernel_size: 2 stride: 2 unpool_h: 16 unpool_w: 24 }}"


def net_of(*layers: str):
    return proto.parse_net_param(DATA + "".join(layers))


# ---- positions: pooling by 2 takes x to x / 2 - 1 / 4, a convolution without padding to x - 1


@pytest.mark.parametrize(
    "layers, scale, shift",
    [
        ([POOL, layer("y", "Upsample", "pool", "upsample_param { scale: 2 }")], 1, 0),
        ([POOL, layer("y", "Upsample", "pool", "upsample_param { scale: 4 }")], 2, Fraction(1, 2)),
        ([POOL, layer("y", "Upsample", "pool")], Fraction(1, 2), Fraction(-1, 4)),
        ([POOL, layer("y", "Upsample", "pool mask")], 1, 0),
        ([CONV, POOL.replace('"data"', '"conv"'), layer("y", "Upsample", "pool mask")], 1, -1),
        ([POOL, layer("y", "Unpooling", "pool mask", UNPOOL.format("MAX"))], 1, 0),
        ([POOL, layer("y", "UnPooling", "pool", UNPOOL.format("TILE"))], 1, 0),
        ([POOL, layer("y", "Unpooling", "pool", UNPOOL.format("AVE"))], 1, 0),
        ([POOL, layer("y", "Unpooling", "pool", UNPOOL.format("MAX"))], 1, Fraction(-1, 2)),
        ([CONV, layer("y", "CropCenter", "conv", "crop_center_param { crop_size: [0, 0, 2, 2] }")], 1, -3),
        (
            [CONV, layer("a", "Mish", "conv"), layer("b", "ReLU6", "a"), layer("y", "ShuffleChannel", "b")],
            1,
            -1,
        ),
        ([CONV, layer("y", "BN", "conv")], 1, -1),
        ([CONV, layer("y", "ConvolutionDepthwise", "conv", "convolution_param { kernel_size: 3 }")], 1, -2),
        (
            [
                CONV,
                layer("a", "Pooling", "conv", "pooling_param { kernel_h: 14 kernel_w: 22 }"),
                layer("y", "Axpy", "a conv conv"),
            ],
            1,
            -1,
        ),
    ],
)
def test_positions(layers, scale, shift):
    found = position_map(net_of(*layers), "data", "y")
    assert found is not None and {tuple(axis) for axis in found} == {(scale, shift)}


@pytest.mark.parametrize(
    "layers",
    [
        [layer("y", "Upsample", "data other")],  # another blob's mask
        [layer("y", "CropCenter", rest="crop_center_param { crop_size: 1 }")],
        [layer("y", "Unpooling")],
        [layer("y", "Upsample", rest="upsample_param { scale_h: 2 }")],
    ],
)
def test_positions_that_do_not_follow(layers):
    assert position_map(net_of(*layers), "data", "y") is None


# ---- shapes


@pytest.mark.parametrize(
    "layers, shape",
    [
        ([layer("y", "Upsample", rest="upsample_param { scale: 3 }")], (1, 6, 48, 72)),
        ([POOL, layer("y", "Upsample", "pool mask")], (1, 6, 16, 24)),
        ([POOL, layer("y", "Upsample", "pool mask", "upsample_param { pad_out_h: true }")], (1, 6, 15, 24)),
        (
            [POOL, layer("y", "Upsample", "pool mask", "upsample_param { upsample_h: 9 upsample_w: 8 }")],
            (1, 6, 9, 8),
        ),
        ([POOL, layer("y", "Unpooling", "pool", UNPOOL.format("AVE"))], (1, 6, 16, 24)),
        ([layer("y", "Unpooling")], (1, 6, None, None)),
        ([layer("y", "CropCenter", rest="crop_center_param { crop_size: [0, 1, 2, 3] }")], (1, 4, 12, 18)),
        ([layer("y", "Mish")], (1, 6, 16, 24)),
        (
            [
                layer("a", "Pooling", rest="pooling_param { global_pooling: true pool: AVE }"),
                layer("y", "Axpy", "a data data"),
            ],
            (1, 6, 16, 24),
        ),
        (
            [layer("y", "ConvolutionDepthwise", rest="convolution_param { num_output: 6 kernel_size: 3 }")],
            (1, 6, 14, 22),
        ),
    ],
)
def test_shapes(layers, shape):
    assert blob_shapes(net_of(*layers))["y"] == shape


def test_a_net_that_unpools_to_one_size_takes_no_other():
    unpool = layer("up", "Unpooling", "pool mask", UNPOOL.format("MAX"))
    net = net_of(CONV, POOL, unpool, layer("y", "Eltwise", "up data"))
    assert fixed_by(net, "data", (16, 24)).startswith("layer 'y' (Eltwise)")
    following = layer("up", "Upsample", "pool mask")
    assert fixed_by(net_of(CONV, POOL, following, layer("y", "Eltwise", "up data")), "data", (16, 24)) == ""


# ---- parameters


def test_parameters():
    net = net_of(
        CONV,
        layer("segnet", "BN", "conv"),
        layer("pspnet", "BN", "segnet", "bn_param { frozen: true }"),
        layer("dw", "ConvolutionDepthwise", "pspnet", "convolution_param { num_output: 6 kernel_size: 5 }"),
        layer("shuffle", "ShuffleChannel", "dw"),
        layer(
            "dw2", "DepthwiseConvolution", "shuffle", "convolution_param { num_output: 12 kernel_size: 1 }"
        ),
    )
    assert param_shapes(net) == {
        "conv": [(6, 6, 3, 3), (6,)],
        "segnet": [(1, 6, 1, 1)] * 2,
        "pspnet": [(1, 6, 1, 1)] * 4,
        "dw": [(6, 1, 5, 5), (6,)],
        "dw2": [(12, 1, 1, 1), (12,)],
    }


# ---- what the surgery does and says


def prepared(*layers: str, engine: str = "torch"):
    return prepare(net_of(*layers), engine=engine)


def test_batch_norms_are_frozen_or_told_of():
    found = prepared(
        layer("a", "BN", rest="bn_param { momentum: 0.9 }"),
        layer("b", "BN", "a"),
        layer("c", "BN", "b", "bn_param { frozen: true }"),
        layer("score", "BN", "c", "bn_param { bn_mode: INFERENCE }"),
    )
    assert "BN layers frozen, so that their backward is the derivative: a" in found.changes
    (told,) = [one for one in found.changes if "statistics of each batch" in one]
    assert told.endswith("in its batch: b")
    layers = {one.name: one for one in found.net.layer}
    assert layers["a"].bn_param.frozen and not layers["b"].bn_param.HasField("frozen")
    assert [spec.lr_mult for spec in layers["a"].param] == [0] * 4
    assert [spec.lr_mult for spec in layers["b"].param] == [0] * 2


def test_dropout_that_stays_on_is_told_of_and_refused_for_bvlc():
    drop = layer("drop", "Dropout", "conv", "dropout_param { sample_weights_test: true }")
    assert "sample_weights_test: dropout stays on" in " ".join(prepared(CONV, drop).changes)
    with pytest.raises(NetError, match="layer 'drop' .Dropout.*sample_weights_test.*engine 'torch'"):
        prepared(CONV, drop, engine="bvlc")
    off = prepared(CONV, drop.replace("true", "false"), engine="bvlc")
    assert "sample_weights_test" not in proto.to_text(off.net)


def test_a_depthwise_convolution_gets_its_group_for_bvlc():
    depthwise = layer(
        "dw", "ConvolutionDepthwise", "pool", "convolution_param { num_output: 6 kernel_size: 3 }"
    )
    found = prepared(POOL, depthwise, engine="bvlc")
    (one,) = [one for one in found.net.layer if one.name == "dw"]
    assert one.type == "Convolution" and one.convolution_param.group == 6
    halves = layer("halves", "Slice", tops="one other", rest="slice_param { slice_point: 2 }")
    other = depthwise.replace('"pool"', '"other"').replace("num_output: 6", "num_output: 8")
    found = prepared(halves, other, layer("score", "Concat", "one dw"), engine="bvlc")
    assert [one.convolution_param.group for one in found.net.layer if one.name == "dw"] == [4]
    unknown = layer("rows", "Filter", "data data")
    with pytest.raises(NetError, match="layer 'dw' .ConvolutionDepthwise.*give group"):
        prepared(unknown, depthwise.replace('"pool"', '"rows"'), engine="bvlc")


@pytest.mark.parametrize(
    "fields, tops, shapes",
    [
        ("", "a b c", [(1, 2, 16, 24)] * 3),
        ("slice_point: 1 slice_point: 4", "a b c", [(1, 1, 16, 24), (1, 3, 16, 24), (1, 2, 16, 24)]),
        ("axis: -1", "a b", [(1, 6, 16, 12)] * 2),
        ("slice_dim: 2 slice_point: 6", "a b", [(1, 6, 6, 24), (1, 6, 10, 24)]),
        ("axis: 4", "a b", []),
    ],
)
def test_slices(fields, tops, shapes):
    found = blob_shapes(net_of(layer("s", "Slice", tops=tops, rest=f"slice_param {{ {fields} }}")))
    assert [found[top] for top in tops.split() if top in found] == shapes


def test_a_slice_without_tops():
    """Fuzzing found it."""
    text = layer("s", "Slice").replace('top: "s"', "")
    assert "s" not in blob_shapes(net_of(text))


def test_bn_of_no_known_kind():
    for fields in ("scale: 1 scale_filler { }", "scale_filler { } slope_filler { }"):
        with pytest.raises(NetError, match=r"layer 'y' \(BN\): bn_param"):
            prepared(layer("y", "BN", rest=f"bn_param {{ {fields} }}"))

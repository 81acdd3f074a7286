"""Each layer type by itself, in PyTorch and in ONNX, beside the embedded Caffe."""

from __future__ import annotations

import importlib.util
import re

import pytest

pytest.importorskip("torch")
pytest.importorskip("safetensors")

from caffe_gp import engines
from caffe_gp.errors import NetError
from caffe_gp.export.layers import WRITERS
from tests.export.exported import exported, net_text

pytestmark = pytest.mark.skipif(engines.resolve() == "bvlc", reason="of the embedded Caffe")
HAS_ONNX = all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime"))


def one(kind: str, params: str = "", bottoms: str = "data", tops: str = "y") -> str:
    blobs = [f'bottom: "{name}"' for name in bottoms.split()] + [f'top: "{name}"' for name in tops.split()]
    return f'layer {{ name: "{kind.lower()}" type: "{kind}" {" ".join(blobs)} {params} }}\n'


CONV = 'layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { %s } }\n'
MASKED = one("Pooling", "pooling_param { kernel_size: 2 stride: 2 }", tops="p mask")
SMALL = CONV % "num_output: 6 kernel_size: 5 pad: 1"

# (layers, shape of the input, whether any height and width are found to do)
WIDE, FLAT = (2, 6, 13, 17), (3, 10)
CASES = {
    "convolution": (CONV % "num_output: 4 kernel_h: 3 kernel_w: 2 stride: 2 pad: 1 dilation: 2", WIDE, True),
    "grouped": (CONV % "num_output: 4 kernel_size: 3 group: 2 bias_term: false", WIDE, True),
    "depthwise": (
        one("DepthwiseConvolution", "convolution_param { num_output: 6 kernel_size: 3 }"),
        WIDE,
        True,
    ),
    "1-d": (CONV % "num_output: 4 kernel_size: 3 stride: 2", (2, 5, 20), None),
    "3-d": (CONV % "num_output: 4 kernel_size: 3 pad: 1", (2, 3, 5, 6, 7), None),
    "several": (
        one("Power", "power_param { scale: 2 }", tops="b")
        + one("Convolution", "convolution_param { num_output: 2 kernel_size: 3 }", "data b", "y z"),
        WIDE,
        True,
    ),
    "deconvolution": (
        one("Deconvolution", "convolution_param { num_output: 4 kernel_size: 4 stride: 2 pad: 1 group: 2 }"),
        WIDE,
        True,
    ),
    "inner product": (one("InnerProduct", "inner_product_param { num_output: 3 }"), WIDE, False),
    "inner product, axis 2": (
        one(
            "InnerProduct", "inner_product_param { num_output: 3 axis: -2 transpose: true bias_term: false }"
        ),
        WIDE,
        False,
    ),
    "max": (one("Pooling", "pooling_param { kernel_size: 3 stride: 2 }"), WIDE, True),
    "max, padded": (one("Pooling", "pooling_param { kernel_size: 3 stride: 2 pad: 1 }"), WIDE, True),
    "max, down": (one("Pooling", "pooling_param { kernel_size: 3 stride: 2 round_mode: FLOOR }"), WIDE, True),
    "ave": (one("Pooling", "pooling_param { pool: AVE kernel_size: 3 stride: 2 }"), (2, 6, 14, 18), True),
    "ave, padded": (
        one("Pooling", "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }"),
        WIDE,
        True,
    ),
    "ave, one side": (
        one(
            "Pooling", "pooling_param { pool: AVE kernel_h: 4 kernel_w: 3 stride_h: 3 stride_w: 2 pad_h: 1 }"
        ),
        (2, 6, 12, 16),
        True,
    ),
    "global": (one("Pooling", "pooling_param { pool: AVE global_pooling: true }"), WIDE, True),
    "global max": (one("Pooling", "pooling_param { global_pooling: true }"), WIDE, True),
    "unpool": (MASKED + one("Upsample", "upsample_param { scale: 2 }", "p mask"), (2, 6, 12, 16), True),
    "unpool to a size": (
        MASKED + one("Upsample", "upsample_param { upsample_h: 13 upsample_w: 17 }", "p mask"),
        WIDE,
        None,
    ),
    "interp": (one("Interp", "interp_param { zoom_factor: 2 pad_beg: -1 pad_end: -2 }"), WIDE, True),
    "interp, shrink": (one("Interp", "interp_param { shrink_factor: 2 }"), WIDE, True),
    "interp to a size": (one("Interp", "interp_param { height: 20 width: 9 }"), WIDE, True),
    "relu": (one("ReLU"), WIDE, True),
    "leaky": (one("ReLU", "relu_param { negative_slope: 0.1 }"), WIDE, True),
    "prelu": (one("PReLU"), WIDE, True),
    "prelu, shared": (one("PReLU", "prelu_param { channel_shared: true }"), WIDE, True),
    "elu": (one("ELU", "elu_param { alpha: 0.7 }"), WIDE, True),
    "sigmoid": (one("Sigmoid"), WIDE, True),
    "tanh": (one("TanH"), WIDE, True),
    "bnll": (one("BNLL"), WIDE, True),
    "absval": (one("AbsVal"), WIDE, True),
    "swish": (one("Swish", "swish_param { beta: 0.5 }"), WIDE, True),
    "clip": (one("Clip", "clip_param { min: -1 max: 2.5 }"), WIDE, True),
    "clip, crossed": (one("Clip", "clip_param { min: 1 max: -2.5 }"), WIDE, True),
    "threshold": (one("Threshold", "threshold_param { threshold: 0.25 }"), WIDE, True),
    "power": (one("Power", "power_param { power: 2 scale: 0.5 shift: 1 }"), WIDE, True),
    "power of 0": (one("Power", "power_param { power: 0 }"), WIDE, True),
    "exp": (one("Exp", "exp_param { base: 2 scale: 0.01 shift: 0.5 }"), WIDE, True),
    "log": (
        one("AbsVal", tops="a") + one("Log", "log_param { base: 10 scale: 2 shift: 1 }", "a"),
        WIDE,
        True,
    ),
    "dropout": (one("Dropout"), WIDE, True),
    "sum": (
        one("Sigmoid", tops="s")
        + one("Eltwise", "eltwise_param { coeff: 2 coeff: -0.5 coeff: 0 }", "data s data"),
        WIDE,
        True,
    ),
    "product": (
        one("TanH", tops="s") + one("Eltwise", "eltwise_param { operation: PROD }", "data s"),
        WIDE,
        True,
    ),
    "maximum": (
        one("TanH", tops="s") + one("Eltwise", "eltwise_param { operation: MAX }", "data s s"),
        WIDE,
        True,
    ),
    "concat": (one("TanH", tops="s") + one("Concat", bottoms="data s"), WIDE, True),
    "concat, axis 2": (
        one("TanH", tops="s") + one("Concat", "concat_param { axis: -2 }", "data s"),
        WIDE,
        True,
    ),
    "slice": (one("Slice", "slice_param { slice_point: 1 slice_point: 4 }", tops="x y z"), WIDE, True),
    "slice, axis 2": (one("Slice", "slice_param { axis: 2 slice_point: 5 }", tops="x y"), WIDE, False),
    "split": (one("Split", tops="x y"), WIDE, True),
    "crop": (SMALL + one("Crop", "crop_param { offset: 1 }", "data c"), WIDE, True),
    "crop, two offsets": (SMALL + one("Crop", "crop_param { offset: 0 offset: 2 }", "data c"), WIDE, True),
    "tile": (one("Tile", "tile_param { axis: 2 tiles: 3 }"), WIDE, True),
    "flatten": (one("Flatten"), WIDE, True),
    "flatten, 2 to 3": (one("Flatten", "flatten_param { axis: 2 end_axis: 3 }"), WIDE, True),
    "flatten to a new axis": (one("Flatten", "flatten_param { axis: 2 end_axis: 1 }"), WIDE, True),
    "reshape": (one("Reshape", "reshape_param { shape { dim: 0 dim: 2 dim: 3 dim: -1 } }"), WIDE, True),
    "reshape, inner axes": (
        one("Reshape", "reshape_param { shape { dim: 3 dim: 2 } axis: 1 num_axes: 1 }"),
        WIDE,
        True,
    ),
    "scale": (one("Scale", "scale_param { bias_term: true }"), WIDE, True),
    "scale, one number": (one("Scale", "scale_param { num_axes: 0 }"), WIDE, True),
    "scale of a blob": (
        one("Pooling", "pooling_param { global_pooling: true }", tops="g")
        + one("Flatten", bottoms="g", tops="f")
        + one("Scale", "scale_param { axis: 0 }", "data f"),
        WIDE,
        True,
    ),
    "scale of a blob, and a bias": (
        one("TanH", tops="s") + one("Scale", "scale_param { axis: 0 bias_term: true }", "data s"),
        WIDE,
        None,
    ),
    "bias": (one("Bias"), WIDE, True),
    "bias of a blob": (one("TanH", tops="s") + one("Bias", "bias_param { axis: 0 }", "data s"), WIDE, True),
    "batch norm and scale": (
        one("BatchNorm", "batch_norm_param { eps: 0.01 }", tops="n")
        + one("Scale", "scale_param { bias_term: true }", "n", "n"),
        WIDE,
        True,
    ),
    "batch norm of rows": (one("BatchNorm"), FLAT, None),
    "batch norm of the batch": (one("BatchNorm", "batch_norm_param { use_global_stats: false }"), WIDE, True),
    "lrn": (one("LRN", "lrn_param { local_size: 3 alpha: 0.01 beta: 0.6 k: 2 }"), WIDE, True),
    "lrn, wide": (one("LRN", "lrn_param { local_size: 2147483647 alpha: 100000 }"), WIDE, True),
    "lrn within": (
        one("LRN", "lrn_param { local_size: 5 alpha: 0.01 norm_region: WITHIN_CHANNEL }"),
        WIDE,
        True,
    ),
    "mvn": (one("MVN"), WIDE, True),
    "mvn, across": (one("MVN", "mvn_param { across_channels: true normalize_variance: false }"), WIDE, True),
    "softmax": (one("Softmax"), WIDE, True),
    "softmax, last axis": (one("Softmax", "softmax_param { axis: -1 }"), WIDE, True),
    "argmax": (one("ArgMax", "argmax_param { axis: 1 }"), WIDE, True),
    "argmax of images": (one("ArgMax"), WIDE, True),
    "largest": (one("ArgMax", "argmax_param { axis: 2 out_max_val: true }"), WIDE, True),
    "reduction": (one("Reduction", "reduction_param { axis: 1 operation: ASUM coeff: 0.5 }"), WIDE, True),
    "mean": (one("Reduction", "reduction_param { axis: -2 operation: MEAN }"), WIDE, True),
    "squares": (one("Reduction", "reduction_param { axis: 2 operation: SUMSQ }"), WIDE, True),
    "relu6, leaky": (one("ReLU6", "relu6_param { negative_slope: 0.1 }"), WIDE, True),
    "relu6": (one("ReLU6"), WIDE, True),
    "mish": (one("Mish"), WIDE, True),
    "depthwise of forks": (
        one("ConvolutionDepthwise", "convolution_param { num_output: 6 kernel_size: 3 }"),
        WIDE,
        True,
    ),
    "permute": (one("Permute", "permute_param { order: 0 order: 2 order: 3 order: 1 }"), WIDE, True),
    "normalize": (one("Normalize", "norm_param { across_spatial: false channel_shared: false }"), WIDE, True),
    "normalize, across": (one("Normalize"), WIDE, True),
    "shuffle": (one("ShuffleChannel", "shuffle_channel_param { group: 3 }"), WIDE, True),
    "repeated": (one("Upsample", "upsample_param { scale: 3 }"), WIDE, True),
    "crop center": (
        one("CropCenter", "crop_center_param { crop_size: 0 crop_size: 0 crop_size: 2 crop_size: 1 }"),
        WIDE,
        True,
    ),
    "axpy": (
        one("Pooling", "pooling_param { global_pooling: true }", tops="g")
        + one("TanH", tops="s")
        + one("Axpy", bottoms="g data s"),
        WIDE,
        True,
    ),
    "bn with statistics": (one("BN", "bn_param { frozen: true }"), WIDE, True),
    "bn, folded": (one("BN", "bn_param { bn_mode: INFERENCE }"), WIDE, True),
    "batch norm with a scale of its own": (
        one("BatchNorm", "batch_norm_param { scale_bias: true eps: 1e-6 }"),
        WIDE,
        True,
    ),
    "reorg": (one("Reorg", "reorg_param { stride: 2 }"), (2, 8, 12, 16), None),
    "reorg, reverse": (one("Reorg", "reorg_param { stride: 2 reverse: true }"), (2, 8, 5, 7), None),
    "unpooling": (
        MASKED
        + one(
            "Unpooling", "unpooling_param { kernel_size: 2 unpool: MAX unpool_h: 13 unpool_w: 17 }", "p mask"
        ),
        WIDE,
        None,
    ),
    "prior box": (
        SMALL + one("PriorBox", "prior_box_param { min_size: 4 variance: 0.1 }", "c data"),
        WIDE,
        False,
    ),
    "in place": (
        CONV % "num_output: 4 kernel_size: 3"
        + one("ReLU", bottoms="c", tops="c")
        + one("TanH", bottoms="c", tops="t")
        + one("Power", "power_param { scale: -1 }", "t", "t")
        + one("Eltwise", bottoms="data data", tops="e")
        + one("Sigmoid", bottoms="e", tops="e"),
        WIDE,
        True,
    ),
}


def groups():
    """Nets of many cases each, since a comparison takes seconds: of one input, and of any size or not."""
    found = {}
    for name, (layers, shape, any_size) in CASES.items():
        key = (shape, any_size, name if any_size is None else "")
        named = re.sub(r'((?:name|top|bottom): )"(?!data")(.*?)"', rf'\1"{name}: \2"', layers)
        found[key] = found.get(key, "") + named
    return found


@pytest.mark.parametrize("shape, any_size, name", groups(), ids=str)
def test_agrees(shape, any_size, name, tmp_path):
    onnx = tmp_path / "net.onnx" if HAS_ONNX else None
    layers = groups()[shape, any_size, name]
    done = exported(tmp_path, net_text(layers, shape), onnx_file=onnx, scale=0.04)
    assert max(done.errors.values()) <= 1e-5, done.errors
    assert ("onnx" in done.errors) == HAS_ONNX
    assert {output.split(":")[0] for output in done.outputs} == set(re.findall('name: "(.*?):', layers))
    (found,) = done.shapes.values()
    if any_size is not None:
        assert found[0] is None and found[2:] == ((None, None) if any_size else shape[2:])


@pytest.mark.parametrize(
    "layers, words",
    [
        (one("Pooling", "pooling_param { kernel_size: 3 stride: 2 pad: 2 }"), "more than half of the kernel"),
        (one("Pooling", "pooling_param { kernel_size: 1 stride: 6 }"), "outside of the image"),
        (one("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 2 }"), "STOCHASTIC"),
        (one("SPP", "spp_param { pyramid_height: 2 }"), "no counterpart"),
        (one("ArgMax", "argmax_param { top_k: 2 }"), "top_k"),
    ],
)
def test_what_has_no_counterpart_is_said(layers, words, tmp_path):
    text = net_text(one("TanH", tops="t") + layers.replace('bottom: "data"', 'bottom: "t"'))
    with pytest.raises(NetError, match=words) as caught:
        exported(tmp_path, text)
    assert "--end 't'" in str(caught.value) and not (tmp_path / "net.py").exists()


def test_every_type_of_the_table_is_a_case():
    tried = {
        line.split('type: "')[1].split('"')[0] for text, *_ in CASES.values() for line in text.splitlines()
    }
    assert set(WRITERS) - tried == {"Embed", "Parameter", "UnPooling"}

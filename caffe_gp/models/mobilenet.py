"""DeepLabv3 on MobileNetV2: VOC nets that are small enough for any machine.

They were published as TFLite models, ``deeplabv3_257_mv_gpu`` and ``deeplabv3_mnv2_pascal_quant``; layers are
named as in the caffemodels that were converted from them. Batch normalisation is folded, ReLU6 is a Clip, and
the bilinear upsampling a Deconvolution whose kernel is in the caffemodel.
"""

from __future__ import annotations

from typing import Any

from caffe_gp.datasets.class_names import VOC
from caffe_gp.models.builder import Builder
from caffe_gp.proto import messages as pb

# Channels of blocks 0 to 16 at width 1, and their strides as in MobileNetV2.
CHANNELS = (16, *(24,) * 2, *(32,) * 3, *(64,) * 4, *(96,) * 3, *(160,) * 3, 320)
STRIDES = (1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1)
EXPANSION = 6
ASPP = 256


def mnv2_dm05_257() -> Any:
    """Width 0.5, images of 257 x 257, scores at stride 8."""
    return _deeplab("mnv2-dm05-257", width=0.5, size=257, stride=8)


def mnv2_dm10_513() -> Any:
    """Width 1, images of 513 x 513, scores at stride 16."""
    return _deeplab("mnv2-dm10-513", width=1.0, size=513, stride=16)


def _deeplab(name: str, width: float, size: int, stride: int) -> Any:
    """Beyond ``stride`` the blocks dilate instead of striding."""
    net = Builder(name, (1, 3, size, size))
    stem = int(32 * width)
    blob, channels = _relu6(net, "conv1", "data", stem, 3, stride=2, pad=1), stem
    at, dilation = 2, 1
    for i, (wide, step) in enumerate(zip(CHANNELS, STRIDES)):
        strided = step if at * step <= stride else 1
        blob = _block(net, i, blob, channels, int(wide * width), strided, dilation)
        channels, at = int(wide * width), at * strided
        dilation *= step // strided
    scores = net.conv("fc8", _aspp(net, blob, size // stride + 1), len(VOC), 1, param=())
    net.deconv(
        "upscore",
        scores,
        len(VOC),
        2 * stride - 1,
        stride=stride,
        top="score",
        group=len(VOC),
        pad=[stride - 1],
    )
    return net.param


def _block(net: Builder, i: int, blob: str, channels: int, wide: int, stride: int, dilation: int) -> str:
    """An inverted residual: expand, filter each channel by itself, project; added to the input if it fits."""
    inner, inside = channels, blob
    if i:
        inner = EXPANSION * channels
        inside = _relu6(net, f"block{i}_expand", blob, inner, 1)
    inside = _relu6(
        net, f"block{i}_dw", inside, inner, 3, stride=stride, pad=dilation, dilation=dilation, group=inner
    )
    out = net.conv(f"block{i}_project", inside, wide, 1, param=())
    if i and stride == 1 and wide == channels:
        return net.eltwise(f"block{i}_add", [out, blob])
    return out


def _relu6(net: Builder, name: str, bottom: str, channels: int, kernel: int, **options: Any) -> str:
    """Convolution and ReLU6, whose top has the convolution's name."""
    raw = net.conv(name, bottom, channels, kernel, top=f"{name}/raw", param=(), **options)
    return net.add("Clip", f"{name}/relu6", [raw], [name], clip_param={"min": 0.0, "max": 6.0})


def _aspp(net: Builder, blob: str, side: int) -> str:
    """The image's mean beside a 1x1 convolution of each place, projected: ``side`` x ``side``."""
    net.add(
        "Pooling",
        "global_pool",
        [blob],
        pooling_param={"pool": pb.PoolingParameter.AVE, "global_pooling": True},
    )
    pooled = net.conv_relu("image_pool", "global_pool", ASPP, 1, "image_pool/relu", param=())
    rows = net.add("Tile", "image_pool_h", [pooled], tile_param={"axis": 2, "tiles": side})
    spread = net.add("Tile", "image_pool_up", [rows], tile_param={"axis": 3, "tiles": side})
    local = net.conv_relu("aspp0", blob, ASPP, 1, "aspp0/relu", param=())
    joined = net.add("Concat", "concat", [spread, local], concat_param={"axis": 1})
    return net.conv_relu("concat_projection", joined, ASPP, 1, "concat_projection/relu", param=())

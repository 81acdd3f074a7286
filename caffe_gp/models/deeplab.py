"""DeepLab (liangchiehchen.com/projects/DeepLab.html): atrous convolutions instead of the last strides.

Scores are computed at stride 8 and enlarged by Interp. Images are padded to 513 x 513 with the mean, bottom
and right. Other sizes do if they are 8 n + 1, for the three-scale net 32 n + 1 (its branches meet again).

The released test files without their data layer and the layers that write or count labels, and with ``voc12``
for their ``${EXP}``.
"""

from __future__ import annotations

from typing import Any

from caffe_gp.models.builder import Builder
from caffe_gp.models.fcn import VGG16_STAGES, VOC_CLASSES

INPUT_SHAPE = (1, 3, 513, 513)

# Dilations of the four parallel classifiers, "atrous spatial pyramid pooling".
ASPP_DILATIONS = (6, 12, 18, 24)

# ResNet-101: number of blocks, channels of the two inner convolutions (the outer has four times as many),
# stride of the first block, dilation of the 3x3 convolutions. Stages 4 and 5 are dilated, not strided.
RESNET101_STAGES = ((2, 3, 64, 1, 1), (3, 4, 128, 2, 1), (4, 23, 256, 1, 2), (5, 3, 512, 1, 4))


def deeplab_vgg16() -> Any:
    """DeepLab v2 on VGG-16 with four classifiers of different field of view (ASPP-L)."""
    net = Builder("deeplab-vgg16", INPUT_SHAPE)
    pool5 = _vgg16(net)
    scores = [
        _vgg16_classifier(net, pool5, f"_{branch}", dilation)
        for branch, dilation in enumerate(ASPP_DILATIONS, 1)
    ]
    net.interp("fc8_interp", net.eltwise("fc8_voc12", scores), zoom=8)
    return net.param


def deeplab_coco_largefov() -> Any:
    """DeepLab v1 on VGG-16 with one classifier of large field of view; pretrained on COCO."""
    net = Builder("deeplab-coco-largefov", INPUT_SHAPE)
    pool5a = net.ave_pool("pool5a", _vgg16(net), 3, 1, pad=1)
    net.interp("fc8_interp", _vgg16_classifier(net, pool5a, "", dilation=12), zoom=8)
    return net.param


def deeplab_resnet101() -> Any:
    """DeepLab v2 on ResNet-101, ASPP: the image at full, half and three quarters of its size through one net.

    Layers of the smaller two are named with _res05 and _res075 and share their parameters with the full-size
    branch by the parameters' names. Per class and position the greatest of the three scores counts.
    """
    net = Builder("deeplab-resnet101", INPUT_SHAPE)
    images = {
        "": "data",
        "_res05": net.interp("data_res05", "data", shrink=2),
        "_res075": net.interp("data_res075", "data", shrink=4, zoom=3),
    }
    features = {scale: _resnet101(net, image, scale) for scale, image in images.items()}
    full, half, three_quarters = (
        _resnet101_classifiers(net, blob, scale) for scale, blob in features.items()
    )
    half = net.interp(f"{half}_interp", half, zoom=2)
    three_quarters = net.interp(f"{three_quarters}_interp", three_quarters, shrink=3, zoom=4)
    net.interp("fc1_interp", net.eltwise("fc_fusion", [full, three_quarters, half], "MAX"), zoom=8)
    return net.param


def _vgg16(net: Builder) -> str:
    """VGG-16 from ``data`` to pool5, with overlapping pooling; from pool4 on nothing is reduced any more."""
    blob = "data"
    for stage, (channels, convs) in enumerate(VGG16_STAGES, 1):
        dilation = 2 if stage == 5 else 1
        for i in range(1, convs + 1):
            blob = net.conv_relu(
                f"conv{stage}_{i}", blob, channels, 3, f"relu{stage}_{i}", pad=dilation, dilation=dilation
            )
        blob = net.max_pool(f"pool{stage}", blob, 3, stride=2 if stage < 4 else 1, pad=1)
    return blob


def _vgg16_classifier(net: Builder, bottom: str, suffix: str, dilation: int) -> str:
    """fc6, fc7 and fc8, dilated; returns the scores."""
    blob = net.conv_relu(f"fc6{suffix}", bottom, 1024, 3, f"relu6{suffix}", pad=dilation, dilation=dilation)
    blob = net.dropout(f"drop6{suffix}", blob)
    blob = net.conv_relu(f"fc7{suffix}", blob, 1024, 1, f"relu7{suffix}")
    blob = net.dropout(f"drop7{suffix}", blob)
    return net.conv(f"fc8_voc12{suffix}", blob, VOC_CLASSES, 1)


def _resnet101(net: Builder, image: str, scale: str) -> str:
    """ResNet-101 from ``image`` to res5c; ``scale`` ends every name but the parameters'."""
    blob = _conv_norm(net, "conv1", "_conv1", image, scale, 64, 7, stride=2, pad=3)
    blob = net.relu(f"conv1_relu{scale}", blob)
    blob = net.max_pool(f"pool1{scale}", blob, 3, stride=2, pad=1)
    for stage, blocks, channels, stride, dilation in RESNET101_STAGES:
        for number in range(blocks):
            # a, b, c in the short stages; a, b1, b2, ... in the long ones
            letter = "abc"[number] if blocks == 3 else f"b{number}" if number else "a"
            blob = _block(
                net, f"{stage}{letter}", blob, scale, channels, stride, dilation, project=number == 0
            )
            stride = 1
    return blob


def _block(
    net: Builder,
    name: str,
    bottom: str,
    scale: str,
    channels: int,
    stride: int,
    dilation: int,
    project: bool,
) -> str:
    """Three convolutions beside a shortcut, which the first block of a stage convolves too."""
    shortcut = bottom
    if project:
        shortcut = _branch(net, name, "1", bottom, scale, 4 * channels, 1, stride=stride)
    blob = _branch(net, name, "2a", bottom, scale, channels, 1, stride=stride)
    blob = net.relu(f"res{name}_branch2a_relu{scale}", blob)
    blob = _branch(net, name, "2b", blob, scale, channels, 3, pad=dilation, dilation=dilation)
    blob = net.relu(f"res{name}_branch2b_relu{scale}", blob)
    blob = _branch(net, name, "2c", blob, scale, 4 * channels, 1)
    return net.relu(f"res{name}_relu{scale}", net.eltwise(f"res{name}{scale}", [shortcut, blob]))


def _branch(
    net: Builder,
    block: str,
    branch: str,
    bottom: str,
    scale: str,
    channels: int,
    kernel: int,
    **window: Any,
) -> str:
    name = f"{block}_branch{branch}"
    return _conv_norm(net, f"res{name}", name, bottom, scale, channels, kernel, **window)


def _conv_norm(
    net: Builder,
    conv: str,
    norm: str,
    bottom: str,
    scale: str,
    channels: int,
    kernel: int,
    **window: Any,
) -> str:
    """Convolution ``conv`` without bias, then in place the fixed normalisation: bn``norm``, scale``norm``.

    BatchNorm's decay_mult 0 is not in the released file: Caffe adds it when it reads such a layer.
    """
    blob = net.conv(
        f"{conv}{scale}",
        bottom,
        channels,
        kernel,
        bias=False,
        param=[{"name": f"{conv}_0", "lr_mult": 1.0, "decay_mult": 1.0}],
        **window,
    )
    net.add(
        "BatchNorm",
        f"bn{norm}{scale}",
        [blob],
        [blob],
        param=_fixed(f"bn{norm}", 3, decay_mult=0.0),
        batch_norm_param={"use_global_stats": True},
    )
    net.add(
        "Scale",
        f"scale{norm}{scale}",
        [blob],
        [blob],
        param=_fixed(f"scale{norm}", 2),
        scale_param={"bias_term": True},
    )
    return blob


def _resnet101_classifiers(net: Builder, bottom: str, scale: str) -> str:
    """Four dilated classifiers, summed; returns the scores."""
    scores = [
        net.conv(
            f"fc1_voc12{scale}_c{i}",
            bottom,
            VOC_CLASSES,
            3,
            pad=dilation,
            dilation=dilation,
            param=[{"name": f"fc1_voc12_c{i}_w"}, {"name": f"fc1_voc12_c{i}_b"}],
        )
        for i, dilation in enumerate(ASPP_DILATIONS)
    ]
    return net.eltwise(f"fc1_voc12{scale}", scores)


def _fixed(name: str, count: int, **options: float) -> list[dict]:
    """``count`` parameters of this name that are shared and not learned."""
    return [{"name": f"{name}_{i}", "lr_mult": 0.0, **options} for i in range(count)]

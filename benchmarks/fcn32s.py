"""FCN-32s as a prototxt for measurements: the published architecture with random weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # OpenCV's environment has none of what this imports
    from caffe_gp.gp import pycaffe

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels and convolutions of VGG-16's stages
CLASSES = 21


def prototxt(size: int = 500, force_backward: bool = False) -> str:
    """Deploy text for one ``size`` x ``size`` image, Softmax ``prob`` included."""
    lines = ['name: "fcn32s"', f'input: "data" input_shape {{ dim: 1 dim: 3 dim: {size} dim: {size} }}']
    if force_backward:
        lines.append("force_backward: true")
    bottom = "data"
    for stage, (channels, count) in enumerate(STAGES, 1):
        for i in range(1, count + 1):
            name = f"conv{stage}_{i}"
            lines += _convolution(name, bottom, channels, 3, 100 if name == "conv1_1" else 1)
            bottom = name
        lines.append(
            _layer(f"pool{stage}", "Pooling", bottom, "pooling_param { pool: MAX kernel_size: 2 stride: 2 }")
        )
        bottom = f"pool{stage}"
    for name, kernel in (("fc6", 7), ("fc7", 1)):
        lines += _convolution(name, bottom, 4096, kernel, 0)
        lines.append(_in_place(name.replace("fc", "drop"), "Dropout", name))
        bottom = name
    lines += _convolution("score_fr", bottom, CLASSES, 1, 0, relu=False)
    upscore = f"convolution_param {{ num_output: {CLASSES} kernel_size: 64 stride: 32 bias_term: false }}"
    lines.append(_layer("upscore", "Deconvolution", "score_fr", upscore))
    lines.append(
        'layer { name: "score" type: "Crop" bottom: "upscore" bottom: "data" top: "score" '
        "crop_param { axis: 2 offset: 19 } }"
    )
    lines.append('layer { name: "prob" type: "Softmax" bottom: "score" top: "prob" }')
    return "\n".join(lines) + "\n"


def fill(net: pycaffe.Net, seed: int = 0) -> None:
    """Random weights that keep activations alive, bilinear ``upscore``; the same on every engine.

    The last layer is scaled to scores like a trained net's (deviation near 9). Larger ones saturate
    the softmax, gradients fall below 1e-38, and arithmetic on such numbers is many times slower on a CPU: the
    times would say nothing about real nets.
    """
    from caffe_gp.gp.pycaffe import read_data, write_data

    random = np.random.RandomState(seed)
    for name, blobs in net.params.items():
        weight = np.zeros(read_data(blobs[0]).shape, np.float32)
        if name == "upscore":
            line = 1 - np.abs(np.arange(64) - 31.5) / 32
            weight[range(CLASSES), range(CLASSES)] = np.outer(line, line)
        elif weight.ndim == 4:
            # One block of numbers repeated: drawing 136 million takes longer than all passes together.
            scale = np.sqrt(2.0 / weight[0].size)
            block = random.standard_normal(min(weight.size, 1 << 20)).astype(np.float32) * np.float32(scale)
            weight[...] = np.resize(block, weight.shape)
            if name == "score_fr":
                weight *= 0.03
        else:
            continue
        write_data(blobs[0], weight)  # as files do: a view of fc6's weights would change how it is computed


def image(size: int = 500, seed: int = 1) -> np.ndarray:
    """A batch of one mean-subtracted noise image."""
    return np.random.RandomState(seed).uniform(-120, 130, (1, 3, size, size)).astype(np.float32)


def _convolution(name: str, bottom: str, channels: int, kernel: int, pad: int, relu: bool = True) -> list:
    param = f"convolution_param {{ num_output: {channels} kernel_size: {kernel} pad: {pad} }}"
    lines = [_layer(name, "Convolution", bottom, param)]
    if relu:
        lines.append(_in_place(name.replace("conv", "relu").replace("fc", "relu"), "ReLU", name))
    return lines


def _layer(name: str, kind: str, bottom: str, param: str) -> str:
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{name}" {param} }}'


def _in_place(name: str, kind: str, blob: str) -> str:
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{blob}" top: "{blob}" }}'

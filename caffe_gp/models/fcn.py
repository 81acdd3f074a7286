"""FCN (shelhamer/fcn.berkeleyvision.org): fully convolutional networks for PASCAL VOC and PASCAL-Context.

A VGG-16 (or AlexNet) whose fully connected layers are convolutions, a 1x1 convolution to class scores, and
fixed bilinear upsampling back to the image. The first convolution pads by 100, so that an image of any size
leaves something for fc6; the Crop offsets take that border away again. Images have their native size, the
scores too.

The Dropout layers of training are left out, as in the only deploy file that was released. Upsampling has no
filler: its weights are in the released files (bilinear, each class from itself).
"""

from __future__ import annotations

from typing import Any

from caffe_gp.models.builder import FIXED, Builder

INPUT_SHAPE = (1, 3, 500, 500)
VOC_CLASSES = 21
CONTEXT_CLASSES = 60

# VGG-16: channels and number of convolutions of each stage.
VGG16_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def fcn32s() -> Any:
    """FCN-32s: scores at stride 32, upsampled in one step."""
    net = Builder("fcn-32s", INPUT_SHAPE)
    scores = net.conv("score_fr", vgg16(net), VOC_CLASSES, 1)
    up = net.deconv("upscore", scores, VOC_CLASSES, 64, stride=32)
    net.crop("score", up, "data", offset=19)
    return net.param


def fcn16s() -> Any:
    """FCN-16s: the scores of FCN-32s and those of pool4."""
    net = Builder("fcn-16s", INPUT_SHAPE)
    fused = _fuse_pool4(net, vgg16(net), "pool4", VOC_CLASSES)
    up = net.deconv("upscore16", fused, VOC_CLASSES, 32, stride=16)
    net.crop("score", up, "data", offset=27)
    return net.param


def fcn8s() -> Any:
    """FCN-8s: the scores of FCN-16s and those of pool3; trained in stages ("heavy")."""
    net = Builder("fcn-8s", INPUT_SHAPE)
    _finish_8s(net, vgg16(net), "pool4", "pool3", VOC_CLASSES)
    return net.param


def fcn8s_context() -> Any:
    """FCN-8s with the 59 classes of PASCAL-Context and background."""
    net = Builder("fcn-8s-context", INPUT_SHAPE)
    _finish_8s(net, vgg16(net), "pool4", "pool3", CONTEXT_CLASSES)
    return net.param


def fcn8s_atonce() -> Any:
    """FCN-8s trained at once: pool4 and pool3 are scaled down before their scores, and fixed so."""
    net = Builder("fcn-8s-atonce", INPUT_SHAPE)
    fc7 = vgg16(net)
    pool4 = _scale(net, "scale_pool4", "pool4", 0.01)
    pool3 = _scale(net, "scale_pool3", "pool3", 0.0001)
    _finish_8s(net, fc7, pool4, pool3, VOC_CLASSES)
    return net.param


def fcn_alexnet() -> Any:
    """FCN-32s on AlexNet (CaffeNet's order: pooling before normalisation)."""
    net = Builder("fcn-alexnet", INPUT_SHAPE)
    blob = net.conv_relu("conv1", "data", 96, 11, "relu1", stride=4, pad=100)
    blob = _pool_and_norm(net, 1, blob)
    blob = net.conv_relu("conv2", blob, 256, 5, "relu2", pad=2, group=2)
    blob = _pool_and_norm(net, 2, blob)
    blob = net.conv_relu("conv3", blob, 384, 3, "relu3", pad=1)
    blob = net.conv_relu("conv4", blob, 384, 3, "relu4", pad=1, group=2)
    blob = net.conv_relu("conv5", blob, 256, 3, "relu5", pad=1, group=2)
    blob = net.max_pool("pool5", blob, 3, 2)
    blob = net.conv_relu("fc6", blob, 4096, 6, "relu6")
    blob = net.conv_relu("fc7", blob, 4096, 1, "relu7")
    scores = net.conv("score_fr", blob, VOC_CLASSES, 1)
    up = net.deconv("upscore", scores, VOC_CLASSES, 63, stride=32)
    net.crop("score", up, "data", offset=18)
    return net.param


def vgg16(net: Builder, dropout: bool = False) -> str:
    """VGG-16 from ``data`` to fc7, fully convolutional, padded by 100; returns the blob ``fc7``."""
    blob = "data"
    for stage, (channels, convs) in enumerate(VGG16_STAGES, 1):
        for i in range(1, convs + 1):
            pad = 100 if blob == "data" else 1
            blob = net.conv_relu(f"conv{stage}_{i}", blob, channels, 3, f"relu{stage}_{i}", pad=pad)
        blob = net.max_pool(f"pool{stage}", blob, 2, 2)
    for number, kernel in ((6, 7), (7, 1)):
        blob = net.conv_relu(f"fc{number}", blob, 4096, kernel, f"relu{number}")
        if dropout:
            blob = net.dropout(f"drop{number}", blob)
    return blob


def _fuse_pool4(net: Builder, fc7: str, pool4: str, classes: int) -> str:
    """Scores at stride 16: those of ``fc7``, upsampled, and those of ``pool4``."""
    up = net.deconv("upscore2", net.conv("score_fr", fc7, classes, 1), classes, 4, stride=2)
    skip = net.crop("score_pool4c", net.conv("score_pool4", pool4, classes, 1), up, offset=5)
    return net.eltwise("fuse_pool4", [up, skip])


def _finish_8s(net: Builder, fc7: str, pool4: str, pool3: str, classes: int) -> str:
    """From fc7 and the two skips (blobs) to ``score``."""
    fused = _fuse_pool4(net, fc7, pool4, classes)
    up = net.deconv("upscore_pool4", fused, classes, 4, stride=2)
    skip = net.crop("score_pool3c", net.conv("score_pool3", pool3, classes, 1), up, offset=9)
    fused = net.eltwise("fuse_pool3", [up, skip])
    return net.crop("score", net.deconv("upscore8", fused, classes, 16, stride=8), "data", offset=31)


def _scale(net: Builder, name: str, bottom: str, factor: float) -> str:
    filler = {"type": "constant", "value": factor}
    return net.add("Scale", name, [bottom], param=list(FIXED), scale_param={"filler": filler})


def _pool_and_norm(net: Builder, stage: int, blob: str) -> str:
    blob = net.max_pool(f"pool{stage}", blob, 3, 2)
    return net.add("LRN", f"norm{stage}", [blob], lrn_param={"local_size": 5, "alpha": 0.0001, "beta": 0.75})

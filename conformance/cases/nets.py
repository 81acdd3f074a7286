"""Whole nets of well-known kinds, smaller in width; the label maps of their scores must be identical."""

from __future__ import annotations

from conformance.case import BOTH, TRAIN, TWICE, Case
from conformance.prototxt import input_layer, layer


def conv(name: str, bottom: str, top: str, outputs: int, kernel: int = 3, extra: str = "") -> str:
    return layer(
        name,
        "Convolution",
        bottom,
        top,
        "convolution_param { num_output: %d kernel_size: %d pad: %d %s }"
        % (outputs, kernel, kernel // 2, extra),
    )


def relu(blob: str) -> str:
    return layer("relu_" + blob, "ReLU", blob, blob)


def pool(name: str, bottom: str, kind: str = "MAX", size: int = 2, stride: int = 2, pad: int = 0) -> str:
    return layer(
        name,
        "Pooling",
        bottom,
        name,
        "pooling_param { pool: %s kernel_size: %d stride: %d pad: %d }" % (kind, size, stride, pad),
    )


def fc(name: str, bottom: str, outputs: int) -> str:
    return layer(name, "InnerProduct", bottom, name, "inner_product_param { num_output: %d }" % outputs)


def net(*lines: str) -> str:
    return "\n".join(("force_backward: true",) + lines)


def block(name: str, bottom: str, outputs: int, extra: str = "", kernel: int = 3) -> str:
    """Convolution, BatchNorm, Scale, ReLU, as ResNet and MobileNet have them."""
    return "\n".join(
        [
            conv(name, bottom, name, outputs, kernel, "bias_term: false " + extra),
            layer("bn_" + name, "BatchNorm", name, name),
            layer("scale_" + name, "Scale", name, name, "scale_param { bias_term: true }"),
            relu(name),
        ]
    )


LENET = "\n".join(
    (
        input_layer({"data": (8, 1, 28, 28), "label": (8,)}),
        layer("conv1", "Convolution", "data", "conv1", "convolution_param { num_output: 20 kernel_size: 5 }"),
        pool("pool1", "conv1"),
        layer(
            "conv2", "Convolution", "pool1", "conv2", "convolution_param { num_output: 50 kernel_size: 5 }"
        ),
        pool("pool2", "conv2"),
        fc("ip1", "pool2", 100),
        relu("ip1"),
        fc("score", "ip1", 10),
        layer("loss", "SoftmaxWithLoss", "score label", "loss"),
        layer("accuracy", "Accuracy", "score label", "accuracy"),
        layer("prob", "Softmax", "score", "prob"),
    )
)
ALEXNET = net(
    input_layer({"data": (2, 3, 63, 59)}),
    layer(
        "conv1",
        "Convolution",
        "data",
        "conv1",
        "convolution_param { num_output: 12 kernel_size: 11 stride: 4 }",
    ),
    relu("conv1"),
    pool("pool1", "conv1", size=3),
    layer("norm1", "LRN", "pool1", "norm1", "lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 }"),
    conv("conv2", "norm1", "conv2", 16, 5, "group: 2"),
    relu("conv2"),
    pool("pool2", "conv2", size=3),
    layer(
        "norm2", "LRN", "pool2", "norm2", "lrn_param { local_size: 3 alpha: 0.1 norm_region: WITHIN_CHANNEL }"
    ),
    conv("conv3", "norm2", "conv3", 16),
    relu("conv3"),
    fc("fc6", "conv3", 32),
    relu("fc6"),
    layer("drop6", "Dropout", "fc6", "fc6"),
    fc("score", "fc6", 10),
    layer("prob", "Softmax", "score", "prob"),
)
# FCN-8s's shape: padded first convolution, three stages with a skip each, cropped at FCN's kind of offsets.
FCN = net(
    input_layer({"data": (1, 2, 20, 26)}),
    layer(
        "conv1", "Convolution", "data", "conv1", "convolution_param { num_output: 6 kernel_size: 3 pad: 8 }"
    ),
    relu("conv1"),
    pool("pool1", "conv1"),
    conv("conv2", "pool1", "conv2", 8),
    relu("conv2"),
    pool("pool2", "conv2"),
    conv("conv3", "pool2", "conv3", 8),
    relu("conv3"),
    pool("pool3", "conv3"),
    layer("fc6", "Convolution", "pool3", "fc6", "convolution_param { num_output: 12 kernel_size: 3 }"),
    relu("fc6"),
    layer("drop6", "Dropout", "fc6", "fc6"),
    conv("score_fr", "fc6", "score_fr", 5, 1),
    layer(
        "upscore2",
        "Deconvolution",
        "score_fr",
        "upscore2",
        "convolution_param { num_output: 5 kernel_size: 4 stride: 2 }",
    ),
    conv("score_pool2", "pool2", "score_pool2", 5, 1),
    layer("score_pool2c", "Crop", "score_pool2 upscore2", "score_pool2c", "crop_param { axis: 2 offset: 1 }"),
    layer("fuse", "Eltwise", "upscore2 score_pool2c", "fuse", "eltwise_param { operation: SUM }"),
    layer(
        "upscore",
        "Deconvolution",
        "fuse",
        "upscore",
        "convolution_param { num_output: 5 group: 5 bias_term: false kernel_size: 8 stride: 4 }",
    ),
    layer(
        "upscore8",
        "Deconvolution",
        "upscore",
        "upscore8",
        "convolution_param { num_output: 5 kernel_size: 4 stride: 2 }",
    ),
    layer("score", "Crop", "upscore8 data", "score", "crop_param { axis: 2 offset: 5 }"),
    layer("prob", "Softmax", "score", "prob"),
)
# In the wide padding whole windows of pool2 tie: which of the equal numbers gets the diff is up to rounding.
FCN_TIES = ("diff/conv1", "diff/pool1", "diff/conv2")
DEEPLAB = net(
    input_layer({"data": (1, 3, 33, 29), "label": (1, 1, 9, 8)}),
    conv("conv1", "data", "conv1", 8),
    relu("conv1"),
    pool("pool1", "conv1", size=3, pad=1),
    conv("conv2", "pool1", "conv2", 8),
    relu("conv2"),
    pool("pool2", "conv2", size=3, pad=1),
    pool("pool3", "pool2", size=3, stride=1, pad=1),
    layer(
        "conv5",
        "Convolution",
        "pool3",
        "conv5",
        "convolution_param { num_output: 8 kernel_size: 3 pad: 2 dilation: 2 }",
    ),
    relu("conv5"),
    pool("pool5a", "conv5", "AVE", 3, 1, 1),
    layer(
        "fc6_1",
        "Convolution",
        "pool5a",
        "fc6_1",
        "convolution_param { num_output: 8 kernel_size: 3 pad: 6 dilation: 6 }",
    ),
    layer(
        "fc6_2",
        "Convolution",
        "pool5a",
        "fc6_2",
        "convolution_param { num_output: 8 kernel_size: 3 pad: 12 dilation: 12 }",
    ),
    conv("fc8_1", "fc6_1", "fc8_1", 21, 1),
    conv("fc8_2", "fc6_2", "fc8_2", 21, 1),
    layer("fc8", "Eltwise", "fc8_1 fc8_2", "score"),
    layer("loss", "SoftmaxWithLoss", "score label", "loss", "loss_param { ignore_label: 255 }"),
    layer("prob", "Softmax", "score", "prob"),
)
INCEPTION = net(
    input_layer({"data": (2, 8, 14, 14)}),
    conv("b1", "data", "b1", 4, 1),
    relu("b1"),
    conv("b2r", "data", "b2r", 3, 1),
    relu("b2r"),
    conv("b2", "b2r", "b2", 6, 3),
    relu("b2"),
    conv("b3r", "data", "b3r", 2, 1),
    relu("b3r"),
    conv("b3", "b3r", "b3", 4, 5),
    relu("b3"),
    pool("p", "data", size=3, stride=1, pad=1),
    conv("b4", "p", "b4", 4, 1),
    relu("b4"),
    layer("out", "Concat", "b1 b2 b3 b4", "out"),
    layer("gap", "Pooling", "out", "gap", "pooling_param { pool: AVE global_pooling: true }"),
    fc("score", "gap", 10),
    layer("prob", "Softmax", "score", "prob"),
)
RESNET = net(
    input_layer({"data": (2, 3, 24, 20)}),
    block("conv1", "data", 8, "stride: 2"),
    pool("pool1", "conv1", size=3),
    block("a1", "pool1", 8),
    conv("a2", "a1", "a2", 8, 3, "bias_term: false"),
    layer("bn_a2", "BatchNorm", "a2", "a2"),
    layer("scale_a2", "Scale", "a2", "a2", "scale_param { bias_term: true }"),
    layer("res_a", "Eltwise", "pool1 a2", "res_a"),
    relu("res_a"),
    block("b1", "res_a", 16, "stride: 2"),
    block("b2", "b1", 16),
    block("proj", "res_a", 16, "stride: 2 ", 1),
    layer("res_b", "Eltwise", "proj b2", "res_b"),
    relu("res_b"),
    conv("score", "res_b", "score", 7, 1),
    layer("prob", "Softmax", "score", "prob"),
    layer("labels", "ArgMax", "prob", "labels", "argmax_param { axis: 1 }"),
)
MOBILENET = net(
    input_layer({"data": (1, 3, 21, 17)}),
    block("conv1", "data", 8, "stride: 2"),
    block("dw1", "conv1", 8, "group: 8"),
    block("pw1", "dw1", 16, "", 1),
    block("dw2", "pw1", 16, "group: 16 stride: 2"),
    block("pw2", "dw2", 24, "", 1),
    conv("score", "pw2", "score", 21, 1),
    layer("prob", "Softmax", "score", "prob"),
)
UNET = net(
    input_layer({"data": (1, 1, 20, 16)}),
    conv("d1", "data", "d1", 6),
    relu("d1"),
    pool("p1", "d1"),
    conv("d2", "p1", "d2", 8),
    relu("d2"),
    pool("p2", "d2"),
    conv("mid", "p2", "mid", 10),
    layer("elu", "ELU", "mid", "mid"),
    layer("u2", "Deconvolution", "mid", "u2", "convolution_param { num_output: 8 kernel_size: 2 stride: 2 }"),
    layer("cat2", "Concat", "u2 d2", "cat2"),
    conv("e2", "cat2", "e2", 8),
    layer("prelu", "PReLU", "e2", "e2"),
    layer("u1", "Deconvolution", "e2", "u1", "convolution_param { num_output: 6 kernel_size: 2 stride: 2 }"),
    layer("cat1", "Concat", "u1 d1", "cat1"),
    conv("score", "cat1", "score", 2),
    layer("prob", "Softmax", "score", "prob"),
)
SIAMESE = net(
    input_layer({"data": (6, 1, 12, 12), "pair": (6, 1, 12, 12), "label": (6,)}),
    *[
        line
        for side, source in (("", "data"), ("_p", "pair"))
        for line in (
            layer(
                "conv" + side,
                "Convolution",
                source,
                "conv" + side,
                "convolution_param { num_output: 4 kernel_size: 5 } "
                'param { name: "cw" } param { name: "cb" }',
            ),
            pool("pool" + side, "conv" + side),
            layer(
                "feat" + side,
                "InnerProduct",
                "pool" + side,
                "feat" + side,
                'inner_product_param { num_output: 2 } param { name: "fw" } param { name: "fb" }',
            ),
        )
    ],
    layer("loss", "ContrastiveLoss", "feat feat_p label", "loss", "contrastive_loss_param { margin: 1 }"),
)
# (BVLC Caffe's Accuracy and ArgMax abort in a backward, so nets that hold one are not forced.)
# The dialects before today's.
V1 = """
name: "v1"  force_backward: true
input: "data"  input_dim: 2 input_dim: 3 input_dim: 11 input_dim: 9
layers { name: "conv1" type: CONVOLUTION bottom: "data" top: "conv1"
         blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0
         convolution_param { num_output: 4 kernel_size: 3 group: 1 } }
layers { name: "relu1" type: RELU bottom: "conv1" top: "conv1" }
layers { name: "pool1" type: POOLING bottom: "conv1" top: "pool1"
         pooling_param { pool: AVE kernel_size: 3 stride: 2 } }
layers { name: "norm1" type: LRN bottom: "pool1" top: "norm1" }
layers { name: "cat" type: CONCAT bottom: "norm1" bottom: "pool1" top: "cat" concat_param { concat_dim: 1 } }
layers { name: "fc" type: INNER_PRODUCT bottom: "cat" top: "fc" inner_product_param { num_output: 6 } }
layers { name: "drop" type: DROPOUT bottom: "fc" top: "fc" include { phase: TEST } }
layers { name: "prob" type: SOFTMAX bottom: "fc" top: "prob" }
"""
V0 = """
name: "v0"  force_backward: true
input: "data"  input_dim: 2 input_dim: 3 input_dim: 11 input_dim: 9
layers { layer { name: "pad1" type: "padding" pad: 1 } bottom: "data" top: "pad1" }
layers { layer { name: "conv1" type: "conv" num_output: 4 kernelsize: 3 stride: 2 blobs_lr: 1. blobs_lr: 2. }
         bottom: "pad1" top: "conv1" }
layers { layer { name: "relu1" type: "relu" } bottom: "conv1" top: "conv1" }
layers { layer { name: "pool1" type: "pool" pool: MAX kernelsize: 2 stride: 2 } bottom: "conv1" top: "pool1" }
layers { layer { name: "fc" type: "innerproduct" num_output: 6 biasterm: true } bottom: "pool1" top: "fc" }
layers { layer { name: "prob" type: "softmax" } bottom: "fc" top: "prob" }
"""
INPUT_SHAPE = """
force_backward: true
input: "a" input_shape { dim: 2 dim: 3 } input: "b" input_shape { dim: 2 dim: 3 }
layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" bottom: "a" top: "sum" }
layer { name: "out" type: "TanH" bottom: "a" top: "out" }
"""
PHASES = "\n".join(
    [
        input_layer({"data": (2, 3), "label": (2,)}),
        layer("train", "TanH", "data", "x", "include { phase: TRAIN }"),
        layer("test", "Sigmoid", "data", "x", "include { phase: TEST }"),
        layer("not", "AbsVal", "x", "y", "exclude { phase: TRAIN }"),
        layer("deep", "Power", "x", "z", "include { min_level: 1 }"),
        layer("low", "BNLL", "x", "w", "include { max_level: 0 phase: TEST }"),
        layer("stage", "Exp", "x", "v", 'exclude { not_stage: "s" }'),
        layer("score", "InnerProduct", "x", "score", "inner_product_param { num_output: 3 }"),
        layer("acc", "Accuracy", "score label", "acc", "include { phase: TEST }"),
        layer("loss", "SoftmaxWithLoss", "score label", "loss"),
    ]
)


def cases() -> list[Case]:
    found = []
    for name, text in (
        ("LeNet", LENET),
        ("AlexNet", ALEXNET),
        ("FCN", FCN),
        ("DeepLab", DEEPLAB),
        ("Inception", INCEPTION),
        ("ResNet", RESNET),
        ("MobileNet", MOBILENET),
        ("U-Net", UNET),
        ("Siamese", SIAMESE),
    ):
        schemes = {"data": "gauss"}
        if 'top: "label"' in text:
            schemes["label"] = {"LeNet": "ints 10", "DeepLab": "labels 21 255", "Siamese": "ints 2"}[name]
        if name == "Siamese":
            schemes["pair"] = "gauss"
        skip = {"ResNet": ("diff/labels",), "FCN": FCN_TIES}.get(name, ())
        found.append(
            Case(
                name,
                "whole nets",
                text.replace("force_backward: true\n", "") if name == "ResNet" else text,
                inputs=schemes,
                steps=TWICE,
                skip=skip,
            )
        )
    for name, text, schemes in (
        ("V1 dialect", V1, {"data": "gauss"}),
        ("V0 dialect", V0, {"data": "gauss"}),
        ("input_shape", INPUT_SHAPE, {"a": "gauss", "b": "gauss"}),
        ("phases, levels and stages", PHASES, {"data": "gauss", "label": "ints 3"}),
    ):
        for phase in (0, 1) if name != "V1 dialect" else (1,):
            found.append(
                Case(
                    name + (" TRAIN" if phase == TRAIN else " TEST"),
                    "dialects and rules",
                    text,
                    inputs=schemes,
                    phase=phase,
                    steps=BOTH,
                )
            )
    return found

"""Parts of nets: forward and backward between any two layers, edited blobs, what takes part in a backward."""

from __future__ import annotations

from typing import Sequence

from conformance.case import BOTH, TEST, TRAIN, Case, Step
from conformance.cases import nets
from conformance.prototxt import input_layer, layer


def cases() -> list[Case]:
    return (
        between_layers() + edited_blobs() + taking_part() + reshapes() + shared_parameters() + weight_files()
    )


def between_layers() -> list[Case]:
    """Every pair of layers of small nets with in-place layers, splits and skips."""
    found = []
    for name, text, names in (("skip", SKIP, SKIP_LAYERS), ("chain", CHAIN, CHAIN_LAYERS)):
        for start in range(len(names)):
            steps: list[Step] = [("forward",), ("backward",)]
            for end in range(start, len(names)):
                steps += [("edit", "data"), ("forward", names[start], names[end]), ("record",)]
            found.append(
                Case(
                    f"{name} forward from {names[start]}",
                    "forward(start, end)",
                    text,
                    inputs=INPUTS,
                    steps=steps,
                )
            )
            # A forward before each: in a backward, BVLC Caffe's in-place Scale overwrites its input's copy.
            steps = []
            for end in range(start + 1):
                steps += [
                    ("forward",),
                    ("seed",),
                    ("seed", "score"),
                    ("backward", names[start], names[end]),
                    ("record",),
                ]
            found.append(
                Case(
                    f"{name} backward from {names[start]}",
                    "backward(start, end)",
                    text,
                    inputs=INPUTS,
                    steps=steps,
                )
            )
    return found


def edited_blobs() -> list[Case]:
    """GP at an inner blob: backward to the layers that read it, a step, forward from there."""
    found = []
    steps: list[Step]
    for blob, reader in (("data", "conv1"), ("pool1", "conv2"), ("pool2", "conv3"), ("score", "prob")):
        for start in ("fuse", "prob"):
            steps = [
                ("forward",),
                ("record",),
                ("seed", "score" if start == "fuse" else "prob"),
                ("backward", start, reader),
                ("record",),
                ("edit", blob),
                ("forward", reader),
                ("record",),
                ("backward",),
                ("record",),
            ]
            if not (blob == "score" and start == "fuse"):
                found.append(
                    Case(f"skip edited {blob} from {start}", "edited blobs", SKIP, inputs=INPUTS, steps=steps)
                )
    for split in ("pool1_pool1_0_split", "pool2_pool2_0_split"):
        blob = split.split("_")[0]
        steps = [
            ("forward",),
            ("seed", "score"),
            ("backward", "fuse", split),
            ("record",),
            ("edit", blob),
            ("forward", split),
            ("record",),
            ("edit", blob),
            ("forward", "conv3"),
            ("record",),
        ]
        found.append(
            Case(f"skip edited {blob} at its split", "edited blobs", SKIP, inputs=INPUTS, steps=steps)
        )
    return found


INPUTS = {"data": "gauss"}


def conv(
    name: str, bottom: str, top: str, outputs: int, extra: str = "kernel_size: 3 pad: 1", more: str = ""
) -> str:
    return layer(
        name,
        "Convolution",
        bottom,
        top,
        "convolution_param { num_output: %d %s } %s" % (outputs, extra, more),
    )


def pool(name: str, bottom: str, top: str) -> str:
    return layer(name, "Pooling", bottom, top, "pooling_param { pool: MAX kernel_size: 2 stride: 2 }")


# An FCN in small: in-place ReLUs, two pools that skip branches read, cropped sums.
SKIP_TEXT = [
    conv("conv1", "data", "conv1", 4),
    layer("relu1", "ReLU", "conv1", "conv1"),
    pool("pool1", "conv1", "pool1"),
    conv("conv2", "pool1", "conv2", 5),
    layer("relu2", "ReLU", "conv2", "conv2"),
    pool("pool2", "conv2", "pool2"),
    conv("conv3", "pool2", "conv3", 6),
    layer("relu3", "ReLU", "conv3", "conv3"),
    layer("drop3", "Dropout", "conv3", "conv3"),
    conv("score3", "conv3", "score3", 3, "kernel_size: 1"),
    layer(
        "up3",
        "Deconvolution",
        "score3",
        "up3",
        "convolution_param { num_output: 3 kernel_size: 4 stride: 2 bias_term: false }",
    ),
    conv("score1", "pool1", "score1", 3, "kernel_size: 1"),
    conv("score2", "pool2", "score2", 3, "kernel_size: 1"),
    layer("crop", "Crop", "up3 score1", "crop", "crop_param { axis: 2 offset: 1 }"),
    layer(
        "up2",
        "Deconvolution",
        "score2",
        "up2",
        "convolution_param { num_output: 3 kernel_size: 2 stride: 2 bias_term: false }",
    ),
    layer("fuse", "Eltwise", "crop score1 up2", "score"),
    layer("prob", "Softmax", "score", "prob"),
]
SKIP = "\n".join(["force_backward: true", input_layer({"data": (1, 2, 8, 12)})] + SKIP_TEXT)
SKIP_LAYERS = [
    "input",
    "conv1",
    "relu1",
    "pool1",
    "pool1_pool1_0_split",
    "conv2",
    "relu2",
    "pool2",
    "pool2_pool2_0_split",
    "conv3",
    "relu3",
    "drop3",
    "score3",
    "up3",
    "score1",
    "score1_score1_0_split",
    "score2",
    "crop",
    "up2",
    "fuse",
    "prob",
]
CHAIN = "\n".join(
    [
        "force_backward: true",
        input_layer({"data": (2, 2, 6, 5)}),
        conv("conv1", "data", "a", 3),
        layer("bn", "BatchNorm", "a", "a"),
        layer("scale", "Scale", "a", "a", "scale_param { bias_term: true }"),
        layer("relu", "ReLU", "a", "a"),
        layer("sigmoid", "Sigmoid", "a", "b"),
        layer("tanh", "TanH", "a", "c"),
        layer("concat", "Concat", "b c a", "d"),
        layer("slice", "Slice", "d", "e f", "slice_param { slice_point: 4 }"),
        layer("silence", "Silence", "f", ""),
        layer("ip", "InnerProduct", "e", "score", "inner_product_param { num_output: 4 }"),
        layer("softmax", "Softmax", "score", "score2"),
    ]
)
CHAIN_LAYERS = [
    "input",
    "conv1",
    "bn",
    "scale",
    "relu",
    "a_relu_0_split",
    "sigmoid",
    "tanh",
    "concat",
    "slice",
    "silence",
    "ip",
    "softmax",
]


def taking_part() -> list[Case]:
    """need_backward: losses, loss weights, learning rates, propagate_down, force_backward, stale diffs."""
    found = []
    for name, text in _losses().items():
        for phase in (TRAIN, TEST):
            # A diff of 1 everywhere at a Softmax gives zeros up to rounding.
            top: list[Step] = [("seed", "prob")] if "probe" in name else []
            steps = (
                BOTH[:2]
                + top
                + BOTH[2:]
                + [
                    ("refill",),
                    ("forward",),
                    ("backward",),
                    ("record",),
                    ("clear_param_diffs",),
                    ("backward",),
                    ("record",),
                ]
            )
            found.append(
                Case(
                    "{} {}".format(name, "TRAIN" if phase == TRAIN else "TEST"),
                    "need_backward",
                    text,
                    phase=phase,
                    inputs={"data": "gauss", "label": "ints 3"},
                    steps=steps,
                )
            )
    return found


def _net(*lines: str, head: str = "") -> str:
    data: dict[str, Sequence[int]] = {"data": (2, 2, 6, 5), "label": (2,)}
    return "\n".join([head, input_layer(data)] + list(lines))


def _losses() -> dict[str, str]:
    """What it is -> a net. Over 60 lines because it is a list."""
    net, frozen = _net, "param { lr_mult: 0 } param { lr_mult: 0 }"
    ip = layer("ip", "InnerProduct", "b", "score", "inner_product_param { num_output: 3 } %s")
    loss = layer("loss", "SoftmaxWithLoss", "score label", "loss")
    relu = layer("relu", "ReLU", "a", "b")
    return {
        **_propagate_down(ip, loss),
        "no loss": net(conv("c", "data", "a", 3), relu, ip % ""),
        "loss": net(conv("c", "data", "a", 3), relu, ip % "", loss),
        "frozen conv": net(conv("c", "data", "a", 3, more=frozen), relu, ip % "", loss),
        "frozen ip": net(conv("c", "data", "a", 3), relu, ip % frozen, loss),
        "all frozen": net(conv("c", "data", "a", 3, more=frozen), relu, ip % frozen, loss),
        "all frozen, forced": net(
            conv("c", "data", "a", 3, more=frozen), relu, ip % frozen, loss, head="force_backward: true"
        ),
        "half frozen": net(
            conv("c", "data", "a", 3, more="param { lr_mult: 0 } param { lr_mult: 2 }"), relu, ip % "", loss
        ),
        "no loss, forced": net(conv("c", "data", "a", 3), relu, ip % "", head="force_backward: true"),
        "ip does not propagate": net(conv("c", "data", "a", 3), relu, ip % "propagate_down: false", loss),
        "ip does not propagate, forced": net(
            conv("c", "data", "a", 3), relu, ip % "propagate_down: false", loss, head="force_backward: true"
        ),
        "conv propagates": net(conv("c", "data", "a", 3, more="propagate_down: true"), relu, ip % "", loss),
        "loss weight 0": net(
            conv("c", "data", "a", 3),
            relu,
            ip % "",
            layer("loss", "SoftmaxWithLoss", "score label", "loss", "loss_weight: 0"),
        ),
        "loss weight 0.5": net(
            conv("c", "data", "a", 3),
            relu,
            ip % "",
            layer("loss", "SoftmaxWithLoss", "score label", "loss", "loss_weight: 0.5"),
        ),
        "two losses": net(
            conv("c", "data", "a", 3),
            relu,
            ip % "",
            loss,
            layer("sum", "Reduction", "a", "sum", "loss_weight: 0.1"),
        ),
        "loss and accuracy": net(
            conv("c", "data", "a", 3), relu, ip % "", loss, layer("acc", "Accuracy", "score label", "acc")
        ),
        "loss beside an output": net(
            conv("c", "data", "a", 3), relu, ip % "", loss, layer("side", "TanH", "a", "side")
        ),
        "loss beside a silenced branch": net(
            conv("c", "data", "a", 3),
            relu,
            ip % "",
            loss,
            layer("side", "TanH", "a", "side"),
            layer("hush", "Silence", "side", ""),
        ),
        "softmax as the loss, with a probe": net(
            layer("probe", "Bias", "data", "x", "param { lr_mult: 1 } bias_param { axis: 0 num_axes: 0 }"),
            conv("c", "x", "a", 3, more=frozen),
            relu,
            ip % frozen,
            layer("prob", "Softmax", "score", "prob", "loss_weight: 1"),
        ),
    }


def _propagate_down(ip: str, loss: str) -> dict[str, str]:
    """propagate_down chooses which bottoms get a diff, not which layers take part."""
    pooled = "pooling_param { kernel_size: 2 stride: 2 }"
    first, second = conv("c1", "data", "a1", 2), conv("c2", "data", "a2", 2)
    found = {
        "pool propagates to the input": [
            layer("pool", "Pooling", "data", "b", f"propagate_down: true {pooled}"),
            ip % "",
        ],
        "ip cuts, layers above the conv": [
            conv("c", "data", "a", 3),
            layer("relu", "ReLU", "a", "a1"),
            layer("tanh", "TanH", "a1", "b"),
            ip % "propagate_down: false",
        ],
        "tanh cuts, layers between": [
            conv("c", "data", "a", 3),
            layer("relu", "ReLU", "a", "a1"),
            layer("tanh", "TanH", "a1", "a2", "propagate_down: false"),
            layer("sigmoid", "Sigmoid", "a2", "b"),
            ip % "",
        ],
        "in-place relu cuts": [
            conv("c", "data", "b", 3),
            layer("relu", "ReLU", "b", "b", "propagate_down: false"),
            ip % "",
        ],
        "concat propagates to an input": [
            conv("c", "data", "a", 2),
            layer("cat", "Concat", "a data", "b", "propagate_down: true propagate_down: true"),
            ip % "",
        ],
    }
    for flags in ("true false", "false true", "false false"):
        extra = " ".join("propagate_down: " + flag for flag in flags.split())
        found[f"sum propagates {flags}"] = [
            first,
            second,
            layer("sum", "Eltwise", "a1 a2", "b", extra),
            ip % "",
        ]
    cut = layer(
        "loss", "SoftmaxWithLoss", "score label", "loss", "propagate_down: false propagate_down: false"
    )
    return {
        **{name: _net(*lines, loss) for name, lines in found.items()},
        "loss does not propagate": _net(conv("c", "data", "b", 3), ip % "", cut),
    }


SHARED = "\n".join(
    [
        "force_backward: true",
        input_layer({"data": (2, 2, 6, 5)}),
        conv("c1", "data", "a", 2, more='param { name: "w" } param { name: "b" }'),
        conv("c2", "a", "b", 2, more='param { name: "w" } param { name: "b" lr_mult: 2 }'),
        conv("c3", "b", "c", 2, more='param { name: "w" }'),
        layer("ip1", "InnerProduct", "c", "d", 'inner_product_param { num_output: 4 } param { name: "v" }'),
        layer("e1", "Reduction", "d", "e", "loss_weight: 1"),
    ]
)


def reshapes() -> list[Case]:
    """Lazily reshaped nets."""
    found = []
    for shape in ((1, 2, 8, 12), (2, 2, 9, 7), (1, 2, 16, 20)):
        steps: list[Step] = [
            ("forward",),
            ("reshape", "data") + shape,
            ("refill",),
            ("forward",),
            ("seed",),
            ("backward",),
            ("record",),
        ]
        # score1's and up3's sizes follow; the crop needs them to fit.
        found.append(
            Case(
                "skip reshaped to %dx%dx%dx%d" % shape,
                "reshape",
                nets.FCN,
                inputs=INPUTS,
                steps=steps,
                skip=nets.FCN_TIES,
            )
        )
        steps = [
            ("forward",),
            ("reshape", "data") + shape,
            ("net_reshape",),
            ("refill",),
            ("forward",),
            ("record",),
        ]
        found.append(
            Case(
                "skip reshaped at once to %dx%dx%dx%d" % shape,
                "reshape",
                nets.FCN,
                inputs=INPUTS,
                steps=steps,
            )
        )
    return found + [memory()]


def memory() -> Case:
    """What blobs hold after new shapes, before and after the layers follow: memory of the capacity."""
    steps: list[Step] = [("forward",), ("seed",), ("backward",), ("record",)]
    for shape in ((1, 2, 6, 5), (2, 2, 4, 4), (2, 2, 7, 6), (1, 2, 3, 4), (2, 2, 6, 5), (3, 2, 8, 7)):
        # A backward of the last layers only: the others keep diffs of earlier sizes.
        steps += [("reshape", "data") + shape, ("record",), ("net_reshape",), ("record",), ("forward",)]
        steps += [("seed",), ("backward", "sum", "tanh"), ("record",)]
    text = [
        "force_backward: true",
        input_layer({"data": (2, 2, 6, 5)}),
        conv("conv", "data", "a", 3),
        layer("relu", "ReLU", "a", "a"),
        layer("sigmoid", "Sigmoid", "a", "b"),
        layer("tanh", "TanH", "a", "c"),
        layer("flat", "Flatten", "c", "f"),
        layer("back", "Reshape", "f", "g", "reshape_param { shape { dim: 0 dim: 3 dim: -1 } }"),
        layer("flat_b", "Reshape", "b", "h", "reshape_param { shape { dim: 0 dim: 3 dim: -1 } }"),
        layer("sum", "Eltwise", "g h", "total"),
    ]
    return Case("memory within capacity", "reshape", "\n".join(text), inputs=INPUTS, steps=steps)


def shared_parameters() -> list[Case]:
    found = []
    found.append(Case("parameters shared by name", "shared parameters", SHARED, inputs=INPUTS, steps=BOTH))
    permissive = "\n".join(
        [
            "force_backward: true",
            input_layer({"data": (3, 4), "more": (3, 2, 2)}),
            layer(
                "ip1",
                "InnerProduct",
                "data",
                "d",
                'inner_product_param { num_output: 4 } param { name: "v" }',
            ),
            layer(
                "ip2",
                "InnerProduct",
                "more",
                "e",
                'inner_product_param { num_output: 4 } param { name: "v" share_mode: PERMISSIVE }',
            ),
        ]
    )
    found.append(
        Case(
            "permissive sharing",
            "shared parameters",
            permissive,
            inputs={"data": "gauss", "more": "gauss"},
            steps=BOTH,
        )
    )
    return found


def weight_files() -> list[Case]:
    """Weights written and read back."""
    found = []
    for files in (("w.caffemodel",), ("w.caffemodel.h5",), ("w.caffemodel", "w.caffemodel.h5")):
        steps = [("save_load",) + files, ("forward",), ("record",)]
        found.append(
            Case("weights through " + " and ".join(files), "weight files", SKIP, inputs=INPUTS, steps=steps)
        )
        found.append(
            Case(
                "shared weights through " + " and ".join(files),
                "weight files",
                SHARED,
                inputs=INPUTS,
                steps=steps,
            )
        )
    return found

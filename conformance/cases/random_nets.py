"""Nets of many branches from a seeded generator, with passes between random layers."""

from __future__ import annotations

import math
from typing import Callable, Tuple

import numpy as np

from conformance.case import TWICE, Case, Step
from conformance.prototxt import input_layer, layer

# With force_backward, and without: there losses decide what takes part.
FORCED, UNFORCED = [*range(240), *range(320, 324)], range(240, 320)
# These nets make equal numbers, by a Softmax of one channel say, so that maxima tie whatever the values are.
TIES = (66, 123, 173, 217)
Shape = Tuple[int, ...]


class NetMaker:
    """Grows one net layer by layer: each step takes a blob that exists and adds a layer on it."""

    def __init__(self, seed: int, forced: bool = True) -> None:
        self.forced = forced
        self.random = np.random.RandomState(seed)
        batch, channels = self.random.randint(1, 4), self.random.randint(1, 5)
        data = (batch, channels) + tuple(self.random.randint(5, 14, 2))
        self.shapes: dict[str, Shape] = {"data": data}
        self.lines = ["force_backward: true"] if forced else []
        self.lines.append(input_layer({"data": data, "label": (batch,)}))
        self.layers: list[tuple[str, list[str], list[str]]] = []  # (name, bottoms, tops)
        self.read: set = set()
        # What MVN may normalise: where all values are nearly equal, float32 leaves it only noise.
        self.varied = {"data"}

    def text(self) -> str:
        return "\n".join(self.lines)

    def add(self, kind: str, bottoms: list[str], tops: dict[str, Shape], extra: str = "") -> None:
        name = "%s%d" % (kind.lower(), len(self.layers) + 1)
        if not self.forced and kind in ("Convolution", "Deconvolution", "InnerProduct"):
            extra += self.random.choice(["", "", " param { lr_mult: 0 }", " param { lr_mult: 2 }"])
            extra += self.random.choice(["", "", "", " propagate_down: false", " propagate_down: true"])
        self.layers.append((name, bottoms, list(tops)))
        self.lines.append(layer(name, kind, bottoms, list(tops), extra))
        self.read.update(blob for blob in bottoms if blob not in tops)
        if kind == "Convolution":
            self.varied.update(tops)
        self.shapes.update(tops)

    def new(self) -> str:
        return "x%d" % len(self.shapes)

    def pick(self) -> str:
        names = list(self.shapes)
        return names[self.random.randint(len(names))] if self.random.rand() < 0.5 else names[-1]

    def same(self, fits: Callable[[Shape], bool]) -> str:
        names = [name for name, shape in self.shapes.items() if fits(shape)]
        return names[self.random.randint(len(names))]

    def grow(self) -> None:
        blob = self.pick()
        shape = self.shapes[blob]
        kinds = SPATIAL + SIMPLE if min(shape[2:]) >= 2 else SIMPLE
        kind = kinds[self.random.randint(len(kinds))]
        if kind == "MVN" and blob not in self.varied:
            return
        if kind == "Scale" and not self.forced:
            kind = "Bias"  # BVLC Caffe's Scale scribbles in the diff of a bottom that takes no part
        if kind in UNARY:
            extra, may_work_in_place = UNARY[kind]
            # In place only on a blob that nobody has read: else Caffe itself computes something else.
            in_place = (
                may_work_in_place and self.random.rand() < 0.6 and blob not in self.read and blob != "data"
            )
            self.add(kind, [blob], {blob if in_place else self.new(): shape}, extra)
        else:
            getattr(self, kind)(blob, shape)

    def convolution(self, blob: str, shape: Shape) -> None:
        r = self.random
        kernel, stride, pad, dilation, group = (
            r.randint(1, 4),
            r.randint(1, 3),
            r.randint(0, 3),
            r.randint(1, 3),
            1,
        )
        outputs = r.randint(1, 6)
        if r.rand() < 0.3:
            group, outputs = shape[1], shape[1] * r.randint(1, 3)
        room = [size + 2 * pad - (dilation * (kernel - 1) + 1) for size in shape[2:]]
        if min(room) < 0:
            return
        self.add(
            "Convolution",
            [blob],
            {self.new(): (shape[0], outputs) + tuple(n // stride + 1 for n in room)},
            "convolution_param { num_output: %d kernel_size: %d stride: %d pad: %d dilation: %d group: %d "
            "bias_term: %s }"
            % (outputs, kernel, stride, pad, dilation, group, "true" if r.rand() < 0.8 else "false"),
        )

    def deconvolution(self, blob: str, shape: Shape) -> None:
        r = self.random
        kernel, stride, outputs = r.randint(1, 5), r.randint(1, 4), r.randint(1, 4)
        pad = r.randint(0, min(2, kernel))
        sizes = tuple(stride * (size - 1) + kernel - 2 * pad for size in shape[2:])
        if 1 <= min(sizes) and max(sizes) <= 30:
            self.add(
                "Deconvolution",
                [blob],
                {self.new(): (shape[0], outputs) + sizes},
                "convolution_param { num_output: %d kernel_size: %d stride: %d pad: %d }"
                % (outputs, kernel, stride, pad),
            )

    def pooling(self, blob: str, shape: Shape) -> None:
        r = self.random
        kernel = r.randint(2, 4)
        stride, pad = r.randint(1, kernel + 1), r.randint(0, kernel)
        if kernel > min(shape[2:]) + pad:
            return

        def pooled(size: int) -> int:
            count = int(math.ceil((size + 2 * pad - kernel) / float(stride))) + 1
            return count - 1 if pad and (count - 1) * stride >= size + pad else count

        self.add(
            "Pooling",
            [blob],
            {self.new(): shape[:2] + tuple(pooled(size) for size in shape[2:])},
            "pooling_param { pool: %s kernel_size: %d stride: %d pad: %d }"
            % (r.choice(["MAX", "AVE"]), kernel, stride, pad),
        )

    def eltwise(self, blob: str, shape: Shape) -> None:
        bottoms = [blob] + [self.same(lambda other: other == shape) for _ in range(self.random.randint(1, 3))]
        operation = self.random.choice(["SUM", "MAX", "PROD"])
        self.add("Eltwise", bottoms, {self.new(): shape}, f"eltwise_param {{ operation: {operation} }}")

    def concat(self, blob: str, shape: Shape) -> None:
        def fits(other: Shape) -> bool:
            return other[0] == shape[0] and other[2:] == shape[2:]

        bottoms = [blob] + [self.same(fits) for _ in range(self.random.randint(1, 4))]
        channels = sum(self.shapes[name][1] for name in bottoms)
        if channels <= 24:
            self.add("Concat", bottoms, {self.new(): (shape[0], channels) + shape[2:]})

    def slice(self, blob: str, shape: Shape) -> None:
        if shape[1] >= 2:
            cut, name = self.random.randint(1, shape[1]), self.new()
            tops = {
                name + "a": (shape[0], cut) + shape[2:],
                name + "b": (shape[0], shape[1] - cut) + shape[2:],
            }
            self.add("Slice", [blob], tops, "slice_param { slice_point: %d }" % cut)

    def crop(self, blob: str, shape: Shape) -> None:
        small = self.same(lambda other: other[2] <= shape[2] and other[3] <= shape[3])
        size = self.shapes[small][2:]
        offsets = [self.random.randint(0, big - little + 1) for big, little in zip(shape[2:], size)]
        self.add(
            "Crop",
            [blob, small],
            {self.new(): shape[:2] + size},
            "crop_param { offset: %d offset: %d }" % tuple(offsets),
        )

    def inner_product(self, blob: str, shape: Shape) -> None:
        self.add(
            "InnerProduct",
            [blob],
            {self.new(): shape},
            "inner_product_param { num_output: %d axis: 3 }" % shape[3],
        )

    def tile(self, blob: str, shape: Shape) -> None:
        if shape[1] <= 8:
            self.add(
                "Tile",
                [blob],
                {self.new(): (shape[0], shape[1] * 2) + shape[2:]},
                "tile_param { tiles: 2 axis: 1 }",
            )

    def reshape(self, blob: str, shape: Shape) -> None:
        flat = self.new() + "flat"
        self.lines.append(layer(flat, "Flatten", [blob], [flat], "flatten_param { axis: 2 }"))
        self.read.add(blob)
        self.lines.append(
            layer(
                "un" + flat,
                "Reshape",
                [flat],
                [flat + "back"],
                "reshape_param { shape { dim: 0 dim: 0 dim: %d dim: %d } }" % shape[2:],
            )
        )
        self.shapes[flat + "back"] = shape

    def finish(self) -> None:
        """Losses on some of the loose ends; the others stay outputs."""
        for blob in [name for name in self.shapes if name not in self.read][:2]:
            if self.random.rand() < 0.6 or not self.forced:
                scores = self.new() + "fc"
                self.add(
                    "InnerProduct", [blob], {scores: (1, 1, 1, 1)}, "inner_product_param { num_output: 4 }"
                )
                weight = "" if self.forced else self.random.choice(["", "loss_weight: 0.3", "loss_weight: 2"])
                self.add("SoftmaxWithLoss", [scores, "label"], {scores + "_loss": (1, 1, 1, 1)}, weight)

    def passes(self) -> list[Step]:
        """Part of the net, forward from an edited blob and backward between two layers."""
        plain = [item for item in self.layers if "loss" not in item[2][0]]
        first, second = sorted(self.random.randint(len(plain), size=2))
        start, end = plain[second], plain[first]
        steps: list[Step] = [("forward",), ("edit", start[1][0]), ("forward", start[0]), ("record",)]
        steps += [("seed",) + tuple(start[2]), ("backward", start[0], end[0]), ("record",)]
        return steps + [("forward", end[0], start[0]), ("forward",), ("backward",), ("record",)]


SPATIAL = (
    ["convolution"] * 3
    + ["pooling"] * 3
    + ["deconvolution", "LRN", "inner_product", "crop", "MVN", "reshape"]
)
SIMPLE = [
    "ReLU",
    "ReLU",
    "PReLU",
    "ELU",
    "Sigmoid",
    "TanH",
    "Swish",
    "AbsVal",
    "BNLL",
    "Power",
    "Scale",
    "Bias",
    "BatchNorm",
    "Softmax",
    "eltwise",
    "eltwise",
    "eltwise",
    "concat",
    "concat",
    "slice",
    "tile",
]
# Layers of one bottom and a top of its shape: parameters, and whether they work in place. BNLL, Power and
# the like need their input for backward.
UNARY = {
    "ReLU": ("", True),
    "PReLU": ("", True),
    "ELU": ("", True),
    "Sigmoid": ("", True),
    "TanH": ("", True),
    "Swish": ("", True),
    "AbsVal": ("", False),
    "BNLL": ("", False),
    "Power": ("power_param { power: 2 scale: 0.5 shift: 0.1 }", False),
    "Scale": ("scale_param { bias_term: true }", True),
    "Bias": ("", True),
    "Softmax": ("", True),
    # With the statistics of the batch, bias gradients below would be zero up to rounding.
    "BatchNorm": ("batch_norm_param { use_global_stats: true eps: 0.01 }", True),
    "LRN": ("lrn_param { local_size: 3 alpha: 0.7 beta: 0.75 }", False),
    "MVN": ("mvn_param { eps: 0.1 }", False),
}


def cases() -> list[Case]:
    found = []
    for seed in sorted({*FORCED, *UNFORCED} - {*TIES}):
        maker = NetMaker(seed, forced=seed in FORCED)
        for _ in range(maker.random.randint(5, 16)):
            maker.grow()
        if not maker.layers:
            continue
        maker.finish()
        kind = "random nets" if maker.forced else "random nets, not forced"
        found.append(
            Case(
                "random net %03d" % seed,
                kind,
                maker.text(),
                phase=seed % 2,
                steps=TWICE + maker.passes(),
                inputs={"data": "gauss", "label": "ints 4"},
            )
        )
    return found

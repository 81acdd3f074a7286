"""Convolution, Deconvolution, Pooling, Crop, Im2col, SPP."""

from __future__ import annotations

import math

from conformance.case import BOTH, Case, reshaping
from conformance.layer_cases import LayerCases

SPARSE = {"kernel_size: 2 stride: 3": (2, 3), "kernel_size: 1 stride: 2": (1, 2)}  # a stride above the kernel
SHAPES = ((2, 4, 7, 9), (1, 4, 8, 8))


def cases() -> list[Case]:
    c = LayerCases()
    convolution(c)
    convolution_corners(c)
    fillers(c)
    pooling(c)
    pooling_corners(c)
    crop(c)
    im2col_and_spp(c)
    return c.cases


def convolution(c: LayerCases) -> None:
    options = (
        "kernel_size: 1",
        "kernel_size: 3",
        "kernel_size: 3 pad: 1",
        "kernel_size: 3 stride: 2",
        "kernel_size: 3 pad: 2 dilation: 2",
        "kernel_size: 3 pad: 1 stride: 2 bias_term: false",
        "kernel_size: 2 stride: 2",
        "kernel_h: 3 kernel_w: 1 pad_h: 1 pad_w: 0 stride_h: 2 stride_w: 3",
        "kernel_size: 3 kernel_size: 2 pad: 1 pad: 0",
        "kernel_size: 3 dilation: 2 dilation: 1 pad: 3",
        "kernel_size: 4 stride: 3 pad: 2",
        "kernel_size: 1 stride: 2",
        "kernel_size: 5 pad: 6",
        "kernel_size: 3 pad: 1 group: 2",
        "kernel_size: 3 pad: 1 group: 4 bias_term: false",
        "kernel_size: 1 group: 2",
        "kernel_size: 3 stride: 2 dilation: 2 pad: 3 group: 2",
    )
    for option in options:
        for shape in SHAPES:
            c.add("Convolution", f"convolution_param {{ num_output: 8 {option} }}", shape)
            c.add(
                "Deconvolution",
                "convolution_param {{ num_output: 8 {} }}".format(option.replace("pad: 6", "pad: 2")),
                shape,
            )


def convolution_corners(c: LayerCases) -> None:
    """Other numbers of axes, axis and forced im2col; several bottoms; rates of zero; what does not fit."""
    for kind in ("Convolution", "Deconvolution"):
        shape: tuple[int, ...]
        for extra, shape in (
            ("kernel_size: 3 pad: 1", (2, 3, 5, 4, 6)),
            ("kernel_size: 3 stride: 2 pad: 1", (2, 3, 11)),
            ("kernel_size: 2 stride: 1 dilation: 2", (1, 2, 5, 5, 5)),
            ("kernel_size: 3", (2, 3, 11)),
            ("kernel_size: 3 axis: 2 pad: 1", (2, 2, 3, 5, 4)),
            ("kernel_size: 3 pad: 1 force_nd_im2col: true", (2, 4, 6, 5)),
            ("kernel_size: 3 pad: 1 stride: 2 group: 2 force_nd_im2col: true", (2, 4, 7, 5)),
            ("engine: CAFFE kernel_size: 3", (2, 4, 6, 5)),
        ):
            c.add(kind, f"convolution_param {{ num_output: 4 {extra} }}", shape)
        # No spatial axis, or more than torch's three.
        for extra, shape in (
            ("axis: 3", (1, 2, 3, 4)),
            ("axis: 1 group: 2", (3, 4)),
            ("axis: -1 kernel_size: 1 bias_term: false", (2, 3, 4)),
            ("kernel_size: 2 group: 2", (1, 4, 3, 3, 3, 3)),
            ("kernel_size: 2 stride: 2 pad: 1", (2, 2, 4, 3, 4, 3)),
            ("kernel_size: 2 dilation: 2 pad: 1 bias_term: false", (1, 3, 3, 4, 3, 3)),
            ("axis: 2 kernel_size: 2 stride: 1 stride: 2 stride: 1 stride: 2", (1, 2, 2, 3, 4, 3, 3)),
            (
                "kernel_size: 1 kernel_size: 2 kernel_size: 3 kernel_size: 1 kernel_size: 2",
                (1, 2, 2, 3, 3, 2, 3),
            ),
        ):
            c.add(kind, f"convolution_param {{ num_output: 4 {extra} }}", shape)
        extra = "convolution_param { num_output: 6 kernel_size: 3 pad: 1 stride: 2 }"
        # Several bottoms share the weights.
        c.add(kind, extra, (2, 3, 6, 7), (2, 3, 6, 7), tops=2)
        # Learning rates of zero leave out parameter diffs (with force_backward they are computed).
        for rates in (
            "param { lr_mult: 0 }",
            "param { lr_mult: 1 } param { lr_mult: 0 }",
            "param { lr_mult: 0 } param { lr_mult: 0 }",
            "propagate_down: false",
        ):
            c.add(kind, f"{extra} {rates}", (2, 3, 6, 7))
            c.add(kind, f"{extra} {rates}", (2, 3, 6, 7), backward="first 1")
        c.add(
            kind,
            "convolution_param { num_output: 4 kernel_size: 9 }",
            (1, 3, 5, 5),
            refused=kind == "Convolution",
        )
        c.add(kind, "convolution_param { num_output: 5 kernel_size: 3 group: 2 }", (1, 4, 5, 5), refused=True)
        c.add(
            kind,
            "convolution_param { num_output: 4 kernel_size: 3 pad: 1 }",
            (2, 3, 5, 5),
            steps=reshaping(1, ((2, 3, 5, 5), (0, 3, 5, 5), (2, 3, 5, 5))),
        )
        steps = reshaping(1, ((2, 3, 6, 7), (1, 3, 9, 5), (3, 3, 4, 4), (2, 3, 6, 7)))
        c.add(kind, extra, (2, 3, 6, 7), steps=steps)


def fillers(c: LayerCases) -> None:
    """Fillers without chance, as upsampling layers use them, and convolutions of real sizes."""
    for kernel, stride, pad in ((4, 2, 1), (3, 2, 1), (16, 8, 4), (5, 3, 0), (64, 32, 0)):
        c.add(
            "Deconvolution",
            "convolution_param { num_output: 3 group: 3 bias_term: false kernel_size: %d stride: %d pad: %d "
            "weight_filler { type: 'bilinear' } }" % (kernel, stride, pad),
            (1, 3, 4, 5),
            params=["keep"],
        )
    c.add(
        "Deconvolution",
        "convolution_param { num_output: 21 bias_term: false kernel_size: 8 stride: 4 }",
        (1, 21, 5, 4),
    )
    c.add(
        "Convolution",
        "convolution_param { num_output: 3 kernel_size: 2 weight_filler { type: 'constant' value: 0.25 } "
        "bias_filler { type: 'constant' value: -2 } }",
        (1, 3, 4, 5),
        params=["keep", "keep"],
    )
    c.add(
        "Convolution",
        "convolution_param { num_output: 3 kernel_size: 2 }",
        (1, 3, 4, 5),
        params=["keep", "keep"],
    )
    c.add(
        "Convolution",
        "convolution_param { num_output: 64 kernel_size: 3 pad: 1 }",
        (1, 32, 19, 23),
        steps=BOTH,
    )
    c.add(
        "Convolution",
        "convolution_param { num_output: 64 kernel_size: 3 pad: 12 dilation: 12 }",
        (1, 48, 17, 15),
        steps=BOTH,
    )
    c.add(
        "Convolution",
        "convolution_param { num_output: 32 kernel_size: 3 pad: 1 group: 32 }",
        (2, 32, 9, 9),
        steps=BOTH,
    )


POOLINGS = (
    "kernel_size: 2 stride: 2",
    "kernel_size: 3 stride: 2",
    "kernel_size: 3 stride: 2 pad: 1",
    "kernel_size: 3 stride: 1 pad: 1",
    "kernel_size: 2 stride: 3",
    "kernel_size: 3",
    "kernel_size: 5 stride: 3 pad: 2",
    "kernel_size: 2 stride: 2 pad: 1",
    "kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1 pad_h: 1 pad_w: 1",
    "global_pooling: true",
    "kernel_size: 3 stride: 3 pad: 2",
    "kernel_size: 1 stride: 2",
    "kernel_size: 4 stride: 4 pad: 3",
    "kernel_size: 2 stride: 2 round_mode: FLOOR",
    "kernel_size: 3 stride: 2 pad: 1 round_mode: FLOOR",
)


def pooling(c: LayerCases) -> None:
    for pool in ("MAX", "AVE"):
        for option in POOLINGS:
            for shape in ((2, 3, 7, 9), (1, 3, 8, 8), (1, 2, 5, 6)):
                for scheme in ("gauss", "ties") if pool == "MAX" else ("gauss",):
                    # A MAX window that starts behind the image has no winner: BVLC Caffe then writes its diff
                    # before the map's start, over whatever lies there.
                    behind = (
                        pool == "MAX"
                        and option in SPARSE
                        and any(
                            math.ceil((size - SPARSE[option][0]) / SPARSE[option][1]) * SPARSE[option][1]
                            >= size
                            for size in shape[2:]
                        )
                    )
                    c.add(
                        "Pooling",
                        f"pooling_param {{ pool: {pool} {option} }}",
                        shape,
                        schemes=[scheme],
                        skip=["diff/b0"] if behind else [],
                    )


def pooling_corners(c: LayerCases) -> None:
    """What does not fit, empty and reshaped bottoms, the mask of winners, STOCHASTIC."""
    for pool in ("MAX", "AVE"):
        c.add("Pooling", f"pooling_param {{ pool: {pool} kernel_size: 2 stride: 2 }}", (1, 1, 1, 1))
        c.add(
            "Pooling",
            f"pooling_param {{ pool: {pool} kernel_size: 3 stride: 2 }}",
            (1, 1, 1, 1),
            refused=True,
        )
        c.add(
            "Pooling", f"pooling_param {{ pool: {pool} kernel_size: 2 pad: 2 }}", (1, 1, 4, 4), refused=True
        )
        c.add(
            "Pooling",
            f"pooling_param {{ pool: {pool} kernel_size: 2 stride: 2 }}",
            (2, 3, 4, 4),
            steps=reshaping(1, ((2, 3, 4, 4), (0, 3, 4, 4), (2, 3, 4, 4))),
        )
        c.add("Pooling", f"pooling_param {{ pool: {pool} kernel_size: 2 }}", (3, 4, 4), refused=True)
        c.add(
            "Pooling",
            f"pooling_param {{ pool: {pool} kernel_size: 3 stride: 2 }}",
            (2, 3, 6, 7),
            schemes=["const 0"],
        )
        steps = reshaping(1, ((2, 3, 6, 7), (1, 3, 9, 5), (3, 3, 4, 4), (2, 3, 6, 7)))
        for option in ("kernel_size: 3 stride: 2 pad: 1", "global_pooling: true"):
            c.add("Pooling", f"pooling_param {{ pool: {pool} {option} }}", (2, 3, 6, 7), steps=steps)
    # A pad on one axis counts for both: the last window of each must start inside.
    for pool in ("MAX", "AVE"):
        for option in (
            "kernel_h: 1 kernel_w: 3 stride: 2 pad_h: 0 pad_w: 1",
            "kernel_h: 3 kernel_w: 1 stride: 2 pad_h: 1 pad_w: 0",
            "kernel_h: 2 kernel_w: 3 stride_h: 3 stride_w: 1 pad_h: 0 pad_w: 2",
            "kernel_h: 1 kernel_w: 3 stride: 2 pad_h: 0 pad_w: 1 round_mode: FLOOR",
        ):
            for size in ((6, 9), (7, 8), (1, 4), (4, 7)):
                if "kernel_h: 2" not in option or size[0] > 1:
                    c.add("Pooling", f"pooling_param {{ pool: {pool} {option} }}", (2, 2, *size))
    for option in POOLINGS[:4]:  # the second top is the mask of winners
        for scheme in ("gauss", "ties"):
            c.add(
                "Pooling", f"pooling_param {{ pool: MAX {option} }}", (2, 3, 7, 9), schemes=[scheme], tops=2
            )
    for phase in (0, 1):
        c.add(
            "Pooling",
            "pooling_param { pool: STOCHASTIC kernel_size: 2 stride: 2 }",
            (1, 2, 4, 6),
            schemes=["positive"],
            phase=phase,
            steps=[("forward",), ("record",)],
            ours="accepts",
        )


def crop(c: LayerCases) -> None:
    for extra, big, small in (
        ("", (2, 3, 7, 9), (2, 3, 5, 4)),
        ("offset: 2", (2, 3, 7, 9), (2, 3, 5, 4)),
        ("offset: 1 offset: 3", (2, 3, 7, 9), (2, 5, 5, 4)),
        ("axis: 1 offset: 1", (2, 5, 7, 9), (2, 3, 5, 4)),
        ("axis: 0 offset: 1 offset: 0 offset: 2 offset: 2", (3, 3, 7, 9), (2, 3, 5, 4)),
        ("axis: 3 offset: 5", (2, 3, 7, 9), (1, 1, 1, 4)),
        ("axis: -1 offset: 1", (2, 3, 7, 9), (1, 1, 1, 4)),
        ("axis: 1 offset: 1", (4, 6), (4, 3)),
        ("offset: 19", (1, 2, 40, 44), (1, 3, 20, 21)),
        ("axis: 2 offset: 1", (1, 2, 4, 5, 6), (1, 2, 3, 4, 5)),
        ("axis: 2", (2, 3, 4, 5), (2, 3, 4, 5)),
        ("axis: 2", (1, 2, 5, 5), (1, 2, 3, 3, 3)),
        ("axis: 1 offset: 1", (4, 6), (4, 3, 2, 2)),
        ("axis: -1 offset: 2", (4, 3, 6), (1, 1, 4, 7)),
    ):
        c.add("Crop", f"crop_param {{ {extra} }}", big, small)
    c.add("Crop", "crop_param { axis: 1 }", (2, 3, 7, 9), (2, 3, 5), refused=True)
    c.add("Crop", "crop_param { offset: 3 }", (2, 3, 7, 9), (2, 3, 5, 4), refused=True)
    c.add("Crop", "crop_param { offset: 1 offset: 1 offset: 1 }", (2, 3, 7, 9), (2, 3, 5, 4), refused=True)


def im2col_and_spp(c: LayerCases) -> None:
    for option in (
        "kernel_size: 3",
        "kernel_size: 3 pad: 1 stride: 2",
        "kernel_size: 2 dilation: 2",
        "kernel_h: 3 kernel_w: 1 pad_h: 1 pad_w: 0 stride_h: 2 stride_w: 3",
    ):
        c.add("Im2col", f"convolution_param {{ {option} }}", (2, 3, 6, 7))
    c.add("Im2col", "convolution_param { kernel_size: 2 pad: 1 }", (1, 2, 3, 4, 3))
    for pool in ("MAX", "AVE"):
        for height in (1, 2, 3):
            for shape in ((2, 3, 8, 8), (1, 2, 7, 9), (2, 3, 13, 10)):
                c.add("SPP", "spp_param { pyramid_height: %d pool: %s }" % (height, pool), shape)
        # Pads on one axis only
        for shape in ((1, 2, 8, 7), (1, 2, 7, 8), (2, 1, 4, 11), (1, 1, 16, 11)):
            c.add("SPP", "spp_param { pyramid_height: 3 pool: %s }" % pool, shape)

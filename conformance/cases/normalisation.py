"""BatchNorm, LRN, MVN, Softmax."""

from __future__ import annotations

from conformance.case import BOTH, TRAIN, Case, reshaping
from conformance.layer_cases import LayerCases

SHAPE = (2, 3, 4, 5)


def cases() -> list[Case]:
    c = LayerCases()
    shape: tuple[int, ...]
    for extra in (
        "",
        "use_global_stats: false",
        "use_global_stats: true",
        "use_global_stats: false eps: 0.01 moving_average_fraction: 0.9",
    ):
        for phase in (0, 1):
            for in_place in (False, True):
                for shape in (SHAPE, (3, 7), (4, 2, 3)):
                    c.add(
                        "BatchNorm", f"batch_norm_param {{ {extra} }}", shape, phase=phase, in_place=in_place
                    )
    c.add("BatchNorm", "", (1, 3), phase=TRAIN)
    c.add("BatchNorm", "", (5,), phase=TRAIN, refused=True)
    c.add("BatchNorm", "", SHAPE, params=["const 0", "const 0", "const 0"])
    c.add("BatchNorm", "", SHAPE, params=["gauss", "positive", "const 0"])
    c.add("BatchNorm", "", SHAPE, params=["gauss", "positive", "const 999.98"])
    c.add("BatchNorm", "", SHAPE, params=["holes", "holes", "const 0"])
    c.add(
        "BatchNorm",
        "batch_norm_param { moving_average_fraction: 0 }",
        SHAPE,
        params=["holes"] * 3,
        phase=TRAIN,
    )
    c.add("LRN", "lrn_param { local_size: 3 alpha: 0 }", SHAPE, schemes=["holes"])
    for shape in ((2, 7, 4, 5), (1, 3, 1, 1), (2, 5, 3, 3), (1, 16, 2, 2)):
        for size in (1, 3, 5, 7):
            for extra in ("", "alpha: 0.5 beta: 0.6 k: 2", "alpha: 0.0001 beta: 0.75"):
                c.add("LRN", "lrn_param { local_size: %d %s }" % (size, extra), shape, schemes=["gauss 2"])
                c.add(
                    "LRN",
                    "lrn_param { local_size: %d %s norm_region: WITHIN_CHANNEL }" % (size, extra),
                    shape,
                    schemes=["gauss 2"],
                )
    c.add("LRN", "lrn_param { local_size: 4 }", SHAPE, refused=True)
    for extra in (
        "",
        "across_channels: true",
        "normalize_variance: false",
        "normalize_variance: false across_channels: true",
        "eps: 0.1",
    ):
        for shape in (SHAPE, (3, 7, 2, 3), (1, 1, 5, 5)):
            c.add("MVN", f"mvn_param {{ {extra} }}", shape)
    for axis in (0, 1, 2, 3, -1, -2):
        for scheme in ("gauss", "ties", "gauss 30"):
            c.add("Softmax", "softmax_param { axis: %d }" % axis, SHAPE, schemes=[scheme])
    for in_place in (False, True):
        for shape in (SHAPE, (3, 7), (1, 2, 3, 1, 2), (2, 21, 9, 11), (4, 1)):
            c.add("Softmax", "", shape, in_place=in_place, steps=BOTH)
    for kind in ("Softmax", "BatchNorm", "LRN", "MVN"):
        c.add(kind, "", SHAPE, steps=reshaping(1, (SHAPE, (0, 3, 4, 5), SHAPE)), ours="accepts")
    for kind in ("BatchNorm", "Softmax", "MVN", "LRN"):
        for phase in (0, 1):
            steps = reshaping(1, (SHAPE, (3, 3, 2, 7), (1, 3, 6, 6), SHAPE))
            c.add(kind, "", SHAPE, steps=steps, phase=phase)
    return c.cases

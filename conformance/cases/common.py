"""Linear, routing, shape and reduction layers."""

from __future__ import annotations

from conformance.case import BOTH, TEST, TRAIN, Case, Step, reshaping
from conformance.layer_cases import LayerCases

SHAPE = (2, 3, 4, 5)


def cases() -> list[Case]:
    c = LayerCases()
    inner_product(c)
    bias_and_scale(c)
    zero_factors(c)
    routing(c)
    shapes(c)
    reductions(c)
    empty(c)
    reshaped(c)
    return c.cases


def inner_product(c: LayerCases) -> None:
    shape: tuple[int, ...]
    for extra in (
        "",
        "axis: 0",
        "axis: 2",
        "axis: -1",
        "transpose: true",
        "bias_term: false",
        "axis: 2 transpose: true bias_term: false",
    ):
        for shape in (SHAPE, (3, 7, 2), (4, 3, 2, 2, 2)):
            c.add("InnerProduct", f"inner_product_param {{ num_output: 6 {extra} }}", shape)
    c.add("InnerProduct", "inner_product_param { num_output: 1 }", (1, 1))
    for bias in ("", "bias_term: false"):
        for shape in ((4, 2), (4,), (2, 1, 3)):
            c.add(
                "Embed",
                f"embed_param {{ num_output: 3 input_dim: 5 {bias} }}",
                shape,
                schemes=["ints 5"],
                backward="first 0",
            )
    for size in ("dim: 2 dim: 3", "dim: 4"):
        c.add("Parameter", f"parameter_param {{ shape {{ {size} }} }}", backward="first 0")


def bias_and_scale(c: LayerCases) -> None:
    for kind, options in (("Bias", ("",)), ("Scale", ("", "bias_term: true"))):
        for in_place in (False, True):
            for option in options:
                for axis, count in (
                    (0, 1),
                    (0, 2),
                    (1, 2),
                    (2, 1),
                    (1, -1),
                    (0, -1),
                    (-1, 1),
                    (1, 0),
                    (0, 4),
                    (-2, 2),
                ):
                    extra = "%s_param { axis: %d num_axes: %d %s }" % (kind.lower(), axis, count, option)
                    c.add(kind, extra, SHAPE, in_place=in_place, steps=BOTH)
                for axis, other in (
                    (0, (2,)),
                    (1, (3,)),
                    (1, (3, 4)),
                    (0, SHAPE),
                    (-1, (5,)),
                    (2, (4, 5)),
                    (0, (2, 3)),
                ):
                    extra = "%s_param { axis: %d %s }" % (kind.lower(), axis, option)
                    c.add(kind, extra, SHAPE, other, in_place=in_place, steps=BOTH)
            c.add(kind, "", (3, 7), in_place=in_place)
            c.add(kind, "", (1, 2, 3, 1, 2), in_place=in_place)


def zero_factors(c: LayerCases) -> None:
    """A factor 0 takes what is no number away."""
    for coefficients in ("coeff: 0 coeff: 2", "coeff: 2 coeff: 0", "coeff: 0 coeff: 0"):
        c.add("Eltwise", f"eltwise_param {{ {coefficients} }}", SHAPE, SHAPE, schemes=["holes"])
    c.add(
        "Eltwise",
        "eltwise_param { coeff: 1 coeff: 2 coeff: 0 }",
        *[SHAPE] * 3,
        schemes=["gauss"] * 2 + ["holes"],
    )
    for extra in ("", "axis: 0 num_axes: -1", "axis: 0 num_axes: 0", "bias_term: true"):
        for in_place in (False, True):
            params = ["const 0", "gauss"] if "bias" in extra else ["const 0"]
            c.add(
                "Scale",
                f"scale_param {{ {extra} }}",
                SHAPE,
                schemes=["holes"],
                params=params,
                in_place=in_place,
                steps=BOTH,
            )
    c.add("Scale", "scale_param { axis: 0 }", SHAPE, (2, 3), schemes=["holes", "alternate"], steps=BOTH)
    for operation in ("SUM", "ASUM", "SUMSQ", "MEAN"):
        c.add(
            "Reduction",
            f"reduction_param {{ operation: {operation} axis: 1 coeff: 0 }}",
            SHAPE,
            schemes=["holes"],
        )


def routing(c: LayerCases) -> None:
    for count in (2, 3, 4):
        coefficients = "operation: SUM coeff: -0.5 " + " ".join(
            "coeff: %d" % (i + 1) for i in range(count - 1)
        )
        for extra in (
            "",
            coefficients,
            "operation: PROD",
            "operation: PROD stable_prod_grad: false",
            "operation: MAX",
        ):
            for scheme in ("gauss", "ties") if "MAX" in extra else ("gauss",):
                c.add("Eltwise", f"eltwise_param {{ {extra} }}", *[SHAPE] * count, schemes=[scheme] * count)
                c.add("Eltwise", f"eltwise_param {{ {extra} }}", *[(3, 7)] * count, schemes=[scheme] * count)
    c.add(
        "Eltwise", "", SHAPE, SHAPE, in_place=True, steps=BOTH, ours="refuses"
    )  # Caffe loses the first bottom
    for axis in (0, 1, 2, -1, -3):
        sizes = [list(SHAPE) for _ in range(3)]
        for i, size in enumerate(sizes):
            size[axis] += i
        c.add("Concat", "concat_param { axis: %d }" % axis, *map(tuple, sizes))
    c.add("Concat", "", SHAPE)
    c.add("Concat", "concat_param { concat_dim: 0 }", SHAPE, SHAPE)
    for extra, tops, shape in (
        ("", 3, SHAPE),
        ("axis: 0", 2, SHAPE),
        ("axis: 2 slice_point: 1", 2, SHAPE),
        ("axis: -1 slice_point: 1 slice_point: 4", 3, SHAPE),
        ("slice_dim: 1 slice_point: 2", 2, SHAPE),
        ("", 1, SHAPE),
        ("axis: 3", 5, SHAPE),
    ):
        c.add("Slice", f"slice_param {{ {extra} }}", shape, tops=tops)
    for tops in (1, 2, 4):
        c.add("Split", "", SHAPE, tops=tops)
    c.add("Silence", "", SHAPE, SHAPE, tops=0)
    c.add("BatchReindex", "", SHAPE, (5,), schemes=["gauss", "ints 2"], backward="first 1")
    c.add("BatchReindex", "", (4, 3), (7,), schemes=["gauss", "ints 4"], backward="first 1")
    # A Filter's tops change their size, so the loss weights in their diffs do not last: seed them.
    c.add("Filter", "", SHAPE, (2,), schemes=["gauss", "const 1"], backward="first 1", steps=seeded(1))
    c.add(
        "Filter",
        "",
        (5, 3),
        (5, 2, 2),
        (5, 1, 1),
        schemes=["gauss", "gauss", "alternate"],
        tops=2,
        backward="first 2",
        steps=seeded(2),
    )
    c.add("Filter", "", (5, 3), (5, 1), schemes=["gauss", "ties"], backward="first 1", steps=seeded(1))


def seeded(tops: int) -> list[Step]:
    seed: Step = ("seed",) + tuple("t%d" % i for i in range(tops))
    return [
        ("forward",),
        seed,
        ("backward",),
        ("record",),
        ("refill",),
        ("forward",),
        seed,
        ("backward",),
        ("record",),
    ]


def shapes(c: LayerCases) -> None:
    for extra in ("", "axis: 2", "axis: 0 end_axis: 1", "axis: 1 end_axis: -2", "axis: 0", "axis: 3"):
        c.add("Flatten", f"flatten_param {{ {extra} }}", SHAPE)
    for extra in (
        "shape { dim: 0 dim: -1 }",
        "shape { dim: -1 }",
        "shape { dim: 0 dim: 0 dim: 20 }",
        "shape { dim: 10 dim: 2 } axis: 2",
        "shape { dim: 2 dim: -1 } axis: -3 num_axes: 1",
        "shape { dim: 5 dim: -1 } axis: 2 num_axes: 2",
        "shape { dim: 1 dim: 1 } axis: 1 num_axes: 0",
        "shape { dim: -1 dim: 3 } axis: 0 num_axes: 2",
    ):
        c.add("Reshape", f"reshape_param {{ {extra} }}", SHAPE)
    c.add("Reshape", "reshape_param { shape { dim: 7 dim: -1 } }", SHAPE, refused=True)
    for axis in (0, 1, -1):
        c.add("Tile", "tile_param { tiles: 3 axis: %d }" % axis, SHAPE)
    c.add("Tile", "tile_param { tiles: 1 }", SHAPE)


def reductions(c: LayerCases) -> None:
    for operation in ("SUM", "ASUM", "SUMSQ", "MEAN"):
        for axis in (0, 1, 2, -1):
            coefficient = 1 if axis == 0 else -2.5
            c.add(
                "Reduction",
                "reduction_param { operation: %s axis: %d coeff: %g }" % (operation, axis, coefficient),
                SHAPE,
            )
        c.add("Reduction", f"reduction_param {{ operation: {operation} axis: 1 }}", (3, 5), schemes=["ties"])
    for extra in (
        "",
        "top_k: 3",
        "out_max_val: true",
        "out_max_val: true top_k: 4",
        "axis: 1",
        "axis: 2 top_k: 2",
        "axis: -1 out_max_val: true top_k: 2",
        "axis: 0",
        "axis: 1 top_k: 3 out_max_val: true",
    ):
        for shape in (SHAPE, (3, 7)):
            if "axis: 2" in extra and len(shape) == 2:
                continue
            for scheme in ("gauss", "ties"):
                c.add("ArgMax", f"argmax_param {{ {extra} }}", shape, schemes=[scheme], backward="none")
    for extra in ("", "top_k: 2", "ignore_label: 1", "axis: 2", "axis: -1 top_k: 3"):
        labels = {"axis: 2": (2, 15), "axis: -1 top_k: 3": (2, 12)}.get(extra, (2, 4, 5))
        for tops in (1, 2):
            for scheme in ("gauss", "ties"):
                c.add(
                    "Accuracy",
                    f"accuracy_param {{ {extra} }}",
                    SHAPE,
                    labels,
                    schemes=[scheme, "ints 3"],
                    tops=tops,
                    backward="none",
                )
    c.add(
        "Accuracy",
        "accuracy_param { ignore_label: 0 }",
        (4, 3),
        (4,),
        schemes=["gauss", "const 0"],
        tops=2,
        backward="none",
    )


EACH = (
    ("Eltwise", "", 2, 1),
    ("Eltwise", "eltwise_param { operation: MAX }", 3, 1),
    ("Concat", "concat_param { axis: 0 }", 2, 1),
    ("Concat", "", 1, 1),
    ("Slice", "slice_param { axis: 1 }", 1, 3),
    ("Slice", "", 1, 1),
    ("Split", "", 1, 2),
    ("Flatten", "", 1, 1),
    ("Reshape", "reshape_param { shape { dim: 0 dim: 0 dim: 0 dim: 0 } }", 1, 1),
    ("Reduction", "reduction_param { axis: 1 }", 1, 1),
    ("Reduction", "", 1, 1),
    ("Tile", "tile_param { tiles: 2 }", 1, 1),
    ("Silence", "", 2, 0),
    ("Scale", "scale_param { bias_term: true }", 1, 1),
    ("Bias", "", 1, 1),
)


def reshaped(c: LayerCases) -> None:
    """New input shapes between passes."""
    for kind, extra, count, tops in EACH:
        for phase in (TRAIN, TEST):
            steps = reshaping(count, (SHAPE, (3, 3, 2, 7), (1, 3, 6, 6), SHAPE))
            c.add(kind, extra, *[SHAPE] * count, tops=tops, steps=steps, phase=phase)
    c.add("Reshape", "reshape_param { shape { dim: 0 dim: -1 } }", SHAPE, steps=steps)


def empty(c: LayerCases) -> None:
    """Blobs of no values, which Caffe accepts once they have held some."""
    for kind, extra, count, tops in EACH:
        for shape in ((0, 3, 4, 5), (2, 3, 0, 5)):
            aborts = kind == "Scale" or (kind == "Split" and tops == 2) or (kind == "Bias" and shape[0] > 0)
            c.add(
                kind,
                extra,
                *[SHAPE] * count,
                tops=tops,
                steps=reshaping(count, (SHAPE, shape, SHAPE)),
                ours="accepts" if aborts else "",
            )
        c.add(kind, extra, *[(0, 3, 4, 5)] * count, tops=tops, ours="accepts")

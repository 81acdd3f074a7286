"""Loss layers."""

from __future__ import annotations

from conformance.case import BOTH, TRAIN, Case, reshaping
from conformance.layer_cases import LayerCases

SHAPE = (2, 3, 4, 5)
NORMALISATIONS = (
    "",
    "normalization: FULL",
    "normalization: VALID",
    "normalization: BATCH_SIZE",
    "normalization: NONE",
    "normalize: true",
    "normalize: false",
)


def cases() -> list[Case]:
    c = LayerCases()
    label_losses(c)
    distances(c)
    return c.cases


def label_losses(c: LayerCases) -> None:
    """Softmax, sigmoid and infogain, which know ignored labels and normalisations."""
    for ignore in ("", "ignore_label: 1", "ignore_label: 0", "ignore_label: 255"):
        for normalisation in NORMALISATIONS:
            extra = f"loss_param {{ {ignore} {normalisation} }}"
            labels = "labels 3 255" if "255" in ignore else "ints 3"
            c.add("SoftmaxWithLoss", extra, SHAPE, (2, 1, 4, 5), schemes=["gauss", labels])
            labels = "labels 2 255" if "255" in ignore else "ints 2"
            c.add("SigmoidCrossEntropyLoss", extra, SHAPE, SHAPE, schemes=["gauss 2", labels])
            if "normalize:" not in normalisation:
                c.add(
                    "InfogainLoss",
                    "loss_weight: 1 loss_weight: 0 " + extra,
                    SHAPE,
                    (2, 4, 5),
                    (1, 1, 3, 3),
                    schemes=["gauss", "ints 3"],
                    tops=2,
                    backward="first 1",
                )
    for axis, shape in ((0, (2, 30)), (2, (2, 15)), (-1, (2, 12))):
        c.add(
            "SoftmaxWithLoss", "softmax_param { axis: %d }" % axis, SHAPE, shape, schemes=["gauss", "ints 2"]
        )
        c.add(
            "InfogainLoss",
            "infogain_loss_param { axis: %d }" % axis,
            SHAPE,
            shape,
            (SHAPE[axis], SHAPE[axis]),
            schemes=["gauss", "ints 2"],
            backward="first 1",
        )
    c.add("SoftmaxWithLoss", "loss_weight: 2.5", (4, 5), (4,), schemes=["gauss", "ints 5"])
    c.add("SoftmaxWithLoss", "", (4, 5), (4,), schemes=["gauss 60", "ints 5"])
    c.add("SoftmaxWithLoss", "", (1, 21, 17, 13), (1, 1, 17, 13), schemes=["gauss 5", "ints 21"], phase=TRAIN)
    c.add("SoftmaxWithLoss", "loss_param { ignore_label: 0 }", (4, 5), (4,), schemes=["gauss", "const 0"])
    c.add("SoftmaxWithLoss", "", (4, 5), (3,), refused=True)


def distances(c: LayerCases) -> None:
    """Losses of blobs that are compared element by element."""
    first: tuple[int, ...]
    second: tuple[int, ...]
    label: tuple[int, ...]
    for weight in ("", "loss_weight: 3"):
        c.add("EuclideanLoss", weight, SHAPE, SHAPE)
        c.add("EuclideanLoss", weight, (4, 6), (4, 2, 3))
        # HingeLoss keeps its margins in the bottom's diff, so a second backward alone would differ.
        c.add("HingeLoss", weight, (4, 5), (4,), schemes=["gauss", "ints 5"], steps=BOTH)
        c.add(
            "HingeLoss",
            "hinge_loss_param { norm: L2 } " + weight,
            (4, 5),
            (4, 1, 1, 1),
            schemes=["gauss", "ints 5"],
            steps=BOTH,
        )
        for extra in ("", "margin: 3", "legacy_version: true margin: 8", "margin: 2.5 legacy_version: false"):
            extra = f"contrastive_loss_param {{ {extra} }} {weight}"
            c.add("ContrastiveLoss", extra, (6, 4), (6, 4), (6,), schemes=["gauss", "gauss", "ints 2"])
            c.add(
                "ContrastiveLoss",
                extra,
                (6, 4, 1, 1),
                (6, 4, 1, 1),
                (6, 1),
                schemes=["gauss", "gauss", "ints 2"],
            )
            for first, second, label in (
                ((3, 2, 1, 1), (3, 2), (3,)),
                ((3, 2), (3, 2, 1, 1), (3, 1, 1)),
                ((3, 4, 1), (3, 4, 1, 1), (3, 1, 1, 1)),
            ):
                c.add("ContrastiveLoss", extra, first, second, label, schemes=["gauss", "gauss", "ints 2"])
        c.add("EuclideanLoss", weight, (4, 6, 1, 1), (4, 6))
        c.add("EuclideanLoss", weight, (4,), (4, 1, 1, 1))
        c.add("MultinomialLogisticLoss", weight, (4, 5), (4,), schemes=["positive", "ints 5"])
        c.add("MultinomialLogisticLoss", weight, (4, 3, 2, 2), (4, 1, 1, 1), schemes=["ties", "ints 5"])
    for kind, first, second in (
        ("SigmoidCrossEntropyLoss", (4, 6), (4, 6, 1, 1)),
        ("SigmoidCrossEntropyLoss", (4, 2, 3), (4, 6)),
        ("SigmoidCrossEntropyLoss", (4,), (4, 1)),
        ("SoftmaxWithLoss", (4, 3), (4, 1, 1, 1)),
        ("SoftmaxWithLoss", (4, 3, 1, 1), (4,)),
        ("SoftmaxWithLoss", (2, 3, 4, 5), (2, 20)),
        ("InfogainLoss", (4, 3, 1, 1), (4,)),
        ("HingeLoss", (4, 3, 1, 1), (4,)),
        ("HingeLoss", (4, 3), (4, 1, 1)),
        ("MultinomialLogisticLoss", (4, 3, 1, 1), (4, 1, 1)),
    ):
        third = [(3, 3)] if kind == "InfogainLoss" else []
        scheme = "ints 2" if kind[0] == "S" and kind[1] == "i" else "ints 3"
        prediction = "positive" if kind == "MultinomialLogisticLoss" else "gauss"
        c.add(kind, "", first, second, *third, schemes=[prediction, scheme], backward="first 1", steps=BOTH)
    c.add("ContrastiveLoss", "", (4, 3), (4, 2), (4,), refused=True)
    c.add("ContrastiveLoss", "", (4, 3, 2, 1), (4, 6), (4,), refused=True)
    steps = reshaping(2, ((6, 4), (3, 4), (6, 4)))
    c.add("ContrastiveLoss", "", (6, 4), (6, 4), (6,), schemes=["gauss", "gauss", "ints 2"], steps=steps)
    c.add("EuclideanLoss", "", SHAPE, (2, 3, 5, 5), refused=True)
    for kind in ("EuclideanLoss", "SigmoidCrossEntropyLoss"):
        c.add(
            kind,
            "",
            SHAPE,
            SHAPE,
            schemes=["gauss", "ties"],
            steps=reshaping(2, (SHAPE, (3, 3, 2, 7), SHAPE)),
        )
        c.add(kind, "", SHAPE, SHAPE, steps=reshaping(2, (SHAPE, (2, 3, 0, 5))), ours="accepts")

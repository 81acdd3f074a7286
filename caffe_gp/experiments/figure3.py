"""Figure 3: how a perturbation travels up the net: average filter responses of its layers (section 3.1.1)."""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np

from caffe_gp.evaluation.labeller import Labeller
from caffe_gp.experiments import cells, chosen_images, inside_net
from caffe_gp.experiments.bench import Bench
from caffe_gp.experiments.suites import ablation_only
from caffe_gp.images.preprocess import Canvas
from caffe_gp.report import figures, pictures
from caffe_gp.report.claims import Claim, in_cases
from caffe_gp.report.experiment_report import Figure, Report, Table
from caffe_gp.report.figures import Picture, PictureRow

NAME, TITLE = "figure3", "Figure 3: average filter responses"
_TITLES = ("original input", "perturbed input", "difference")

nets = ablation_only


def run(bench: Bench) -> Report:
    """A row a layer, for the image that guided perturbations improve most."""
    (net,) = nets(bench.suite)
    eps, data = chosen_images.step(bench, net), bench.data()
    found = bench.run(net, [eps], data, save=("labels",))
    picked = chosen_images.best(found, eps)
    labeller = bench.labeller(net, [eps])
    canvas = labeller.preprocess.load(data.image(picked.item))
    blobs = [*net.inner, *net.deeper, inside_net.before_upsampling(labeller.gp)]
    original, perturbed, sign = _responses(labeller, canvas, blobs)
    rows = [
        PictureRow(
            [
                Picture(canvas.image),
                Picture(inside_net.pixels(labeller, canvas, eps * sign)),
                Picture(inside_net.crop(pictures.amplify(sign), canvas)),
            ],
            f"input ({picked.item}): the difference is {eps:g} times the sign shown",
            _TITLES,
        )
    ]
    table = Table("How much the responses move", ["layer", "channels", "size (pixels)", "change / std (%)"])
    numbers = {}
    for blob in blobs:
        numbers[blob], row = _layer(labeller, canvas, blob, original[blob], perturbed[blob])
        rows.append(row)
        wide, high = numbers[blob]["size"]
        share = f"{100 * numbers[blob]['change_over_std']:.2f}"
        table.add(blob, str(numbers[blob]["channels"]), f"{wide} x {high}", share)
    figures.save(figures.sheet(rows, width=4.4, tallest=0.75), bench.out / NAME, NAME)
    shares = {blob: 100 * found["change_over_std"] for blob, found in numbers.items()}
    first, last = blobs[0], blobs[-1]
    grows = sum(shares[a] <= shares[b] for a, b in zip(blobs, blobs[1:]))
    claim = Claim(
        "The perturbation travels up the net from its first layers, and shows more the deeper it gets.",
        "Figure 3",
        f"change of the responses at {first} and at {last}, % of their standard deviation",
        "shown, no value",
        f"{shares[first]:.1f} and {shares[last]:.1f}",
        *in_cases(
            grows, len(blobs) - 1, "Each layer's change is no smaller than that of the layer before it."
        ),
    )
    table.note = (
        "Root mean square of the change of all responses, as a share of their standard deviation, for "
        f"{picked.item} at eps {eps:g}."
    )
    return cells.report(
        bench,
        NAME,
        TITLE,
        [net],
        [found],
        [claim],
        [table],
        [
            Figure(
                NAME,
                f"{net.title}, image {picked.item}, eps {eps:g}: responses of each layer averaged over its "
                "channels, upsampled to the image. Original and perturbed share a scale from dark to "
                "bright; in the difference orange is more, purple less, white no change. The image is the "
                f"one of {len(data)} with the largest number of {chosen_images.RULE}.",
            )
        ],
        {"net": net.name, "eps": eps, "image": vars(picked), "layers": numbers},
    )


def _responses(
    labeller: Labeller, canvas: Canvas, blobs: Sequence[str]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
    """Values (C, H, W) of ``blobs`` before and after the perturbation, and the sign at the input."""
    responses: list[dict[str, np.ndarray]] = []

    def watch(k: int, y: np.ndarray) -> None:
        responses.append({blob: labeller.gp.net.blobs[blob].data[0].copy() for blob in blobs})

    result = labeller.label([canvas], [None], on_probabilities=watch)
    original, perturbed = responses
    return original, perturbed, result.perturbation[0][0]


def _layer(
    labeller: Labeller, canvas: Canvas, blob: str, original: np.ndarray, perturbed: np.ndarray
) -> tuple[dict[str, Any], PictureRow]:
    """A layer's numbers and its row of pictures, from its values (C, H, W) before and after."""
    change = perturbed - original
    share = float(np.sqrt((change.astype(np.float64) ** 2).mean()) / original.std(dtype=np.float64))
    channels, high, wide = original.shape
    maps = [
        labeller.preprocess.scores_to_image(values.mean(axis=0, keepdims=True), canvas)[0]
        for values in (original, perturbed, change)
    ]
    largest = float(np.abs(maps[2]).max())
    numbers = {
        "channels": channels,
        "size": [wide, high],
        "change_over_std": share,
        "largest_mean_difference": largest,
    }
    title = (
        f"{blob} ({channels} x {high} x {wide}): change {100 * share:.1f} % of std, "
        f"difference up to {largest:.2g}"
    )
    return numbers, PictureRow(_cells(maps, largest), title)


def _cells(maps: Sequence[np.ndarray], largest: float) -> list[Picture]:
    """Original and perturbed on one scale, the difference around white."""
    low, high = np.percentile(np.stack(maps[:2]), [0.5, 99.5])
    same_scale = [figures.heat(values, float(low), float(high), "cividis") for values in maps[:2]]
    return [*same_scale, figures.heat(maps[2], -largest, largest, "PuOr_r")]

"""Figures 4 and 15: which pixels guided perturbations correct and which they break (section 3.1.1).

The paper sees corrected pixels inside areas and broken ones along their boundaries. The second picture counts
it: how far they lie from the nearest boundary of the ground truth.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe_gp.evaluation.segmentation import RunResults
from caffe_gp.experiments import cells, chosen_images
from caffe_gp.experiments.bench import Bench
from caffe_gp.experiments.suites import ablation_only
from caffe_gp.images.label_maps import IGNORE
from caffe_gp.report import figures
from caffe_gp.report.claims import Claim, Judged, Verdict
from caffe_gp.report.colours import BROKEN, FIXED, GREY
from caffe_gp.report.experiment_report import Figure, Report, Table
from caffe_gp.report.figures import Picture, PictureRow
from caffe_gp.report.pictures import Changes

NAME, TITLE = "figure4", "Figures 4 and 15: corrected and broken pixels"
ROWS = 6
_TITLES = ("image", "ground truth", "base", "base + GP", "corrected pixels", "broken pixels")
KINDS = {
    "all": "all pixels",
    "wrong": "wrong before",
    "fixed": "corrected by GP",
    "broken": "broken by GP",
}
_FARTHEST = 100  # pixels: the last bin of the histograms holds everything beyond

nets = ablation_only


def run(bench: Bench) -> Report:
    """The images with most pixels changed for the better, and the distances over all images."""
    (net,) = nets(bench.suite)
    eps, data = chosen_images.step(bench, net), bench.data()
    found = bench.run(net, [eps], data, save=("labels",))
    chosen = chosen_images.successes(found, eps, ROWS) or [chosen_images.best(found, eps)]
    rows = [
        PictureRow(_cells(bench, found, eps, image.item), image.text(), () if k else _TITLES)
        for k, image in enumerate(chosen)
    ]
    folder = bench.out / NAME
    figures.save(figures.sheet(rows), folder, NAME)
    counts = _distances(bench, found, eps)
    figures.save(_draw(counts), folder, f"{NAME}_distances", figures.CURVES)
    table = Table(
        f"Distance to the nearest boundary, {net.title}, eps {eps:g}",
        ["pixels", "number", "median distance (pixels)", "within 5 pixels (%)", "within 10 pixels (%)"],
    )
    numbers: dict[str, Any] = {}
    for kind, title in KINDS.items():
        share = _shares(counts[kind])
        median = int(np.searchsorted(share, 0.5))
        numbers[kind] = {
            "pixels": int(counts[kind].sum()),
            "median_distance": median,
            "histogram": counts[kind].tolist(),
        }
        near = [f"{100 * share[distance]:.1f}" for distance in (5, 10)]
        table.add(title, f"{counts[kind].sum():,}", f"{median}", *near)
    fixed, broken = numbers["fixed"], numbers["broken"]
    claims = [
        Claim(
            "Corrected pixels lie inside of areas, broken ones along their boundaries.",
            "Section 3.1.1, Figure 4",
            "median distance to the nearest boundary of corrected and of broken pixels, in pixels",
            "shown, no value",
            f"{fixed['median_distance']} and {broken['median_distance']}",
            *_inside(counts["fixed"], counts["broken"]),
        ),
        Claim(
            "Many pixels are corrected, only few are broken.",
            "Section 3.1.1, Figure 4",
            "pixels corrected and broken",
            '"the small number of misclassified pixels"',
            f"{fixed['pixels']:,} and {broken['pixels']:,}",
            *_few(fixed["pixels"], broken["pixels"]),
        ),
    ]
    return cells.report(
        bench,
        NAME,
        TITLE,
        [net],
        [found],
        claims,
        [table],
        [
            Figure(
                NAME,
                f"{net.title}, eps {eps:g}: the images among {len(data)} with the largest number of "
                f"{chosen_images.RULE}.",
            ),
            Figure(
                f"{NAME}_distances",
                f"Share of the pixels of {len(data)} images that lie within a distance of the nearest "
                "boundary or void pixel of the ground truth. A curve further right lies deeper inside.",
            ),
        ],
        {
            "net": net.name,
            "eps": eps,
            "images": len(data),
            "rule": chosen_images.RULE,
            "chosen": [vars(image) for image in chosen],
            "distances": numbers,
        },
    )


def _inside(fixed: np.ndarray, broken: np.ndarray) -> Judged:
    """From the histograms of the distances."""
    medians = [int(np.searchsorted(_shares(counts), 0.5)) for counts in (fixed, broken)]
    verdict = Verdict.HOLDS if medians[0] > medians[1] else Verdict.NOT
    if medians[0] == medians[1] and _shares(fixed)[5] < _shares(broken)[5]:
        verdict = Verdict.WEAKLY
    return verdict, (
        "Holds: the corrected pixels' median is the larger one. Weakly: the medians are equal, and fewer of "
        "the corrected pixels lie within 5 pixels."
    )


def _few(fixed: int, broken: int) -> Judged:
    rule = "Holds: twice as many are corrected as broken. Weakly: more are."
    return (Verdict.HOLDS if fixed >= 2 * broken else Verdict.WEAKLY if fixed > broken else Verdict.NOT), rule


def _cells(bench: Bench, run: RunResults, eps: float, item: str) -> list[Picture]:
    image, truth = chosen_images.photograph(bench.data(), item), bench.data().truth(item)
    base, after = run.label_map(item), run.label_map(item, eps)
    names, colours = run.class_names, bench.data().colours
    changes = Changes.of(base, after, truth)
    return [
        Picture(image),
        *(figures.labelled(image, labels, names, colours) for labels in (truth, base, after)),
        figures.changed(image, changes.only("fixed")),
        figures.changed(image, changes.only("broken")),
    ]


def _distances(bench: Bench, run: RunResults, eps: float) -> dict[str, np.ndarray]:
    """For each kind of pixels: how many lie at 0, 1, ... pixels from a boundary, (_FARTHEST + 1,)."""
    counts = {kind: np.zeros(_FARTHEST + 1, np.int64) for kind in KINDS}
    for item in run.ids:
        truth, base = bench.data().truth(item), run.label_map(item)
        changes = Changes.of(base, run.label_map(item, eps), truth)
        counted = truth != IGNORE
        masks = {"all": counted, "wrong": counted & (base != truth)}
        masks.update(fixed=changes.fixed, broken=changes.broken)
        bins = np.minimum(boundary_distance(truth), _FARTHEST).astype(np.int64)
        for kind, mask in masks.items():
            counts[kind] += np.bincount(bins[mask], minlength=_FARTHEST + 1)
    return counts


def boundary_distance(truth: np.ndarray) -> np.ndarray:
    """(H, W) float: pixels to the nearest pixel that is void or has a neighbour of another label."""
    import cv2

    inside = (truth != IGNORE).astype(np.uint8)
    across, down = truth[:, 1:] != truth[:, :-1], truth[1:] != truth[:-1]
    for mask in (inside[:, 1:], inside[:, :-1]):
        mask[across] = 0
    for mask in (inside[1:], inside[:-1]):
        mask[down] = 0
    if inside.all():
        return np.full(truth.shape, float(_FARTHEST))
    return cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def _shares(counts: np.ndarray) -> np.ndarray:
    """Share of the pixels up to each distance."""
    return np.cumsum(counts) / max(1, counts.sum())


def _draw(counts: dict[str, np.ndarray]) -> Any:
    looks = {
        "all": (GREY, "-"),
        "wrong": ("black", ":"),
        "fixed": (FIXED.colour, "-"),
        "broken": (BROKEN.colour, "--"),
    }
    with figures.style():
        figure = figures.new(2.8, figures.PLOT)
        axes = figure.add_subplot(1, 1, 1)
        figures.curves_axes(axes, "distance to the nearest boundary (pixels)", "pixels within it (%)")
        for kind, title in KINDS.items():
            colour, look = looks[kind]
            # The last bin, everything beyond, is no distance.
            shares = 100 * _shares(counts[kind])[:-1]
            axes.plot(range(len(shares)), shares, look, color=colour, label=title)
        axes.set_ylim(0, 100)
        axes.legend(frameon=False, loc="lower right")
        figure.tight_layout()
    return figure

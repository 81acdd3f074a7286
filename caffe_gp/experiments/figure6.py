"""Figure 6: one patch of an image across eps, negative too (section 3.1.1).

The patch is where the guided perturbation corrects most pixels of one class: in the image that it improves
most, the 3 x 3 positions of the scores before upsampling whose area holds most of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Sequence

import numpy as np

from caffe_gp.evaluation.labeller import Labeller
from caffe_gp.experiments import cells, chosen_images, inside_net
from caffe_gp.experiments.bench import Bench
from caffe_gp.experiments.suites import Net, ablation_only
from caffe_gp.images.preprocess import Canvas
from caffe_gp.report import figures
from caffe_gp.report.claims import Claim, in_cases
from caffe_gp.report.colours import GREY, LINES
from caffe_gp.report.experiment_report import Figure, Report, Table
from caffe_gp.report.figures import Picture, PictureRow
from caffe_gp.report.pictures import Changes

NAME, TITLE = "figure6", "Figure 6: a patch across eps"
COLUMNS = 9  # at most so many steps, 0 included, in the first picture
TOP = 5
_PATCH = 160  # pixels: about the patch's side
_PATCH_COLOUR = "#ff2020"
_APART = 8  # pixels: positions of the 3 x 3 grid are at least so far apart

nets = ablation_only


@dataclass
class Patch:
    """A place in the scores before upsampling.

    row, column, apart   centre of the 3 x 3 positions, and their distance, in positions
    around    positions to each side that the pictures show
    label     the true class
    """

    row: int
    column: int
    apart: int
    around: int
    label: int


@dataclass
class _Seen:
    """The net at one image, across eps.

    rows, columns   of every pixel, in positions of the coarse scores
    scores          (1 + E, C, h, w) before upsampling: at 0, then at every eps
    signs           (C, H, W) sign of the input's gradient
    """

    labeller: Labeller
    canvas: Canvas
    rows: np.ndarray
    columns: np.ndarray
    scores: np.ndarray
    signs: np.ndarray

    def area(self, row: int, column: int, around: int) -> tuple[slice, slice]:
        """The pixels whose nearest position is within ``around`` of one; inside the image."""
        return tuple(  # type: ignore[return-value]
            _run(np.abs(np.round(places[:valid]) - centre) <= around)
            for places, centre, valid in zip((self.rows, self.columns), (row, column), self.canvas.valid)
        )


def run(bench: Bench) -> Report:
    """The patch across eps, and the scores of its 3 x 3 positions."""
    (net,) = nets(bench.suite)
    eps, data = chosen_images.step(bench, net), bench.data()
    found = bench.run(net, [eps], data, save=("labels",))
    picked = chosen_images.best(found, eps)
    steps = sorted({*chosen_images.symmetric(net), eps})
    seen, fixed, truth = _look(bench, net, picked.item, steps, eps)
    names = found.class_names
    patch = choose(seen, fixed, truth)
    top = _top_classes(seen, patch)
    folder = bench.out / NAME
    shown = _spread([*steps, 0.0], COLUMNS)
    figures.save(_strip(seen, patch, truth, steps, shown, names, data.colours), folder, NAME)
    figures.save(_curves(seen, patch, steps, top, names), folder, f"{NAME}_scores", figures.CURVES)
    order = np.argsort([0.0, *steps])
    columns = {"negative": steps[0], "zero": 0.0, "chosen": eps}
    table = Table(
        f"Lead of the true class ({names[patch.label]}) over the best other one",
        ["position", *(f"eps {value:g}" for value in columns.values())],
    )
    positions, leads = {}, []
    for i, j, row, column in _positions(patch):
        scores = seen.scores[order][:, top, row, column]
        positions[f"{i},{j}"] = {names[c]: scores[:, k].tolist() for k, c in enumerate(top)}
        at = [_at(seen, steps, value)[:, row, column] for value in columns.values()]
        leads.append([float(_lead(scores, patch.label)) for scores in at])
        table.add(f"({i}, {j})", *(f"{lead:+.2f}" for lead in leads[-1]))
    negative, zero, chosen = np.array(leads).T
    claim = Claim(
        "A positive eps raises the true class's score over the others' in a whole neighbourhood, a negative "
        "one lowers it.",
        "Section 3.1.1, Figure 6",
        f"mean lead of the true class's score at 3 x 3 positions, eps {steps[0]:g}, 0 and {eps:g}",
        "shown, no value",
        ", ".join(f"{values.mean():+.2f}" for values in (negative, zero, chosen)),
        *in_cases(
            int((chosen > zero).sum() + (negative < zero).sum()),
            2 * len(zero),
            "At each position the lead rises with eps > 0 and falls with eps < 0.",
        ),
    )
    caption = f"{net.title}, image {picked.item}, true class {names[patch.label]}"
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
                f"{caption}. Above: the image and the classes that the scores before upsampling "
                "favour; red the patch below, blue the 3 x 3 positions of the next picture. Below, for each "
                "eps: eps times the sign of the gradient (mid-grey is 0, one scale for all), the perturbed "
                "patch, the favoured class at each position, and the lead of the true class's score over "
                "the best other one.",
            ),
            Figure(
                f"{NAME}_scores",
                f"{caption}: scores before upsampling of the {len(top)} classes that are highest on average, "
                "at the 3 x 3 positions.",
            ),
        ],
        {
            "net": net.name,
            "image": vars(picked),
            "patch": vars(patch),
            "true_class": names[patch.label],
            "eps": sorted([0.0, *steps]),
            "scores": positions,
        },
    )


# ---- looking


def _look(
    bench: Bench, net: Net, item: str, steps: Sequence[float], eps: float
) -> tuple[_Seen, np.ndarray, np.ndarray]:
    """What the net does across eps; the pixels that ``eps`` corrects, (H, W) bool, and the truth, (H, W)."""
    data = bench.data()
    labeller = bench.labeller(net, steps)
    gp, canvas = labeller.gp, labeller.preprocess.load(data.image(item))
    coarse, scores = inside_net.before_upsampling(gp), []

    def watch(k: int, y: np.ndarray) -> None:
        scores.append(gp.net.blobs[coarse].data[0].copy())

    result = labeller.label([canvas], [None], on_probabilities=watch)
    truth = labeller.preprocess.labels_to_canvas(data.truth(item), canvas)
    base, after = result.base_labels[0], result.labels[steps.index(eps)][0]
    fixed = Changes.of(base, after, truth).fixed
    rows, columns = inside_net.grid(gp, coarse)
    return _Seen(labeller, canvas, rows, columns, np.stack(scores), result.perturbation[0][0]), fixed, truth


def choose(seen: _Seen, fixed: np.ndarray, truth: np.ndarray) -> Patch:
    """The 3 x 3 positions whose area holds most corrected pixels of one class."""
    stride = 1 / float(np.median(np.diff(seen.rows)))
    apart = max(1, round(_APART / stride))
    around = max(2 * apart, round(_PATCH / stride / 2))
    high, wide = seen.scores.shape[2:]
    best, found = -1, None
    for row in range(apart, high - apart):
        for column in range(apart, wide - apart):
            area = seen.area(row, column, apart)
            labels = truth[area][fixed[area]]
            counts = np.bincount(labels if labels.size else truth[area].ravel(), minlength=1)
            corrected = int(counts.max()) if labels.size else 0
            if truth[area].size and corrected > best and int(counts.argmax()) < seen.scores.shape[1]:
                best, found = corrected, Patch(row, column, apart, around, int(counts.argmax()))
    assert found is not None, "an image of void only cannot have been improved"
    return found


def _run(inside: np.ndarray) -> slice:
    places = np.flatnonzero(inside)
    return slice(int(places[0]), int(places[-1]) + 1) if places.size else slice(0, 0)


def _inside(places: np.ndarray, centre: int, around: int) -> int:
    """The centre, moved so that what lies around it is in the image, as far as that is large enough."""
    low, high = places[0] + around, places[-1] - around
    return centre if low > high else int(np.round(np.clip(centre, low, high)))


def _positions(patch: Patch) -> list[tuple[int, int, int, int]]:
    """(i, j, row, column) of the 3 x 3 positions; i and j count from 1 as in the paper."""
    return [
        (i, j, patch.row + (i - 2) * patch.apart, patch.column + (j - 2) * patch.apart)
        for i in (1, 2, 3)
        for j in (1, 2, 3)
    ]


def _top_classes(seen: _Seen, patch: Patch) -> list[int]:
    """The classes with the highest scores, on average over positions and eps; the true one is among them."""
    mean = np.mean(
        [seen.scores[:, :, row, column].mean(axis=0) for _, _, row, column in _positions(patch)], 0
    )
    mean[patch.label] = np.inf
    return [int(c) for c in np.argsort(-mean, kind="stable")[:TOP]]


def _lead(scores: np.ndarray, label: int) -> np.ndarray:
    """Score of a class minus the best other one's, for scores (C, ...)."""
    others = np.delete(scores, label, axis=0)
    return scores[label] - others.max(axis=0)


def _spread(steps: Sequence[float], number: int) -> list[float]:
    """At most ``number`` of the steps, evenly, the smallest, 0 and the largest among them."""
    negative = sorted(eps for eps in steps if eps < 0)
    positive = sorted(eps for eps in steps if eps > 0)
    side = (number - 1) // 2
    kept = []
    for part in (negative, positive):
        picked = np.unique(np.round(np.linspace(0, len(part) - 1, min(side, len(part)))).astype(int))
        kept += [part[k] for k in picked]
    return sorted([*kept, 0.0])


# ---- drawing


def _at(seen: _Seen, steps: Sequence[float], eps: float) -> np.ndarray:
    """Scores (C, h, w) before upsampling at one eps, 0 included."""
    return seen.scores[0 if eps == 0 else 1 + list(steps).index(eps)]


def _on_pixels(seen: _Seen, coarse: np.ndarray, area: tuple[slice, slice]) -> np.ndarray:
    """A map (h, w) of the coarse positions on the pixels of an area: each its nearest position's value."""
    places = [
        np.clip(np.round(coordinates[part]).astype(int), 0, size - 1)
        for coordinates, part, size in zip((seen.rows, seen.columns), area, coarse.shape)
    ]
    return coarse[np.ix_(*places)]


def _box(area: tuple[slice, slice], within: tuple[slice, slice] | None = None) -> tuple:
    """Left, top, width, height of an area, in the pixels of another one or of the image."""
    rows, columns = area
    top, left = (0, 0) if within is None else (within[0].start, within[1].start)
    return columns.start - left, rows.start - top, columns.stop - columns.start, rows.stop - rows.start


def _strip(
    seen: _Seen,
    patch: Patch,
    truth: np.ndarray,
    steps: Sequence[float],
    shown: Sequence[float],
    names: Sequence[str],
    colours: Sequence[tuple[int, int, int]],
) -> Any:
    """Image, truth and coarse labels above; the patch across eps below."""
    image = inside_net.pixels(seen.labeller, seen.canvas)
    everything = (slice(0, image.shape[0]), slice(0, image.shape[1]))
    centre = [
        _inside(places[:valid], position, patch.around)
        for places, valid, position in zip(
            (seen.rows, seen.columns), seen.canvas.valid, (patch.row, patch.column)
        )
    ]
    area = seen.area(centre[0], centre[1], patch.around)
    inner = seen.area(patch.row, patch.column, patch.apart)
    boxes = [(*_box(area), _PATCH_COLOUR), (*_box(inner), LINES[5])]

    def favoured(eps: float, part: tuple[slice, slice]) -> Picture:
        classes = _on_pixels(seen, _at(seen, steps, eps).argmax(axis=0), part).astype(np.uint8)
        return figures.labelled(image[part], classes, names, colours)

    head = [
        Picture(image),
        figures.labelled(image, truth[everything], names, colours),
        favoured(0, everything),
    ]
    for cell in head:
        cell.boxes = boxes
    leads = [_on_pixels(seen, _lead(_at(seen, steps, eps), patch.label), area) for eps in shown]
    largest = max(float(np.abs(lead).max()) for lead in leads)
    biggest = max(abs(eps) for eps in shown)
    added, perturbed, classes = [], [], []
    for eps in shown:
        step = eps * seen.signs[(slice(None), *area)].transpose(1, 2, 0)
        grey = np.broadcast_to(127.5 + 127.5 * step / biggest, (*step.shape[:2], 3))
        added.append(Picture(grey.astype(np.uint8), nearest=True))
        perturbed.append(Picture(inside_net.pixels(seen.labeller, seen.canvas, eps * seen.signs)[area]))
        classes.append(favoured(eps, area))
    heats = [figures.heat(lead, -largest, largest, "PuOr") for lead in leads]
    for cell in [*classes, *heats]:
        cell.boxes = [(*_box(inner, area), LINES[5])]
    name = names[patch.label]
    return figures.sheet(
        [
            PictureRow(head, titles=("image", "ground truth", "favoured class before upsampling")),
            PictureRow(added, "eps x sign of the gradient at the input", [f"eps {eps:g}" for eps in shown]),
            PictureRow(perturbed, "perturbed patch"),
            PictureRow(classes, "favoured class before upsampling"),
            PictureRow(
                heats,
                f"score of {name} minus the best other class's: purple ahead, orange behind, "
                f"up to {largest:.1f}",
            ),
        ]
    )


def _curves(
    seen: _Seen, patch: Patch, steps: Sequence[float], top: Sequence[int], names: Sequence[str]
) -> Any:
    """A plot of the scores of the ``top`` classes over eps at each of the 3 x 3 positions."""
    eps = np.array([0.0, *steps])
    order = np.argsort(eps)
    with figures.style():
        figure = figures.new(5.2)
        grid = figure.subplots(3, 3, sharex=True, sharey=True)
        for i, j, row, column in _positions(patch):
            axes = grid[i - 1, j - 1]
            figures.curves_axes(
                axes, "eps" if i == 3 else "", "score" if j == 1 else "", f"position ({i}, {j})"
            )
            axes.axvline(0, color=GREY, linewidth=0.6)
            for label, (colour, look) in zip(top, figures.looks()):
                values = seen.scores[order, label, row, column]
                true = label == patch.label
                name = f"{names[label]} (true class)" if true else names[label]
                axes.plot(eps[order], values, look, color=colour, label=name, linewidth=2 if true else 1)
        handles, titles = grid[0, 0].get_legend_handles_labels()
        figure.tight_layout(rect=(0, 0, 1, 0.95))
        figure.legend(handles, titles, loc="upper center", ncol=len(top), frameon=False)
    return figure

"""The demo's page and picture from its results."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Sequence

import numpy as np

from caffe_gp.datasets.class_names import DIGIT_SCENES
from caffe_gp.datasets.digit_scenes import PALETTE
from caffe_gp.evaluation.image_panel import Seen, panel
from caffe_gp.experiments.chosen_images import with_base
from caffe_gp.experiments.demo import Gallery, found_digits
from caffe_gp.files.atomic import write_bytes
from caffe_gp.report import figures, panels, pictures
from caffe_gp.report.claims import Claim
from caffe_gp.report.colours import BROKEN, FIXED, GREY, OTHER
from caffe_gp.report.experiment_report import Closing, Figure, Report, Row, Table
from caffe_gp.report.panels import Cell

# Table 4 of the paper, FCN-32s: gain over 62.1 and time over .12 s.
PAPER_GAINS = {"data": "+2.6", "pool2": "+2.5", "pool3": "+2.5", "pool4": "+2.2"}
PAPER_TIMES = {"data": "2.8", "pool2": "2.3", "pool3": "2.0", "pool4": "1.8"}

_COLOURS = np.array(PALETTE, np.uint8)
_FOLDER = "pictures"
_GAIN = ["gain (points)", "95 % interval (points)"]

GROUPS = {
    "successes": ("More successes", "The scenes with the most pixels put right, less those broken."),
    "failures": ("Failures", "The scenes with the most pixels broken, less those put right."),
    "drawn": ("Drawn blindly", "Scenes drawn at random from the others, with a fixed seed."),
}
OWN_NET = Closing(
    "Now your own net",
    [
        "Any Caffe net with a score for every pixel will do: its prototxt, its weights, a folder of images "
        "and, if there are label maps, their folder. It writes a page like this one. caffe_gp run --help has "
        "more."
    ],
    "caffe_gp run --prototxt deploy.prototxt --caffemodel net.caffemodel --images photos --labels masks "
    "--out out",
)


def report(results: dict[str, Any], gallery: Gallery, folder: Path) -> Report:
    """The report of the demo, its pictures written into ``folder``. ``write_page`` makes the page."""
    data, test = results["blobs"][0], results["data"]["test"]["images"]
    found = Report("demo", "A trained net corrects itself")
    found.claims = [Claim.of_record(record) for record in results["claims"]]
    found.opening = _opening(gallery, data["eps"], folder)
    found.text = [
        "Guided perturbations (GP): run the net, push the error signal of its own most confident labels back "
        f"to the image, move every pixel by {data['eps']:.3g} of 255 grey levels along its sign, run the net "
        f"again. No training, no new weights. Here on {test} held-out digit scenes: handwritten digits and "
        "photographs that the net has never seen.",
        "The net is ours and small, the task is made: these numbers stand for the method's behaviour, not "
        "for the paper's table 1, which needs its nets and the VOC images.",
    ]
    found.figures = [_group(name, gallery, folder) for name in GROUPS if gallery.groups.get(name)]
    found.figures += _plots(results, folder)
    found.tables = [_blobs(results), _encodings(results), _iterations(results), _classes(results)]
    found.closing = OWN_NET
    found.files = ("results.json",)
    names = ("date", "code_version", "command", "model", "engine", "preprocessing", "data")
    found.provenance = {name: results[name] for name in names}
    return found


def picture(gallery: Gallery, rows: int = 3) -> np.ndarray:
    """A panel for the README, (H, W, 3) uint8 BGR: the opening and the best scenes.

    Those come first in which all digits are found.
    """

    def all_found(index: int) -> bool:
        truth, after = (gallery.scenes[index][name] for name in ("truth", "gp"))
        return found_digits(truth, after) == found_digits(truth, truth)

    best = sorted(gallery.groups["successes"], key=lambda index: not all_found(index))
    return _rows(gallery, [*gallery.groups["opening"], *best][:rows])


# ---- scenes


def _opening(gallery: Gallery, eps: float, folder: Path) -> Figure:
    (index,) = gallery.groups["opening"]
    scene = gallery.scenes[index]
    seen = Seen(scene["image"], scene["truth"], scene["base"], [scene["gp"]], [eps], scene["perturbation"])
    drawn = panel(seen, DIGIT_SCENES, _COLOURS)
    write_bytes(folder / _FOLDER / "opening.jpg", pictures.jpeg_bytes(drawn))
    look = "Look at the base and at GP below it: "
    if scene["recognised"]:
        digits = " and ".join(f"the {DIGIT_SCENES[label]}" for label in scene["recognised"])
        look += f"{digits} was not recognised, and is now; blue are the pixels that were put right."
    else:
        look += "no digit is newly recognised in any scene; this is the one with most pixels put right."
    rule = (
        "By rule: of the scenes in which a digit is newly recognised (more than half of its pixels right, "
        "not so before) and none is lost, the one with the largest gain in pixels."
    )
    return Figure(f"{_FOLDER}/opening", f"{look} Scene {index}. {rule}", f"Scene {index} before and after GP")


def _rows(gallery: Gallery, chosen: Sequence[int]) -> np.ndarray:
    """Scenes below each other: image, truth, base, GP, changed, perturbation."""
    drawn, maps = [], []
    for k, index in enumerate(chosen):
        scene = gallery.scenes[index]
        image, size = scene["image"], panels.cell_size(scene["image"].shape, 6)
        maps += [scene[name] for name in ("truth", "base", "gp")]
        right = [
            f"{100 * float(np.mean(scene[name] == scene['truth'])):.1f} % right" for name in ("base", "gp")
        ]
        changes = pictures.Changes.of(scene["base"], scene["gp"], scene["truth"])
        painted = [pictures.overlay(image, labels, _COLOURS, size) for labels in maps[-3:]]
        titles = ["Image", "Ground truth", "Base", "Base + GP", "Changed", "Perturbation"]
        below = [f"scene {index}", "", *right, f"{scene['gained']:+,} pixels", "amplified" if k == 0 else ""]
        cells = [
            image,
            *painted,
            pictures.changed(image, changes, size),
            pictures.amplify(scene["perturbation"]),
        ]
        texts = [f"{title}\n{text}" if k == 0 else text for title, text in zip(titles, below)]
        drawn.append([Cell(text, cell) for text, cell in zip(texts, cells)])
    return panels.grid(drawn, [*pictures.legend_of(maps, DIGIT_SCENES, _COLOURS), FIXED, BROKEN, OTHER])


def _group(name: str, gallery: Gallery, folder: Path) -> Figure:
    title, rule = GROUPS[name]
    drawn = _rows(gallery, gallery.groups[name])
    write_bytes(folder / _FOLDER / f"{name}.jpg", pictures.jpeg_bytes(drawn))
    scenes = ", ".join(map(str, gallery.groups[name]))
    return Figure(f"{_FOLDER}/{name}", rule, f"Scenes {scenes} before and after GP", title)


# ---- plots and tables


def _plots(results: dict[str, Any], folder: Path) -> list[Figure]:
    curves, chosen = results["eps_curve"], results["blobs"][0]
    names = {split: f"{split}, {results['data'][split]['images']} scenes" for split in ("test", "validation")}
    drawn = {name: curves[split] for split, name in names.items()}
    ring = chosen["eps"], chosen["gp"]["mean_iu"]
    figures.save(
        _lines(drawn, results["base"]["test"]["mean_iu"], ring), folder / _FOLDER, "eps", figures.CURVES
    )
    encodings = {row["encoding"]: row["validation"] for row in results["encodings"]}
    figures.save(_lines(encodings), folder / _FOLDER, "encodings", figures.CURVES)
    return [
        Figure(
            f"{_FOLDER}/eps",
            "Mean IU over eps at the image (the paper's Figure 10), each curve through its own base at eps "
            "0. The ring is the eps that was chosen on validation scenes.",
            heading="How large a step, and which labels",
        ),
        Figure(
            f"{_FOLDER}/encodings",
            "Label encodings (the paper's Figure 8), on validation scenes. The ground truth is no method: it "
            "shows what a perfect pseudo label would give.",
        ),
    ]


def _lines(
    curves: dict[str, dict[str, Any]], base: float | None = None, ring: tuple[float, float] | None = None
) -> Any:
    with figures.style():
        figure = figures.new(3.4, figures.PLOT)
        axes = figure.add_subplot(1, 1, 1)
        figures.curves_axes(axes, "eps (grey levels)", "mean IU (%)")
        axes.axvline(0, color=GREY, linewidth=0.6)
        if base is not None:
            axes.axhline(base, color=GREY, linestyle="--", linewidth=0.9, label=f"test base {base:.2f}")
        for (name, curve), (colour, look) in zip(curves.items(), figures.looks()):
            x, y = with_base(curve["eps"], curve["mean_iu"], curve["base"])
            axes.plot(x, y, look, color=colour, label=name)
        if ring is not None:
            mark: dict[str, Any] = {"markersize": 9, "markerfacecolor": "none", "markeredgecolor": "black"}
            axes.plot(*([value] for value in ring), "o", **mark)
        axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=2)
        figure.tight_layout()
    return figure


def _blobs(results: dict[str, Any]) -> Table:
    header = ["perturbed blob", "eps", "eps / std", "validation (mean IU, %)", "test (mean IU, %)", *_GAIN]
    header += ["put right : broken", "time (ms a scene)", "time / forward"]
    table = Table("Which blob to perturb", [*header, "paper: gain (points)", "paper: time / forward"])
    passes = results["seconds"]["passes"]
    times = {row["blob"]: row for row in passes["blobs"]}
    base = [f"{results['base'][split]['mean_iu']:.2f}" for split in ("validation", "test")]
    forward = [f"{1000 * passes['forward']:.1f}", "1.0"]
    table.add("none (base)", "", "", *base, "", "", "", *forward, "", "1.0")
    for row in results["blobs"]:
        curve, blob = row["validation"], row["blob"]
        # eps 0: no step beat the base on validation scenes.
        tuned = curve["mean_iu"][curve["eps"].index(row["eps"])] if row["eps"] else curve["base"]
        cells: Row = [blob, f"{row['eps']:.3g}", f"{row['share_of_std']:.2f}", f"{tuned:.2f}"]
        cells += [f"{row['gp']['mean_iu']:.2f}", *_gain(row)]
        cells.append(f"{row['fixed_pixels'] / row['broken_pixels']:.2f}" if row["broken_pixels"] else "")
        cells += [f"{1000 * times[blob]['seconds']:.1f}", f"{times[blob]['ratio']:.1f}"]
        table.add(*cells, PAPER_GAINS.get(blob, ""), PAPER_TIMES.get(blob, ""))
    table.note = (
        "The paper's Table 4. A deeper blob costs less, as both passes get shorter. Every eps was chosen on "
        f"{results['data']['validation']['images']} validation scenes. Intervals: paired bootstrap over "
        f"images, {results['blobs'][0]['samples']} resamples. Time: a whole GP call over a plain forward "
        f"pass, the fastest of several, batches of {passes['batch']}."
    )
    return table


def _encodings(results: dict[str, Any]) -> Table:
    table = Table("Which labels", ["label encoding", "eps", "test (mean IU, %)", *_GAIN])
    for row in results["encodings"]:
        table.add(row["encoding"], f"{row['eps']:.3g}", f"{row['gp']['mean_iu']:.2f}", *_gain(row))
    return table


def _iterations(results: dict[str, Any]) -> Table:
    rows = results["iterations"]
    table = Table("More than one iteration", ["iterations", "eps a step", "mean IU (%)", *_GAIN])
    for row in rows:
        table.add(f"{row['iterations']}", f"{row['eps']:.3g}", f"{row['gp']['mean_iu']:.2f}", *_gain(row))
    table.note = (
        f"The question of Figure 5, on the first {rows[0]['images']} test scenes: the pseudo labels are "
        "taken anew before every step, with the same eps or with it divided among the steps."
    )
    return table


def _classes(results: dict[str, Any]) -> Table:
    table = Table("Class by class", ["class", "base (IU, %)", "base + GP (IU, %)", "difference (points)"])
    row = results["blobs"][0]
    for name, before, after in zip(results["data"]["classes"], row["base"]["iu"], row["gp"]["iu"]):
        if before is not None and after is not None:
            table.add(name, f"{before:.1f}", f"{after:.1f}", f"{after - before:+.1f}")
    table.add("mean", f"{row['base']['mean_iu']:.1f}", f"{row['gp']['mean_iu']:.1f}", f"{row['gain']:+.1f}")
    return table


def _gain(row: dict[str, Any]) -> list[str]:
    return [f"{row['gain']:+.2f}", f"{row['low']:+.2f} to {row['high']:+.2f}"]

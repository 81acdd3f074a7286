"""A run over images as a page: the verdict, some images by rule, the gains, the classes, the images.

However many images there are, pictures are of SHOWN and a table is of LISTED of them; results.json has all.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from caffe_gp.evaluation import class_changes
from caffe_gp.evaluation.labelled_images import LabelledImages
from caffe_gp.evaluation.results import RunResults
from caffe_gp.evaluation.segmentation import Evaluation, evaluate
from caffe_gp.files.atomic import write_bytes
from caffe_gp.report import figures
from caffe_gp.report.claims import Claim, above_zero
from caffe_gp.report.colours import BROKEN, FIXED, GREY
from caffe_gp.report.experiment_report import Figure, Report, Row, Table, interval, points, signed
from caffe_gp.report.page import read_picture
from caffe_gp.report.pictures import jpeg_bytes
from caffe_gp.runs.progress import OnProgress

log = logging.getLogger(__name__)

SHOWN = {"best": 2, "median": 1, "worst": 2}  # images
LISTED = 60  # images in the table: half of them the best, half the worst
RULE = "pixels put right minus pixels broken"
_STEPS = 4  # rows of a panel that a page shows
_PICTURES = "page"  # folder of what the page shows


def evaluate_with_page(
    settings: Evaluation, kind: str = "segmentation", on_progress: OnProgress | None = None
) -> RunResults:
    """``evaluate``, and the page beside its ``results.json``."""
    run = evaluate(settings, kind, on_progress=on_progress)
    write_page(run, settings, kind)
    return run


def write_page(run: RunResults, settings: Evaluation, kind: str = "segmentation") -> Path:
    """Write index.html, table.md and what they show into the run's folder; returns the page.

    settings, kind   those of the run: images whose panels it did not save are labelled once more
    """
    net = settings.module or settings.model or Path(settings.prototxt).name
    report = Report("run", f"{net} on {len(run.ids):,} image{'s' * (len(run.ids) != 1)}")
    report.provenance = {name: value for name, value in run.origin.items() if name != "records"}
    report.files = ("results.json", "provenance.json", "table.md")
    if run.labels_pixels:
        _of_pixels(report, run, settings, kind)
    else:
        _of_classes(report, run, settings)
    return report.write_page(run.folder)[-1]


def featured(run: RunResults) -> float:
    """The eps that a page is about: the one of the highest mean IU; without ground truth the first."""
    scores = [row.get("mean_iu", 0.0) for row in run.origin["summary"]["gp"]]
    return run.eps[int(np.argmax(scores))]


# ---- nets that label pixels


def _of_pixels(report: Report, run: RunResults, settings: Evaluation, kind: str) -> None:
    eps = featured(run)
    row = run.origin["summary"]["gp"][run.eps.index(eps)]
    scored = "gain" in row
    if scored:
        report.claims.append(_claim(run, eps))
        if len(run.eps) > 1:
            report.text.append(
                f"Shown is eps {eps:g}, the best of {len(run.eps)} on these very images: on others it may "
                "gain less."
            )
    else:
        share = row["changed_pixels"]
        report.text.append(
            f"At eps {eps:g} the labels of {100 * share:.2f} % of the pixels change. There is no ground "
            "truth (--labels), so nothing says whether they become right."
        )
    folder = _panels(run, settings, kind, eps)
    if folder is None:
        report.text.append("Without pictures: workers of a cluster have them (--save panel keeps them).")
    else:
        report.figures += _images(run, eps, folder)
    if scored:
        figures.save(_histogram(row["image_gains"]), run.folder / _PICTURES, "gains", ["svg"])
        counted = row["image_gains"]
        better, worse = (f"{100 * counted[name]:.0f} %" for name in ("better", "worse"))
        caption = f"Gains of single images at eps {eps:g}: {better} get better, {worse} worse."
        report.figures.append(Figure(f"{_PICTURES}/gains", caption, heading="How the gain is spread"))
    report.tables.append(_scores(run))
    if scored:
        report.tables.append(_classes(run, eps))
    report.tables.append(_listed(run, eps))


def _claim(run: RunResults, eps: float) -> Claim:
    gain = run.gain(eps)
    return Claim(
        "Guided perturbations raise the mean IU of a trained net, without training.",
        "Table 1",
        f"gain in mean IU (points) at eps {eps:g}, with its 95 % interval",
        "+0.8 to +3.0",
        f"{signed(gain.gain)} ({interval(gain.low, gain.high)})",
        *above_zero([gain]),
    )


def order(run: RunResults, eps: float) -> np.ndarray:
    """(N,) rows of the images, best first; without ground truth those with most changed pixels first."""
    k = run.eps.index(eps)
    value = run.fixed[k] - run.broken[k] if run.has_truth else run.changed[k]
    return np.argsort(-value, kind="stable")


def chosen(run: RunResults, eps: float) -> list[tuple[str, int]]:
    """The images that are shown, each with its kind of SHOWN: a best one is no worst one as well."""
    ranked = order(run, eps).tolist()
    found: list[tuple[str, int]] = []
    middle = (len(ranked) - SHOWN["median"]) // 2
    places = {
        "best": ranked[: SHOWN["best"]],
        "median": ranked[middle : middle + SHOWN["median"]],
        "worst": ranked[::-1][: SHOWN["worst"]],
    }
    for kind, rows in places.items():
        found += [(kind, row) for row in rows if row not in [seen for _, seen in found]]
    return found


def _images(run: RunResults, eps: float, folder: Path) -> list[Figure]:
    """The images that are shown, from the folder of their panels."""
    k, picked = run.eps.index(eps), chosen(run, eps)
    shown, rule = [], RULE if run.has_truth else "changed pixels"
    titles = {"best": f"Best images, by {rule}", "median": "The median image", "worst": "Worst images"}
    if not run.has_truth:
        titles.update(best="Images with most changed pixels", worst="Images with fewest changed pixels")
    for place, (kind, row) in enumerate(picked):
        item = run.ids[row]
        text = f"{run.changed[k][row]:,} pixels changed"
        if run.has_truth:
            text = f"{run.fixed[k][row]:,} pixels put right, {run.broken[k][row]:,} broken"
        file = f"{_PICTURES}/image{place}"
        drawn = read_picture(folder / f"{item}.png")
        write_bytes(run.folder / f"{file}.jpg", jpeg_bytes(drawn))
        first = not place or picked[place - 1][0] != kind
        alt = f"{item}: image, labels of the base and of GP, and the changed pixels"
        shown.append(Figure(file, f"Image {item}, eps {eps:g}: {text}.", alt, titles[kind] * first))
    return shown


def _panels(run: RunResults, settings: Evaluation, kind: str, eps: float) -> Path | None:
    """The folder of the panels of the images that are shown: the run's, or that of a small run of one eps.

    None where only workers of a cluster could make them.
    """
    items = [run.ids[row] for _, row in chosen(run, eps)]
    saved = run.folder / "panel"
    if len(run.eps) <= _STEPS and all((saved / f"{item}.png").is_file() for item in items):
        return saved
    if settings.cluster is not None:
        return None
    if not settings.quiet:
        log.info("  for the page %d image(s) are labelled once more, chosen by %s", len(items), RULE)
    plain: dict[str, Any] = {"crf": None, "switch": False, "eps_choice": None, "quiet": True, "by_key": True}
    device = (*settings.devices, settings.device)[0]
    here: dict[str, Any] = {"workers": 1, "devices": (), "device": device, "out": run.folder / _PICTURES}
    palette = settings.palette
    if palette is None:
        palette = figures.palette_of(getattr(settings.data, "colours", ()))
    data = Chosen(settings.data, tuple(items))
    again = replace(settings, data=data, eps=[eps], save=("panel",), palette=palette, **plain, **here)
    return evaluate(again, kind).folder / "panel"


@dataclass(frozen=True)
class Chosen:
    """Some images of a set; a ``LabelledImages``."""

    of: LabelledImages
    ids: tuple[str, ...]

    def __getattr__(self, name: str) -> Any:
        """What is not said here is the set's."""
        if name in {one.name for one in fields(self)} or name.startswith("__"):
            raise AttributeError(name)  # while it is unpickled
        return getattr(self.of, name)

    def absolute(self) -> Chosen:
        return replace(self, of=self.of.absolute())


def _histogram(spread: dict[str, Any]) -> Any:
    """How many images gain how much."""
    edges, counts = spread["histogram"]["edges"], spread["histogram"]["images"]
    names = [f"below {edges[0]:+g}", *(f"{a:+g} to {b:+g}" for a, b in zip(edges, edges[1:]))]
    names.append(f"above {edges[-1]:+g}")
    middle = len(counts) // 2
    with figures.style():
        figure = figures.new(3.2, figures.PLOT)
        axes = figure.add_subplot(1, 1, 1)
        for place, count in enumerate(counts):
            colour = GREY if place == middle else FIXED.colour if place > middle else BROKEN.colour
            axes.barh(place, count, color=colour)
            look = {"textcoords": "offset points", "va": "center", "fontsize": figures.SMALL}
            axes.annotate(f"{count:,}", (count, place), (3, 0), **look)
        axes.set_yticks(range(len(names)))
        axes.set_yticklabels(names)
        figures.curves_axes(axes, "images", "gain in mean IU (points)")
        axes.margins(x=0.12)
        axes.xaxis.get_major_locator().set_params(integer=True)
        figure.tight_layout()
    return figure


def _scores(run: RunResults) -> Table:
    """Base and every eps, behind the CRF and switched too."""
    summary = run.origin["summary"]
    scored = "mean_iu" in summary["base"]
    header = ["labels"]
    header += ["mean IU (%)", "gain (points)", "95 % interval (points)", "pixel accuracy (%)"] * scored
    header += ["put right (pixels)", "broken (pixels)"] * scored + ["changed (%)", "confidence"]
    table = Table("Base and guided perturbations", header)
    rows = [("base", summary["base"]), *((f"GP, eps {row['eps']:g}", row) for row in summary["gp"])]
    switched = [(f"{name}, switched", row["switched"]) for name, row in rows if "switched" in row]
    rows += switched + [(f"{name} + CRF", row["crf"]) for name, row in rows if "crf" in row]
    for name, row in rows:
        cells: Row = [name]
        if scored:
            gain = row.get("gain")
            cells += [points(row["mean_iu"])]
            sure = gain and f"{gain['low']:+.2f} to {gain['high']:+.2f}"
            cells += [f"{gain['gain']:+.2f}", sure] if gain else ["", ""]
            cells += [points(row["pixel_accuracy"])]
            cells += [f"{row[kind]:,}" if kind in row else "" for kind in ("fixed_pixels", "broken_pixels")]
        cells += [points(row["changed_pixels"]) if "changed_pixels" in row else ""]
        table.add(*cells, f"{row['confidence']:.4f}" if "confidence" in row else "")
    return table


def _classes(run: RunResults, eps: float) -> Table:
    """The IU of every class, in the net's order; of those that neither occur nor are predicted nothing."""
    header = ["class", "base (IU, %)", "GP (IU, %)", "difference (points)"]
    table = Table(f"Class by class, eps {eps:g}", header)
    before, after = run.total().iu, run.total(eps).iu
    for label, (first, second) in enumerate(zip(before, after)):
        if not (np.isnan(first) and np.isnan(second)):
            name = run.class_names[label] if label < len(run.class_names) else f"class {label}"
            table.add(name, points(first), points(second), signed(second - first))
    return table


def _listed(run: RunResults, eps: float) -> Table:
    """The images, best first: all, or LISTED of them."""
    k, ranked = run.eps.index(eps), order(run, eps).tolist()
    header = ["image", "changed (pixels)"]
    header += ["put right (pixels)", "broken (pixels)", "gain in mean IU (points)"] * run.has_truth
    table = Table(f"Image by image, eps {eps:g}", header)
    table.note = f"Sorted by {RULE}." if run.has_truth else "Sorted by changed pixels."
    if len(ranked) > LISTED:
        half = LISTED // 2
        ranked = ranked[:half] + ranked[-half:]
        table.note += f" The first and last {half} of {len(run.ids):,}; records/ has all."
    gains = run.image_gains(eps) if run.has_truth else np.full(len(run.ids), np.nan)
    for row in ranked:
        cells = [run.ids[row], f"{run.changed[k][row]:,}"]
        if run.has_truth:
            cells += [f"{run.fixed[k][row]:,}", f"{run.broken[k][row]:,}", signed(gains[row])]
        table.add(*cells)
    return table


# ---- nets that label whole images


def _of_classes(report: Report, run: RunResults, settings: Evaluation) -> None:
    report.text.append("The class of every image and its probability, before and after.")
    found = class_changes.most_moved(run)
    if settings.cluster is None:
        shown = jpeg_bytes(class_changes.picture(run, found, settings.data))
        write_bytes(run.folder / _PICTURES / "images.jpg", shown)
        caption = "Images whose class changes, or whose probability moves most."
        report.figures.append(Figure(f"{_PICTURES}/images", caption))
    report.tables.append(class_changes.table(run, found))


# ---- for the terminal


def said(run: RunResults, page: bool, most: int = 20) -> str:
    """What a run over image files wrote and, of a classifier, what it made of each image; lines of text."""
    lines = []
    if not run.labels_pixels:
        found = class_changes.classes_of(run)
        for item, labels in found[:most]:
            base, *after = (f"{name} ({p:.3f})" for name, p in labels)
            steps = ", ".join(f"{text} at eps {eps:g}" for text, eps in zip(after, run.eps))
            lines.append(f"{item}: {base} -> {steps}")
        if len(found) > most:
            lines.append(f"... and {len(found) - most} images more, in results.json")
    counts: dict[str, int] = {}
    for record in run.origin["records"]:
        for file in record.get("files", ()):
            kind = file.partition("/")[0]
            counts[kind] = counts.get(kind, 0) + 1
    wrote = [f"{kind}/ ({count})" for kind, count in sorted(counts.items())]
    wrote += ["results.json", "provenance.json", *(["index.html"] if page else [])]
    lines.append(f"wrote to {run.folder}: {', '.join(wrote)}")
    if page:
        lines.append(f"open {(run.folder / 'index.html').resolve()}")
    return "\n".join(lines)

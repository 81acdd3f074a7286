"""Guided perturbations of image files with any Caffe net: pictures, label maps and ``results.json``.

What ``caffe_gp run`` does, as a function. ``docs/results_schema.md`` describes the JSON file.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterator, Sequence

import numpy as np
from tqdm import tqdm

import caffe_gp
from caffe_gp import provenance
from caffe_gp.errors import DataError
from caffe_gp.evaluation.confusion import ConfusionMatrix, add_sparse
from caffe_gp.evaluation.image_outputs import ImageWriter
from caffe_gp.evaluation.labeller import CHANGES, Labeller, check_truth, scores_of
from caffe_gp.evaluation.settings import NetSettings, required
from caffe_gp.files.hashes import sha256_of, sha256_of_text
from caffe_gp.files.json_files import write_json
from caffe_gp.gp import GPResult
from caffe_gp.images.inputs import find_images, read_palette
from caffe_gp.images.label_maps import read_label_png
from caffe_gp.images.preprocess import Canvas
from caffe_gp.images.reading import image_size
from caffe_gp.runs import batches
from caffe_gp.runs.records import Records

SCHEMA = "caffe_gp.run_gp/1"


@dataclass
class Settings(NetSettings):
    """Everything a run is told; the names are those of the command line options.

    images   files, folders and lists; labels: folder of the ground truth
    out      folder for the results; save: any of SAVE_CHOICES
    """

    images: list[str] = field(default_factory=required)
    out: str = field(default_factory=required)
    labels: str | None = None
    palette: str | None = None
    save: tuple[str, ...] = ("labels", "overlay", "changed", "panel")


@dataclass
class _Item:
    """One image of the run: its name in the results, its file, its label map if labels were given."""

    name: str
    path: str
    labels: str | None


def run(settings: Settings) -> dict[str, Any]:
    """Do what the settings say and return the content of ``results.json``.

    Images whose record and files are in the output folder already are skipped. Raises the errors of
    ``engines.load_net``, ``GuidedPerturbation`` and ``Preprocess``; DataError for images and labels.
    """
    items = _items(settings)
    palette = read_palette(settings.palette) if settings.palette else None
    labeller = Labeller(settings)
    if not settings.quiet:
        for change in labeller.prepared.changes:
            print(f"  {change}", file=sys.stderr)
    origin = settings.origin(labeller.prepared)
    writer = ImageWriter(Path(settings.out), settings.save, palette)
    with Records(writer.folder / "records.jsonl", _key(settings, origin)) as records:
        todo = {item.name for item in items if not _is_finished(item, records, writer.folder)}
        # In a log file every update is a line of its own.
        on_screen = sys.stderr.isatty()
        with tqdm(
            total=len(items),
            initial=len(items) - len(todo),
            unit="image",
            disable=settings.quiet,
            file=sys.stderr,
            mininterval=0.2 if on_screen else 10,
        ) as bar:
            labeller.gp.on_progress = lambda done, total, what: bar.set_postfix_str(
                f"{what.replace('_', ' ')} {done}/{total}", refresh=on_screen
            )
            for batch, canvases in _batches(items, todo, labeller):
                truths = [_read_truth(item, canvas, labeller) for item, canvas in zip(batch, canvases)]
                result = labeller.label(canvases, truths, keep_probabilities="probabilities" in settings.save)
                for i, (item, canvas, truth) in enumerate(zip(batch, canvases, truths)):
                    if item.name not in todo:
                        continue
                    maps = labeller.maps(result, i, canvas)
                    files = writer.write(item.name, canvas, truth, maps, result, i)
                    record = _record(item, canvas, truth, maps, result, i, labeller.classes)
                    records.add(item.name, {**record, "files": files})
                    bar.update()
        results = _results(settings, origin, [records[item.name] for item in items], labeller.classes)
    write_json(writer.folder / "results.json", results)
    return results


# ---- what to do


def _items(settings: Settings) -> list[_Item]:
    if settings.encoding == "ground-truth" and settings.labels is None:
        raise DataError("encoding 'ground-truth' needs the labels: give --labels DIR")
    paths = find_images(settings.images)
    items: list[_Item] = []
    seen: dict[str, str] = {}
    for path in paths:
        name = Path(path).stem
        if name in seen:
            raise DataError(
                f"{path} and {seen[name]}: results are named after the image, so names must differ"
            )
        seen[name] = path
        image_size(path)  # a missing or broken file is told now, not after an hour
        labels = None
        if settings.labels is not None:
            labels = str(Path(settings.labels) / f"{name}.png")
            if not Path(labels).is_file():
                raise DataError(f"{labels}: no label map for image {path}")
        items.append(_Item(name, path, labels))
    return items


def _key(settings: Settings, origin: dict[str, Any]) -> dict[str, Any]:
    """What must not change between the parts of one run."""
    return {
        **{name: origin["model"][name] for name in ("prototxt_sha256", "caffemodel_sha256")},
        **origin["method"],
        **origin["preprocessing"],
        "engine": origin["engine"]["engine"],
        "device": origin["engine"]["device"],
        "save": sorted(settings.save),
        "labels": settings.labels is not None,
        "palette_sha256": sha256_of(settings.palette) if settings.palette else None,
        "version": caffe_gp.__version__,
    }


# ---- doing it


def _is_finished(item: _Item, records: Records, folder: Path) -> bool:
    """Whether the records hold this very image and its files are still there."""
    if item.name not in records:
        return False
    record = records[item.name]
    return (
        record["image_sha256"] == sha256_of(item.path)
        and record["labels_sha256"] == _sha256_or_none(item.labels)
        and all((folder / name).is_file() for name in record["files"])
    )


def _batches(
    items: Sequence[_Item], todo: set[str], labeller: Labeller
) -> Iterator[tuple[list[_Item], list[Canvas]]]:
    """The batches with an unfinished image, whole: what else is in a batch has a say in its last bits."""
    sizes = [labeller.preprocess.canvas_size(image_size(item.path)) for item in items]
    planned = batches.plan(sizes, labeller.settings.batch_size)
    wanted = [[items[index] for index in batch] for batch in planned]
    wanted = [batch for batch in wanted if any(item.name in todo for item in batch)]
    return batches.loaded_ahead(wanted, lambda batch: [labeller.preprocess.load(item.path) for item in batch])


def _read_truth(item: _Item, canvas: Canvas, labeller: Labeller) -> np.ndarray | None:
    if item.labels is None:
        return None
    return check_truth(read_label_png(item.labels, labeller.classes), canvas, item.labels)


def _record(
    item: _Item,
    canvas: Canvas,
    truth: np.ndarray | None,
    maps: Sequence[np.ndarray],
    result: GPResult,
    i: int,
    classes: int,
) -> dict[str, Any]:
    whole = len(result.base_labels)
    height, width = canvas.image.shape[:2]
    confidences = [result.base_confidence, *result.confidence]
    entries = [
        {"confidence": float(confidence[i].mean()), **scores_of(labels, truth, maps[0], classes)}
        for labels, confidence in zip(maps, confidences)
    ]
    for name in CHANGES:
        entries[0].pop(name, None)
    return {
        "image": item.path,
        "image_sha256": sha256_of(item.path),
        "labels_sha256": _sha256_or_none(item.labels),
        "width": width,
        "height": height,
        "code_version": provenance.code_version(),
        "seconds": {name: seconds / whole for name, seconds in result.seconds.items()},
        "base": entries[0],
        "gp": [{"eps": eps, **entry} for eps, entry in zip(result.eps, entries[1:])],
    }


# ---- the numbers


def _sha256_or_none(path: str | None) -> str | None:
    return None if path is None else sha256_of(path)


def _results(
    settings: Settings, origin: dict[str, Any], records: Sequence[dict[str, Any]], classes: int
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "date": provenance.now(),
        **origin,
        "data": {
            "images": len(records),
            "images_sha256": sha256_of_text("\n".join(sorted(r["image_sha256"] for r in records))),
            "labels": settings.labels,
            "classes": classes,
            "class_names": settings.class_names(classes),
        },
        "summary": summarise(records, settings.eps, classes),
        "images": list(records),
    }


def summarise(records: Sequence[dict[str, Any]], eps: Sequence[float], classes: int) -> dict[str, Any]:
    """Scores over all records: one confusion matrix for the whole set, base first, then for every eps."""
    base = _summary_of([record["base"] for record in records], classes)
    rows = []
    for k, value in enumerate(eps):
        entries = [record["gp"][k] for record in records]
        row = {"eps": value, **_summary_of(entries, classes)}
        if "mean_iu" in row:
            row["gain"] = row["mean_iu"] - base["mean_iu"]
        if "changed_pixels" in entries[0]:
            pixels = sum(record["width"] * record["height"] for record in records)
            row["changed_pixels"] = sum(entry["changed_pixels"] for entry in entries) / pixels
        rows.append(row)
    kinds = records[0]["seconds"]
    seconds = {kind: sum(record["seconds"][kind] for record in records) / len(records) for kind in kinds}
    return {"base": base, "gp": rows, "seconds_per_image": seconds}


def _summary_of(entries: Sequence[dict[str, Any]], classes: int) -> dict[str, Any]:
    summary: dict[str, Any] = {"confidence": sum(entry["confidence"] for entry in entries) / len(entries)}
    if all("confusion" in entry for entry in entries):
        total = ConfusionMatrix(classes)
        for entry in entries:
            add_sparse(entry["confusion"], total.matrix)
        summary.update(total.measures() if total.matrix.any() else {})
    return summary


def table(results: dict[str, Any]) -> str:
    """The summary as a few lines of text."""
    summary = results["summary"]
    rows = [("base", summary["base"]), *((f"GP, eps {row['eps']:g}", row) for row in summary["gp"])]
    lines = []
    for name, row in rows:
        parts = [f"{name:<16}"]
        if "mean_iu" in row:
            gain = f" ({row['gain'] * 100:+.2f})" if "gain" in row else ""
            parts.append(f"mean IU {row['mean_iu'] * 100:.2f}{gain}")
        if "changed_pixels" in row:
            parts.append(f"changed {row['changed_pixels'] * 100:.2f} % of the pixels")
        parts.append(f"confidence {row['confidence']:.4f}")
        lines.append("  ".join(parts))
    seconds = summary["seconds_per_image"]
    times = ", ".join(f"{name.replace('_', ' ')} {value:.3f} s" for name, value in seconds.items())
    return "\n".join([*lines, f"{results['data']['images']} image(s); each: {times}"])

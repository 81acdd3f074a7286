"""Guided perturbations of image files with any Caffe net: pictures, label maps and ``results.json``.

What ``tools/run_gp.py`` does, as a function. ``docs/results_schema.md`` describes the JSON file.
"""

from __future__ import annotations

import datetime
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator, Sequence

import numpy as np
from tqdm import tqdm

import caffe_gp
from caffe_gp import engine as engines
from caffe_gp import provenance
from caffe_gp.errors import CaffeGPError, DataError
from caffe_gp.evaluation.confusion import ConfusionMatrix, confusion
from caffe_gp.evaluation.image_inputs import find_images, read_palette
from caffe_gp.evaluation.image_outputs import ImageWriter
from caffe_gp.evaluation.records import Records
from caffe_gp.gp import GPResult, GuidedPerturbation
from caffe_gp.gp.preprocess import FCN_MEAN, Canvas, Preprocess, Size, image_size
from caffe_gp.models import weights, zoo
from caffe_gp.report import pictures

SCHEMA = "caffe_gp.run_gp/1"


@dataclass
class Settings:
    """Everything a run is told; the names are those of the command line options.

    ``model`` only names the net in the results; ``of_model`` gives the settings that belong to it.
    """

    prototxt: str
    caffemodel: str
    images: list[str]
    out: str
    eps: list[float]
    model: str | None = None
    blob: str = "data"
    encoding: str = "onehot"
    iterations: int = 1
    inject: str | None = None
    score: str | None = None
    mean: tuple[float, ...] | None = None
    scale: float = 1.0
    channel_order: str = "bgr"
    pad_to: Size | None = None
    resize: int | Size | None = None
    engine: str = "auto"
    device: str = "cpu"
    labels: str | None = None
    palette: str | None = None
    save: tuple[str, ...] = ("labels", "overlay", "changed", "panel")
    batch_size: int = 1
    seed: int = 0
    quiet: bool = False
    command: str = ""


@dataclass
class _Item:
    """One image of the run: its name in the results, its file, its label map if labels were given."""

    name: str
    path: str
    labels: str | None


def of_model(name: str, **given: Any) -> Settings:
    """The settings for a net of the zoo: what is not ``given`` (or None) is the model's, else the default.

    Raises CaffeGPError for an unknown name, or when eps (or caffemodel) is needed because the model has none;
    WeightsError when the weights are neither given nor in ``weights.weights_folder()``.
    """
    model = zoo.get(name)
    given = {key: value for key, value in given.items() if value is not None}
    if "eps" not in given:
        if model.eps is None:
            raise CaffeGPError(f"model '{name}' has no eps of its own ({model.eps_source}): give eps")
        given["eps"] = [model.eps]
    if "caffemodel" not in given:
        given["caffemodel"] = str(weights.require(name))
    own = {"model": name, "prototxt": str(model.prototxt()), "score": model.score, **vars(model.feed)}
    return Settings(**{**own, **given})


def run(settings: Settings) -> dict[str, Any]:
    """Do what the settings say and return the content of ``results.json``.

    Images whose record and files are in the output folder already are skipped. Raises the errors of
    ``engine.load_net``, ``GuidedPerturbation`` and ``Preprocess``; DataError for images and labels.
    """
    if len({f"{eps:g}" for eps in settings.eps}) < len(settings.eps):
        raise CaffeGPError(
            f"files are named after eps in six digits, so values must differ in them: {settings.eps}"
        )
    items = _items(settings)
    palette = read_palette(settings.palette) if settings.palette else None
    gp_net = engines.load_net(
        settings.prototxt,
        settings.caffemodel,
        engine=settings.engine,
        device=settings.device,
        score=settings.score,
        input_shape=_input_shape(settings),
    )
    if not settings.quiet:
        for change in gp_net.changes:
            print(f"  {change}", file=sys.stderr)
    preprocess = _preprocess(settings, gp_net)
    gp = GuidedPerturbation(
        gp_net,
        blob=settings.blob,
        encoding=settings.encoding,
        iterations=settings.iterations,
        inject=settings.inject,
        seed=settings.seed,
    )
    classes = gp_net.net.blobs[gp.score].data.shape[1]
    origin = _origin(settings, gp_net, gp, preprocess)
    writer = ImageWriter(Path(settings.out), settings.save, palette)
    with Records(writer.folder / "records.jsonl", _key(settings, origin)) as records:
        todo = [item for item in items if not _is_finished(item, records, writer.folder)]
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
            gp.on_progress = lambda done, total, what: bar.set_postfix_str(
                f"{what.replace('_', ' ')} {done}/{total}", refresh=on_screen
            )
            for batch, canvases in _batches(todo, preprocess, settings.batch_size):
                truths = [_read_truth(item, canvas, classes) for item, canvas in zip(batch, canvases)]
                result = _perturb(gp, settings, preprocess, canvases, truths)
                for i, (item, canvas, truth) in enumerate(zip(batch, canvases, truths)):
                    maps = _maps_of(result, i, preprocess, canvas)
                    files = writer.write(item.name, canvas, truth, maps, result, i)
                    records.add(item.name, _record(item, canvas, truth, maps, result, i, files, classes))
                    bar.update()
        results = _results(settings, origin, [records[item.name] for item in items], classes)
    text = json.dumps(results, indent=1) + "\n"
    pictures.write_bytes(writer.folder / "results.json", text.encode("utf-8"))
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


def _input_shape(settings: Settings) -> tuple[int | None, ...] | None:
    """The canvas' shape where the settings fix it, so that a net of one size is built for it at once."""
    size = settings.pad_to or (settings.resize if isinstance(settings.resize, tuple) else None)
    return None if size is None else (1, None, size[1], size[0])


def _preprocess(settings: Settings, gp_net: engines.GPNet) -> Preprocess:
    shape = gp_net.net.blobs[gp_net.data].data.shape
    if len(shape) != 4:
        raise CaffeGPError(f"the input blob '{gp_net.data}' has shape {shape}; images need (N, C, H, W)")
    mean = settings.mean
    if mean is None:
        mean = FCN_MEAN if shape[1] == 3 else (0.0,)
    return Preprocess(
        mean, settings.scale, settings.channel_order, shape[1], settings.resize, settings.pad_to
    )


def _origin(
    settings: Settings, gp_net: engines.GPNet, gp: GuidedPerturbation, preprocess: Preprocess
) -> dict:
    return {
        "code_version": provenance.code_version(),
        "command": settings.command,
        "model": {
            "name": settings.model,
            "prototxt": settings.prototxt,
            "prototxt_sha256": provenance.sha256_of(settings.prototxt),
            "caffemodel": settings.caffemodel,
            "caffemodel_sha256": provenance.sha256_of(settings.caffemodel),
            "surgery": gp_net.changes,
            "eps_source": _eps_source(settings),
        },
        "engine": engines.describe(settings.engine, settings.device),
        "method": {
            "eps": settings.eps,
            "blob": gp.blob,
            "score": gp.score,
            "encoding": gp.encoding,
            "inject": gp.inject,
            "iterations": gp.iterations,
            "seed": gp.seed,
        },
        "preprocessing": preprocess.describe(),
    }


def _eps_source(settings: Settings) -> str:
    model = zoo.get(settings.model) if settings.model is not None else None
    return model.eps_source if model is not None and settings.eps == [model.eps] else "given"


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
        "palette_sha256": provenance.sha256_of(settings.palette) if settings.palette else None,
        "version": caffe_gp.__version__,
    }


# ---- doing it


def _is_finished(item: _Item, records: Records, folder: Path) -> bool:
    """Whether the records hold this very image and its files are still there."""
    if item.name not in records:
        return False
    record = records[item.name]
    return (
        record["image_sha256"] == provenance.sha256_of(item.path)
        and record["labels_sha256"] == _sha256_or_none(item.labels)
        and all((folder / name).is_file() for name in record["files"])
    )


def _batches(
    items: Sequence[_Item], preprocess: Preprocess, size: int
) -> Iterator[tuple[list[_Item], list[Canvas]]]:
    """Images of equal canvas size together: a net is reshaped once a size, not once an image."""
    by_size: dict[tuple[int, int], list[_Item]] = {}
    for item in items:
        by_size.setdefault(image_size(item.path), []).append(item)
    for same in by_size.values():
        for first in range(0, len(same), size):
            batch = same[first : first + size]
            yield batch, [preprocess.load(item.path) for item in batch]


def _perturb(
    gp: GuidedPerturbation,
    settings: Settings,
    preprocess: Preprocess,
    canvases: Sequence[Canvas],
    truths: Sequence[np.ndarray | None],
) -> GPResult:
    labels = None
    if settings.encoding == "ground-truth":
        pairs = [(truth, canvas) for truth, canvas in zip(truths, canvases) if truth is not None]
        labels = np.stack([preprocess.labels_to_canvas(truth, canvas) for truth, canvas in pairs])
    images = np.stack([canvas.data for canvas in canvases])
    return gp(images, settings.eps, labels=labels, keep_probabilities="probabilities" in settings.save)


def _read_truth(item: _Item, canvas: Canvas, classes: int) -> np.ndarray | None:
    if item.labels is None:
        return None
    truth = pictures.read_label_png(item.labels, classes)
    if truth.shape != canvas.image.shape[:2]:
        raise DataError(
            f"{item.labels}: labels of {truth.shape[1]} x {truth.shape[0]} for an image of "
            f"{canvas.image.shape[1]} x {canvas.image.shape[0]}"
        )
    return truth


def _maps_of(result: GPResult, i: int, preprocess: Preprocess, canvas: Canvas) -> list[np.ndarray]:
    """Label maps of image ``i`` in its own pixels: base, then one for every eps (or just class numbers)."""
    maps = [labels[i] for labels in [result.base_labels, *result.labels]]
    if result.base_labels.ndim == 3:
        maps = [preprocess.labels_to_image(labels, canvas) for labels in maps]
    return maps


def _record(
    item: _Item,
    canvas: Canvas,
    truth: np.ndarray | None,
    maps: Sequence[np.ndarray],
    result: GPResult,
    i: int,
    files: Sequence[str],
    classes: int,
) -> dict[str, Any]:
    whole = len(result.base_labels)
    height, width = canvas.image.shape[:2]
    record: dict[str, Any] = {
        "image": item.path,
        "image_sha256": provenance.sha256_of(item.path),
        "labels_sha256": _sha256_or_none(item.labels),
        "width": width,
        "height": height,
        "code_version": provenance.code_version(),
        "seconds": {name: seconds / whole for name, seconds in result.seconds.items()},
        "files": list(files),
    }
    confidences = [result.base_confidence, *result.confidence]
    entries = []
    for labels, confidence in zip(maps, confidences):
        entry: dict[str, Any] = {"confidence": float(confidence[i].mean())}
        if labels.ndim == 0:
            entry["label"] = int(labels)
        else:
            entry["changed_pixels"] = int((labels != maps[0]).sum())
        if truth is not None and labels.ndim == 2:
            entry["confusion"] = _sparse(confusion(truth, labels, classes))
        entries.append(entry)
    entries[0].pop("changed_pixels", None)
    record["base"] = entries[0]
    record["gp"] = [{"eps": eps, **entry} for eps, entry in zip(result.eps, entries[1:])]
    return record


# ---- the numbers


def _sha256_or_none(path: str | None) -> str | None:
    return None if path is None else provenance.sha256_of(path)


def _sparse(counts: np.ndarray) -> list[list[int]]:
    """[truth, label, pixels] of every pair that occurs."""
    return [[int(t), int(p), int(counts[t, p])] for t, p in zip(*np.nonzero(counts))]


def _results(
    settings: Settings, origin: dict[str, Any], records: Sequence[dict[str, Any]], classes: int
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        **origin,
        "data": {
            "images": len(records),
            "images_sha256": provenance.sha256_of_text("\n".join(sorted(r["image_sha256"] for r in records))),
            "labels": settings.labels,
            "classes": classes,
            "class_names": _class_names(settings, classes),
        },
        "summary": summarise(records, settings.eps, classes),
        "images": list(records),
    }


def _class_names(settings: Settings, classes: int) -> list[str] | None:
    """The model's class names; None without a model, or where its prototxt is replaced by another net's."""
    names = zoo.get(settings.model).classes if settings.model is not None else ()
    return list(names) if len(names) == classes else None


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
            for truth, label, pixels in entry["confusion"]:
                total.matrix[truth, label] += pixels
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

"""The demonstration: guided perturbations of a small FCN on digit scenes, measured and shown.

    base and base + GP at data, pool1 ... pool4 (the paper's table 4), with bootstrap intervals
    mean IU over eps, negative values too (figure 10), label encodings (figure 8), iterations (figure 5)

Every eps is chosen on validation scenes; the test scenes have no say in it. ``run`` measures and returns what
results.json holds; ``demo_page`` makes the HTML page of it.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Sequence

import numpy as np

from caffe_gp import engines, provenance
from caffe_gp.datasets.digit_scenes import DigitScenes
from caffe_gp.errors import CaffeGPError, DataError
from caffe_gp.evaluation.bootstrap import paired_gain
from caffe_gp.evaluation.confusion import ConfusionMatrix, confusion
from caffe_gp.experiments.demo_text import statements
from caffe_gp.files.atomic import write_bytes
from caffe_gp.files.hashes import sha256_of
from caffe_gp.gp import GuidedPerturbation
from caffe_gp.models import zoo

SCHEMA = "caffe_gp.demo/1"
MODEL = zoo.get("digits")
BLOBS = ("data", "pool1", "pool2", "pool3", "pool4")
# Grey levels; and shares of the blob's standard deviation for inner blobs.
DATA_EPS = (-6.0, -4.0, -2.0, -1.0, -0.5, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0)
INNER_EPS = (0.02, 0.035, 0.05, 0.07, 0.1, 0.14, 0.2, 0.3)
ENCODING_EPS = (-6.0, -3.0, -1.0, 1.0, 3.0, 6.0)
ENCODINGS = ("random-onehot", "uniform", "top2", "soft", "ground-truth")
ITERATIONS = (2, 3)
ITERATION_SCENES = 200
TIMING_ROUNDS = 7
GALLERY = {"successes": 6, "failures": 4, "drawn": 4}


@dataclass
class Settings:
    """What to run: files, sizes, engine.

    scenes, validation   numbers of test and validation scenes
    batch_size           scenes in one pass
    """

    prototxt: Path
    caffemodel: Path
    out: Path
    scenes: int = 400
    validation: int = 200
    batch_size: int = 20
    engine: str = "auto"
    device: str = "cpu"
    quiet: bool = False
    command: str = ""


@dataclass
class Split:
    """Scenes in memory: images (N, H, W, 3) uint8 BGR, labels (N, H, W) uint8."""

    name: str
    images: np.ndarray
    labels: np.ndarray

    def first(self, number: int) -> Split:
        """The first scenes of it."""
        return Split(self.name, self.images[:number], self.labels[:number])

    def __len__(self) -> int:
        return len(self.images)


@dataclass
class Sweep:
    """Scores of one setting over a list of eps.

    eps         the values
    base        (N, C, C) int64: a confusion matrix per image before
    after       (E, N, C, C) int64: the same for each eps
    confidence  (1 + E,) mean largest probability, before and for each eps
    changed     (E, 2) pixels that became right and that became wrong
    """

    eps: list[float]
    base: np.ndarray
    after: np.ndarray
    confidence: np.ndarray
    changed: np.ndarray

    def mean_iu(self) -> list[float]:
        """Mean IU in percent for each eps."""
        return [_measures(matrices)["mean_iu"] for matrices in self.after]

    def best(self) -> float:
        """The eps with the highest mean IU."""
        return self.eps[int(np.argmax(self.mean_iu()))]

    def at(self, eps: float) -> np.ndarray:
        """The per-image matrices of one eps."""
        return self.after[self.eps.index(eps)]


@dataclass
class Gallery:
    """Label maps of test scenes chosen by rule, for the pictures.

    groups   'successes', 'failures', 'drawn' -> indices of test scenes
    scenes   index -> image, truth, base, gp, perturbation, gained (pixels put right minus pixels put wrong)
    """

    groups: dict[str, list[int]] = field(default_factory=dict)
    scenes: dict[int, dict[str, Any]] = field(default_factory=dict)


def run(settings: Settings) -> tuple[dict[str, Any], Gallery]:
    """Measure everything; returns the results (percent, JSON-ready) and the scenes for the pictures.

    A stopped run keeps its finished parts in ``out/unfinished`` and goes on from them when called again.
    Raises CaffeGPError for files or settings that do not work.
    """
    from tqdm import tqdm

    if min(settings.scenes, settings.validation, settings.batch_size) < 1:
        raise CaffeGPError("the numbers of scenes and the batch size must be at least 1")
    for path in (settings.prototxt, settings.caffemodel):
        if not path.is_file():
            raise DataError(f"{path}: no such file; 'make train-digits' makes the demo's weights again")
    started = time.perf_counter()
    validation = _split("val", settings.validation)
    test = _split("test", settings.scenes)
    loaded = engines.load_net(
        str(settings.prototxt), str(settings.caffemodel), engine=settings.engine, device=settings.device
    )
    origin = _origin(settings, loaded)
    deviations = _standard_deviations(loaded, validation.first(settings.batch_size))
    with tqdm(total=_passes(settings), unit="scene", disable=settings.quiet, desc="demo") as bar:
        measure = Measure(loaded, settings, origin, bar)
        rows, chosen = _blob_rows(measure, validation, test, deviations)
        eps = chosen["data"]
        results = {
            "schema": SCHEMA,
            "date": provenance.now(),
            **origin,
            "data": {
                "name": "digit scenes",
                "classes": list(MODEL.classes),
                "seed": 0,
                "size": list(test.images.shape[1:3]),
                "test": {"split": "test", "images": len(test), "sha256": _sha256(test)},
                "validation": {"split": "val", "images": len(validation), "sha256": _sha256(validation)},
            },
            "base": {
                "validation": _measures(measure(validation, [eps]).base),
                "test": _measures(measure(test, [eps]).base),
            },
            "blobs": rows,
            "eps_curve": {
                "blob": "data",
                "encoding": "onehot",
                "iterations": 1,
                "unit": "grey levels",
                "validation": _curve(measure(validation, DATA_EPS)),
                "test": _curve(measure(test, DATA_EPS)),
            },
            "encodings": _encoding_rows(measure, validation, test, eps),
            "iterations": _iteration_rows(measure, test, eps),
        }
        gallery = _gallery(measure, test, eps)
    results["seconds"] = {
        "passes": _time_passes(loaded, test.first(settings.batch_size), chosen),
        "whole_run": time.perf_counter() - started,
    }
    results["statements"] = statements(results)
    measure.forget()
    return results, gallery


class Measure:
    """Scores a setting on a split: ``measure(split, eps, blob=, encoding=, iterations=) -> Sweep``.

    Finished sweeps are kept in memory, and on disk until the whole run is done, under the hash of everything
    they depend on.
    """

    def __init__(self, loaded: Any, settings: Settings, origin: dict[str, Any], bar: Any) -> None:
        self.loaded, self.batch, self.bar = loaded, settings.batch_size, bar
        self.folder = settings.out / "unfinished"
        self.origin = {key: origin[key] for key in ("code_version", "model", "environment")}
        self.kept: dict[str, Sweep] = {}

    def __call__(
        self,
        split: Split,
        eps: Sequence[float],
        blob: str = "data",
        encoding: str = "onehot",
        iterations: int = 1,
    ) -> Sweep:
        eps = [float(value) for value in eps]
        work = (2 + len(eps) + (iterations - 1) * 2 * len(eps)) * len(split)
        for sweep in self._with(split, blob, encoding, iterations):
            if set(eps) <= set(sweep.eps):
                return sweep
        name = self._name(split, eps, blob, encoding, iterations)
        found = self._read(name)
        if found is None:
            sweep = self._measure(split, eps, blob, encoding, iterations, work)
            self._write(name, sweep)
        else:
            sweep = found
            self.bar.update(work)
        self.kept[name] = sweep
        return sweep

    def perturb(self, first: int, split: Split, gp: GuidedPerturbation, eps: Sequence[float]) -> Any:
        """GuidedPerturbation of one batch of a split."""
        part = slice(first, first + self.batch)
        truth = split.labels[part] if gp.encoding == "ground-truth" else None
        return gp(_fed(split.images[part]), eps, labels=truth)

    def forget(self) -> None:
        """Remove what was kept on disk: the run is complete."""
        for path in self.folder.glob("*.npz"):
            path.unlink()
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _measure(
        self, split: Split, eps: list[float], blob: str, encoding: str, iterations: int, work: int
    ) -> Sweep:
        self.bar.set_postfix_str(f"{split.name} {blob} {encoding} x{iterations}")
        gp = GuidedPerturbation(self.loaded, blob=blob, encoding=encoding, iterations=iterations)
        classes = len(MODEL.classes)
        base = np.zeros((len(split), classes, classes), np.int64)
        after = np.zeros((len(eps),) + base.shape, np.int64)
        confidence = np.zeros(1 + len(eps))
        changed = np.zeros((len(eps), 2), np.int64)
        for first in range(0, len(split), self.batch):
            result = self.perturb(first, split, gp, eps)
            truth = split.labels[first : first + self.batch]
            for i, scene in enumerate(range(first, first + len(truth))):
                base[scene] = confusion(truth[i], result.base_labels[i], classes)
                for k in range(len(eps)):
                    after[k, scene] = confusion(truth[i], result.labels[k][i], classes)
            confidence += [
                maps.sum(dtype=np.float64) for maps in (result.base_confidence, *result.confidence)
            ]
            right = result.base_labels == truth
            for k in range(len(eps)):
                now = result.labels[k] == truth
                changed[k] += [np.count_nonzero(now & ~right), np.count_nonzero(right & ~now)]
            self.bar.update(work // len(split) * len(truth))
        return Sweep(eps, base, after, confidence / split.labels.size, changed)

    def _with(self, split: Split, blob: str, encoding: str, iterations: int) -> list[Sweep]:
        start = self._name(split, [], blob, encoding, iterations).rsplit("_", 1)[0]
        return [sweep for name, sweep in self.kept.items() if name.rsplit("_", 1)[0] == start]

    def _name(self, split: Split, eps: list[float], blob: str, encoding: str, iterations: int) -> str:
        key = json.dumps([self.origin, _sha256(split), eps, self.batch], sort_keys=True)
        digest = hashlib.sha256(key.encode()).hexdigest()[:16]
        return f"{split.name}{len(split)}_{blob}_{encoding}_{iterations}_{digest}"

    def _read(self, name: str) -> Sweep | None:
        path = self.folder / f"{name}.npz"
        if not path.exists():
            return None
        try:
            with np.load(str(path)) as file:
                return Sweep(
                    file["eps"].tolist(), *(file[key] for key in ("base", "after", "confidence", "changed"))
                )
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return None

    def _write(self, name: str, sweep: Sweep) -> None:
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            eps=sweep.eps,
            base=sweep.base,
            after=sweep.after,
            confidence=sweep.confidence,
            changed=sweep.changed,
        )
        write_bytes(self.folder / f"{name}.npz", buffer.getvalue())


# ---- the parts of the table


def _blob_rows(
    measure: Measure, validation: Split, test: Split, deviations: dict[str, float]
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """One row a blob, eps chosen on validation scenes; and the chosen eps."""
    rows, chosen = [], {}
    for blob in BLOBS:
        grid = DATA_EPS if blob == "data" else [_rounded(share * deviations[blob]) for share in INNER_EPS]
        tuning = measure(validation, grid, blob=blob)
        chosen[blob] = eps = tuning.best()
        # The input's whole curve is shown for the test scenes too.
        sweep = measure(test, grid if blob == "data" else [eps], blob=blob)
        rows.append(
            {
                **_row(sweep, eps, blob, "onehot", 1),
                "unit": "grey levels" if blob == "data" else "blob's units",
                "share_of_std": eps / deviations[blob],
                "validation": _curve(tuning),
            }
        )
    return rows, chosen


def _encoding_rows(
    measure: Measure, validation: Split, test: Split, onehot_eps: float
) -> list[dict[str, Any]]:
    rows = [
        {
            **_row(measure(test, [onehot_eps]), onehot_eps, "data", "onehot", 1),
            "validation": _curve(measure(validation, DATA_EPS)),
        }
    ]
    for encoding in ENCODINGS:
        tuning = measure(validation, ENCODING_EPS, encoding=encoding)
        eps = tuning.best()
        rows.append(
            {
                **_row(measure(test, [eps], encoding=encoding), eps, "data", encoding, 1),
                "validation": _curve(tuning),
            }
        )
    return rows


def _iteration_rows(measure: Measure, test: Split, eps: float) -> list[dict[str, Any]]:
    """1, 2, 3 iterations with the chosen eps each, and with the step divided so that the sum is the same."""
    part = test.first(ITERATION_SCENES)
    rows = [_row(measure(part, [eps]), eps, "data", "onehot", 1)]
    for iterations in ITERATIONS:
        steps = [eps, _rounded(eps / iterations)]
        sweep = measure(part, steps, iterations=iterations)
        rows += [_row(sweep, step, "data", "onehot", iterations) for step in steps]
    return rows


def _row(sweep: Sweep, eps: float, blob: str, encoding: str, iterations: int) -> dict[str, Any]:
    after = sweep.at(eps)
    k = sweep.eps.index(eps)
    return {
        "blob": blob,
        "encoding": encoding,
        "iterations": iterations,
        "eps": eps,
        "images": len(after),
        "base": _measures(sweep.base),
        "gp": _measures(after),
        **paired_gain(sweep.base, after).points(),
        "base_confidence": 100 * float(sweep.confidence[0]),
        "confidence": 100 * float(sweep.confidence[1 + k]),
        "fixed_pixels": int(sweep.changed[k, 0]),
        "broken_pixels": int(sweep.changed[k, 1]),
    }


def _curve(sweep: Sweep) -> dict[str, Any]:
    return {"eps": sweep.eps, "mean_iu": sweep.mean_iu(), "base": _measures(sweep.base)["mean_iu"]}


def _measures(matrices: np.ndarray) -> dict[str, Any]:
    """Measures of the sum of per-image matrices, in percent."""
    total = ConfusionMatrix.from_state(matrices.sum(axis=0))
    return {
        "mean_iu": 100 * total.mean_iu,
        "pixel_accuracy": 100 * total.pixel_accuracy,
        "mean_accuracy": 100 * total.mean_accuracy,
        "frequency_weighted_iu": 100 * total.frequency_weighted_iu,
        "iu": [None if np.isnan(value) else 100 * float(value) for value in total.iu],
    }


def _gallery(measure: Measure, test: Split, eps: float) -> Gallery:
    """The scenes with the most pixels put right on balance, those with the fewest, and some drawn blindly."""
    gp = GuidedPerturbation(measure.loaded)
    kept: list[dict[str, Any]] = []
    for first in range(0, len(test), measure.batch):
        result = measure.perturb(first, test, gp, [eps])
        for i in range(len(result.base_labels)):
            truth, base, after = test.labels[first + i], result.base_labels[i], result.labels[0][i]
            gained = int(np.count_nonzero(after == truth)) - int(np.count_nonzero(base == truth))
            kept.append(
                {
                    "image": test.images[first + i],
                    "truth": truth,
                    "base": base.astype(np.uint8),
                    "gp": after.astype(np.uint8),
                    "gained": gained,
                    "perturbation": result.perturbation[0][i],
                }
            )
        measure.bar.update(3 * len(result.base_labels))
    order = sorted(range(len(kept)), key=lambda i: (-kept[i]["gained"], i))
    best = order[: GALLERY["successes"]]
    worst = [i for i in order[::-1] if i not in best][: GALLERY["failures"]]
    rest = [i for i in range(len(kept)) if i not in best + worst]
    drawn = np.random.RandomState(0).permutation(rest)[: GALLERY["drawn"]].tolist()
    groups = {"successes": best, "failures": worst, "drawn": sorted(drawn)}
    return Gallery(groups, {i: kept[i] for group in groups.values() for i in group})


# ---- where the numbers come from


def _origin(settings: Settings, loaded: Any) -> dict[str, Any]:
    return {
        "code_version": provenance.code_version(),
        "command": settings.command,
        "model": {
            "name": MODEL.name,
            "prototxt": settings.prototxt.name,
            "prototxt_sha256": sha256_of(settings.prototxt),
            "caffemodel": settings.caffemodel.name,
            "caffemodel_sha256": sha256_of(settings.caffemodel),
            "surgery": loaded.changes,
        },
        "environment": engines.describe(settings.engine, settings.device),
        "preprocessing": {"mean_bgr": list(MODEL.feed.mean), "scale": 1.0, "resize": None},
    }


def _fed(images: np.ndarray) -> np.ndarray:
    """Scenes (N, H, W, 3) uint8 BGR as the net wants them."""
    return MODEL.feed.batch(images[..., ::-1])


def _split(name: str, number: int) -> Split:
    return Split(name, *DigitScenes(name).batch(range(number)))


def _sha256(split: Split) -> str:
    digest = hashlib.sha256(split.images.tobytes())
    digest.update(split.labels.tobytes())
    return digest.hexdigest()


def _rounded(value: float, digits: int = 3) -> float:
    return float(f"{value:.{digits}g}")


def _standard_deviations(loaded: Any, split: Split) -> dict[str, float]:
    """Standard deviation of each blob over some scenes: the scale for the eps of inner blobs."""
    net = loaded.net
    net.blobs[loaded.data].reshape(*_fed(split.images).shape)
    net.blobs[loaded.data].data[...] = _fed(split.images)
    net.forward()
    return {blob: float(net.blobs[blob].data.std(dtype=np.float64)) for blob in BLOBS}


def _time_passes(loaded: Any, split: Split, chosen: dict[str, float]) -> dict[str, Any]:
    """Seconds per scene of a plain forward and of GP at each blob: the fastest of interleaved rounds."""
    images = _fed(split.images)
    net = loaded.net
    runs = {blob: GuidedPerturbation(loaded, blob=blob) for blob in BLOBS}
    seconds: dict[str, list[float]] = {name: [] for name in ("forward", *BLOBS)}
    for _ in range(TIMING_ROUNDS + 1):
        start = time.perf_counter()
        net.blobs[loaded.data].reshape(*images.shape)
        net.blobs[loaded.data].data[...] = images
        net.forward()
        np.argmax(net.blobs[loaded.score].data, axis=1)
        seconds["forward"].append(time.perf_counter() - start)
        for blob, gp in runs.items():
            start = time.perf_counter()
            gp(images, chosen[blob])
            seconds[blob].append(time.perf_counter() - start)
    # The first round warms up.
    fastest = {name: min(times[1:]) / len(images) for name, times in seconds.items()}
    return {
        "batch": len(images),
        "forward": fastest["forward"],
        "blobs": [
            {"blob": blob, "seconds": fastest[blob], "ratio": fastest[blob] / fastest["forward"]}
            for blob in BLOBS
        ],
    }


def _passes(settings: Settings) -> int:
    """Scene passes of the whole run, for the progress bar."""
    test, val = settings.scenes, settings.validation
    inner = len(BLOBS) - 1
    total = (2 + len(DATA_EPS)) * (val + test) + inner * ((2 + len(INNER_EPS)) * val + 3 * test)
    total += len(ENCODINGS) * ((2 + len(ENCODING_EPS)) * val + 3 * test)
    part = min(test, ITERATION_SCENES)
    if part != test:
        total += 3 * part
    total += sum(2 + 2 + (n - 1) * 4 for n in ITERATIONS) * part
    return total + 3 * test

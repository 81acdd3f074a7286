"""Training of the demo's net with the embedded Caffe's own solver.

Reads prototxt/digit_fcn/solver.prototxt, trains, folds the batch normalisation into the convolutions and
writes into the output folder:

    digit_fcn.caffemodel   the deployed net's weights, for prototxt/digit_fcn/deploy.prototxt
    training.json          the recipe with hashes, the machine, the losses, the score on validation scenes
    training/              snapshots; a stopped run goes on from the newest when started again
"""

from __future__ import annotations

import json
import re
import signal
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

import numpy as np

from caffe_gp import engine, proto, provenance
from caffe_gp.datasets.digit_scenes import DigitScenes
from caffe_gp.evaluation.confusion import ConfusionMatrix
from caffe_gp.models import digit_fcn

LOG_EVERY = 20
VALIDATION_SCENES = 200


def train(prototxts: Path, out: Path, steps: int | None = None, quiet: bool = False) -> dict[str, Any]:
    """Train to the end, or go on from the newest snapshot in ``out/training``.

    prototxts  folder with train, deploy and solver.prototxt (models.digit_fcn.write_prototxts)
    out        folder for the weights and the record
    steps      overrides the recipe's number of iterations (for trials; then the decay is faster too)
    Ctrl-C stops after the iteration at hand, with a snapshot; KeyboardInterrupt is raised then.
    Returns what training.json holds.
    """
    from tqdm import tqdm

    work = out / "training"
    work.mkdir(parents=True, exist_ok=True)
    recipe = proto.read_solver_param(str(prototxts / "solver.prototxt"))
    recipe.net = str((prototxts / "train.prototxt").resolve())
    recipe.snapshot_prefix = str((work / "digit_fcn").resolve())
    if steps is not None:
        recipe.max_iter = steps
    proto.write_text(recipe, str(work / "solver.prototxt"))

    caffe = engine.load_caffe("torch")
    solver = caffe.get_solver(str(work / "solver.prototxt"))
    log: list[tuple[int, float]] = []
    seconds = 0.0
    newest = newest_snapshot(work)
    if newest is not None:
        solver.restore(str(newest))
        log, seconds = _read_log(work / "log.json", solver.iter)
    data_layer = solver.net.layers[0]
    data_layer.position = solver.iter * data_layer.batch

    start = time.perf_counter() - seconds
    recent: list[float] = []
    bar = tqdm(total=recipe.max_iter, initial=solver.iter, desc="training", unit="step", disable=quiet)
    with bar, _deferred_interrupt() as interrupted:
        while solver.iter < recipe.max_iter:
            solver.step(1)
            recent.append(float(solver.net.blobs["loss"].data))
            bar.update(1)
            if solver.iter % LOG_EVERY == 0:
                log.append((solver.iter, float(np.mean(recent))))
                bar.set_postfix(loss=f"{log[-1][1]:.3f}")
                recent = []
            last = solver.iter == recipe.max_iter
            if interrupted() or last or (recipe.snapshot and solver.iter % recipe.snapshot == 0):
                if last or not (recipe.snapshot and solver.iter % recipe.snapshot == 0):
                    solver.snapshot()  # step() has made the regular ones
                _write_json(work / "log.json", {"seconds": time.perf_counter() - start, "loss": log})
                _drop_old_snapshots(work)
            if interrupted() and not last:
                raise KeyboardInterrupt
    seconds = time.perf_counter() - start
    return _finish(caffe, solver.net, recipe, prototxts, out, log, seconds, quiet)


def _finish(
    caffe: Any,
    net: Any,
    recipe: Any,
    prototxts: Path,
    out: Path,
    log: list[tuple[int, float]],
    seconds: float,
    quiet: bool,
) -> dict[str, Any]:
    """Fold, write, score on validation scenes, record."""
    params = {name: [np.array(blob.data) for blob in blobs] for name, blobs in net.params.items()}
    deploy = proto.read_net_param(str(prototxts / "deploy.prototxt"))
    weights = out / "digit_fcn.caffemodel"
    proto.write_caffemodel(str(weights), deploy, digit_fcn.fold(params))
    score = validate(prototxts / "deploy.prototxt", weights, quiet=quiet)
    record = {
        "weights": weights.name,
        "sha256": provenance.sha256_of(weights),
        "prototxts": {
            name: provenance.sha256_of(prototxts / f"{name}.prototxt")
            for name in ("train", "deploy", "solver")
        },
        "steps": int(recipe.max_iter),
        "batch": digit_fcn.BATCH,
        "data": "digit scenes, split train, seed 0: scenes 0, 1, 2, ... each seen once",
        "validation": {"scenes": VALIDATION_SCENES, **score},
        "seconds": round(seconds, 1),
        "environment": engine.describe("torch"),
        "code_version": provenance.code_version(),
        "loss": log,
    }
    _write_json(out / "training.json", record)
    return record


def validate(prototxt: Path, weights: Path, scenes: int = VALIDATION_SCENES, quiet: bool = False) -> dict:
    """Mean IU and pixel accuracy of the deployed net on the first validation scenes."""
    from tqdm import tqdm

    net = engine.load_caffe("torch").Net(str(prototxt), str(weights), 1)
    data = DigitScenes("val")
    matrix = ConfusionMatrix(digit_fcn.CLASSES)
    batch = 20
    for first in tqdm(range(0, scenes, batch), desc="validation", disable=quiet):
        images, labels = data.batch(range(first, min(first + batch, scenes)))
        net.blobs["data"].reshape(*images.transpose(0, 3, 1, 2).shape)
        net.blobs["data"].data[...] = digit_fcn.preprocess(images)
        net.forward()
        matrix.update(labels, net.blobs["score"].data.argmax(axis=1))
    return {"mean_iu": matrix.mean_iu, "pixel_accuracy": matrix.pixel_accuracy}


def newest_snapshot(folder: Path) -> Path | None:
    """The solver state of the highest iteration whose weights are there too."""
    states = [path for path in _snapshots(folder) if path.with_suffix(".caffemodel").exists()]
    return states[-1] if states else None


def _snapshots(folder: Path) -> list[Path]:
    def iteration(path: Path) -> int:
        found = re.search(r"_iter_(\d+)$", path.stem)
        return int(found.group(1)) if found else -1

    return sorted((path for path in folder.glob("*.solverstate") if iteration(path) >= 0), key=iteration)


def _drop_old_snapshots(folder: Path, keep: int = 2) -> None:
    for path in _snapshots(folder)[:-keep]:
        path.with_suffix(".caffemodel").unlink()
        path.unlink()


def _read_log(path: Path, iteration: int) -> tuple[list[tuple[int, float]], float]:
    """The log up to an iteration and the seconds spent so far."""
    if not path.exists():
        return [], 0.0
    saved = json.loads(path.read_text(encoding="utf-8"))
    return [(int(i), float(loss)) for i, loss in saved["loss"] if i <= iteration], float(saved["seconds"])


def _write_json(path: Path, content: dict[str, Any]) -> None:
    temporary = path.with_name("." + path.name + ".tmp")
    temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


@contextmanager
def _deferred_interrupt() -> Iterator[Any]:
    """Ctrl-C only sets a flag, so that no iteration is cut in two; the second one interrupts at once."""
    seen: list[int] = []

    def note(number: int, frame: Any) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)

    previous = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(seen)
    finally:
        signal.signal(signal.SIGINT, previous)

"""Training with the embedded Caffe's own solver: progress bar, snapshots, Ctrl-C, scores on the way.

A net's recipe is a folder with train.prototxt and solver.prototxt. The first layer of the training net is a
Python data layer with ``batch`` and ``position``, the number of samples given so far, so that a stopped run
goes on with the samples that it would have seen.
"""

from __future__ import annotations

import json
import re
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np

from caffe_gp import engine, proto

LOG_EVERY = 20


@dataclass
class Trained:
    """A finished training.

    name     prefix of the snapshots
    work     their folder
    recipe   the SolverParameter
    loss     (iteration, mean loss of the last LOG_EVERY) pairs
    scores   (iteration, score) pairs of the snapshots, empty without a ``score`` function
    seconds  spent, interruptions left out
    """

    name: str
    work: Path
    recipe: Any
    loss: list[tuple[int, float]] = field(default_factory=list)
    scores: list[tuple[int, float]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def best(self) -> int:
        """The iteration with the best score, the earliest of equals; the last one without scores."""
        if not self.scores:
            return int(self.recipe.max_iter)
        return max(self.scores, key=lambda pair: (pair[1], -pair[0]))[0]

    def params(self, iteration: int | None = None) -> dict[str, list[np.ndarray]]:
        """The training net's weights, layer name -> float32 arrays, of a snapshot (default: the best)."""
        path = self.snapshot(self.best if iteration is None else iteration)
        weights = proto.read_weights(str(path))
        return {name: [blob.array() for blob in blobs if blob is not None] for name, blobs in weights}

    def snapshot(self, iteration: int) -> Path:
        """The weights file of a snapshot."""
        return self.work / f"{self.name}_iter_{iteration}.caffemodel"


def train(
    name: str,
    prototxts: Path,
    work: Path,
    steps: int | None = None,
    quiet: bool = False,
    score: Callable[[dict[str, list[np.ndarray]]], float] | None = None,
) -> Trained:
    """Train to the end, or go on from the newest snapshot in ``work``.

    prototxts  folder with train.prototxt and solver.prototxt
    steps      overrides the recipe's number of iterations (for trials; then the decay is faster too)
    score      judges the training net's weights at every regular snapshot and at the end; the best one's
               weights are kept, and are the result
    Ctrl-C stops after the iteration at hand, with a snapshot; KeyboardInterrupt is raised then.
    """
    from tqdm import tqdm

    work.mkdir(parents=True, exist_ok=True)
    recipe = proto.read_solver_param(str(prototxts / "solver.prototxt"))
    recipe.net = str((prototxts / "train.prototxt").resolve())
    recipe.snapshot_prefix = str((work / name).resolve())
    if steps is not None:
        recipe.max_iter = steps
    proto.write_text(recipe, str(work / "solver.prototxt"))

    solver = engine.load_caffe("torch").get_solver(str(work / "solver.prototxt"))
    run = Trained(name, work, recipe)
    newest = newest_snapshot(work)
    if newest is not None:
        solver.restore(str(newest))
        _read_log(run, solver.iter)
    data_layer = solver.net.layers[0]
    data_layer.position = solver.iter * data_layer.batch

    start = time.perf_counter() - run.seconds
    recent: list[float] = []
    bar = tqdm(total=recipe.max_iter, initial=solver.iter, desc="training", unit="step", disable=quiet)
    with bar, _deferred_interrupt() as interrupted:
        while solver.iter < recipe.max_iter:
            solver.step(1)
            recent.append(float(solver.net.blobs["loss"].data))
            bar.update(1)
            if solver.iter % LOG_EVERY == 0:
                run.loss.append((solver.iter, float(np.mean(recent))))
                bar.set_postfix(loss=f"{run.loss[-1][1]:.3f}")
                recent = []
            last = solver.iter == recipe.max_iter
            regular = bool(recipe.snapshot) and solver.iter % recipe.snapshot == 0
            if interrupted() or last or regular:
                if not regular:
                    solver.snapshot()  # step() has made the regular ones
                if score is not None and (regular or last):
                    run.scores.append((solver.iter, score(run.params(solver.iter))))
                    if not quiet:
                        bar.write(f"iteration {solver.iter}: score {run.scores[-1][1]:.4f}")
                run.seconds = time.perf_counter() - start
                _write_log(run)
                _drop_old_snapshots(run)
            if interrupted() and not last:
                raise KeyboardInterrupt
    return run


def newest_snapshot(folder: Path) -> Path | None:
    """The solver state of the highest iteration whose weights are there too."""
    states = [path for path in _snapshots(folder) if path.with_suffix(".caffemodel").exists()]
    return states[-1] if states else None


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file through a temporary name."""
    temporary = path.with_name("." + path.name + ".tmp")
    temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def _snapshots(folder: Path) -> list[Path]:
    def iteration(path: Path) -> int:
        found = re.search(r"_iter_(\d+)$", path.stem)
        return int(found.group(1)) if found else -1

    return sorted((path for path in folder.glob("*.solverstate") if iteration(path) >= 0), key=iteration)


def _drop_old_snapshots(run: Trained, keep: int = 2) -> None:
    """Keep the newest, to go on from, and the best."""
    best = run.snapshot(run.best)
    for path in _snapshots(run.work)[:-keep]:
        weights = path.with_suffix(".caffemodel")
        if weights != best:
            weights.unlink()
            path.unlink()


def _read_log(run: Trained, iteration: int) -> None:
    """What was logged up to an iteration."""
    path = run.work / "log.json"
    if path.exists():
        saved = json.loads(path.read_text(encoding="utf-8"))
        run.loss = [(int(i), float(loss)) for i, loss in saved["loss"] if i <= iteration]
        run.scores = [(int(i), float(score)) for i, score in saved["scores"] if i <= iteration]
        run.seconds = float(saved["seconds"])


def _write_log(run: Trained) -> None:
    write_json(run.work / "log.json", {"seconds": run.seconds, "loss": run.loss, "scores": run.scores})


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

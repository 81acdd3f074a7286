"""Training by any Caffe solver file, on either engine: progress bar, curves, snapshots, Ctrl-C.

    run = train(recipe.read_recipe("solver.prototxt"))
    run.loss, run.tests, run.snapshot(run.best)

Snapshots go where the solver's ``snapshot_prefix`` says, as Caffe's do. Beside them lie the losses and test
scores, PREFIX_log.json, and a picture of them, PREFIX_curves.png. A training resumes from its newest
snapshot. A Python data layer with ``batch`` and ``position``, the number of samples given so far, then gives
the samples that it would have given.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np

from caffe_gp import engines, proto
from caffe_gp.errors import CaffeGPError, DataError
from caffe_gp.files.json_files import write_json
from caffe_gp.proto import messages as pb
from caffe_gp.report import figures
from caffe_gp.training import curves

LOG_EVERY = 20
# Tests are run here, where their results can be kept: Caffe's solvers only print them.
_NEVER = 2**31 - 1


@dataclass
class Trained:
    """A finished training.

    recipe   the SolverParameter
    loss     (iteration, mean loss of the last LOG_EVERY) pairs
    tests    (iteration, the test nets' outputs by name, means over ``test_iter``) pairs
    scores   (iteration, score) pairs of the snapshots, empty without a ``score`` function
    seconds  spent, interruptions left out
    """

    recipe: Any
    loss: list[tuple[int, float]] = field(default_factory=list)
    tests: list[tuple[int, dict[str, float]]] = field(default_factory=list)
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
        with proto.read_weights(str(path)) as weights:
            return {
                name: [np.array(blob.array()) for blob in blobs if blob is not None]
                for name, blobs in weights
            }

    def snapshot(self, iteration: int) -> Path:
        """The weights file of a snapshot."""
        ending = ".h5" if self.recipe.snapshot_format == pb.SolverParameter.HDF5 else ""
        return self.beside(f"iter_{iteration}.caffemodel{ending}")

    def beside(self, ending: str) -> Path:
        """PREFIX_<ending>, a file beside the snapshots."""
        return Path(f"{self.recipe.snapshot_prefix}_{ending}")


def train(
    recipe: Any,
    *,
    engine: str = "torch",
    device: str = "cpu",
    weights: str | os.PathLike | None = None,
    snapshot: str | os.PathLike | None = None,
    quiet: bool = False,
    score: Callable[[dict[str, list[np.ndarray]]], float] | None = None,
    keep: int | None = None,
) -> Trained:
    """Train to the end, from a snapshot if there is one.

    recipe    a SolverParameter
    weights   to start from, as for fine-tuning; a snapshot goes before it
    snapshot  solver state to resume from; default: the newest with the recipe's prefix
    score     judges the training net's weights at every regular snapshot and at the end; the best one's
              weights are the result
    keep      how many snapshots stay besides the best one; default: all
    Test nets are run as the recipe says, and at the end. Ctrl-C stops after the iteration at hand, with a
    snapshot; KeyboardInterrupt is raised then. Raises DataError for a snapshot that is not there or is
    beyond ``max_iter``, and for tests without a ``test_interval``; CaffeGPError when the loss
    becomes nan or infinite, and what the engine raises; BVLC Caffe aborts instead (``engines.run_guarded``).
    """
    from tqdm import tqdm

    run = Trained(recipe)
    solver = _open(run, engine, device, weights, snapshot)
    start = time.perf_counter() - run.seconds
    bar = tqdm(total=recipe.max_iter, initial=solver.iter, desc="training", unit="step", disable=quiet)
    with bar, _deferred_interrupt() as interrupted:
        if solver.iter == 0 and recipe.test_iter and recipe.test_initialization:
            _test(run, solver)
        for losses in _steps(solver, recipe.max_iter):
            bar.update(1)
            last = solver.iter == recipe.max_iter
            if solver.iter % LOG_EVERY == 0 or last:
                _log_loss(run, solver.iter, losses)
            if recipe.test_iter and (solver.iter % recipe.test_interval == 0 or last):
                _test(run, solver)
            if solver.iter % LOG_EVERY == 0:
                bar.set_postfix(_newest(run))
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
                _drop_old_snapshots(run, keep)
            if interrupted() and not last:
                raise KeyboardInterrupt
    return run


def _open(
    run: Trained,
    engine: str,
    device: str,
    weights: str | os.PathLike | None,
    snapshot: str | os.PathLike | None,
) -> Any:
    """The engine's solver, at the iteration that the training resumes from; ``run`` gets what was logged."""
    recipe = run.recipe
    state = Path(snapshot) if snapshot is not None else newest_snapshot(recipe.snapshot_prefix)
    if state is not None and not (state.is_file() and _weights_of(state).is_file()):
        raise DataError(f"{state}: no such snapshot (a .solverstate with its .caffemodel beside it)")
    solver = engines.load_caffe(engine, device).get_solver(_write_solver(run))
    if state is not None:
        solver.restore(str(state))
        if solver.iter > recipe.max_iter:
            raise DataError(
                f"{state}: {solver.iter} iterations are done, only {recipe.max_iter} are asked for; another "
                "folder (--out) starts anew"
            )
        _read_log(run, solver.iter)
        _resume_data(solver.net, solver.iter * recipe.iter_size)
    elif weights is not None:
        proto.read_weights(weights).close()  # BVLC Caffe would abort, or go on without
        solver.net.copy_from(os.fspath(weights))
    return solver


def _steps(solver: Any, iterations: int) -> Iterator[list[float]]:
    """One iteration after the other; after each the losses since whoever takes them last cleared the list."""
    weighted = {name: weight for name, weight in solver.net.blob_loss_weights.items() if weight}
    losses: list[float] = []
    while solver.iter < iterations:
        solver.step(1)
        blobs = solver.net.blobs
        losses.append(sum(weight * float(blobs[name].data.sum()) for name, weight in weighted.items()))
        yield losses


def _log_loss(run: Trained, iteration: int, losses: list[float]) -> None:
    """Log the mean of ``losses`` and clear them. CaffeGPError if it is not finite."""
    loss = float(np.mean(losses))
    losses.clear()
    run.loss.append((iteration, loss))
    if not np.isfinite(loss):
        raise CaffeGPError(
            f"iteration {iteration}: the loss is {loss}, the training has diverged. Try a smaller base_lr "
            f"than {run.recipe.base_lr:g}, or smaller values in the data"
        )


def newest_snapshot(prefix: str | os.PathLike) -> Path | None:
    """The solver state PREFIX_iter_N of the highest N whose weights are there too."""
    states = [path for path in _snapshots(Path(prefix)) if _weights_of(path).is_file()]
    return states[-1] if states else None


# ---- the solver file


def _write_solver(run: Trained) -> str:
    """Write the recipe as it is run, PREFIX_solver.prototxt; its path."""
    made = pb.SolverParameter()
    made.CopyFrom(run.recipe)
    made.display = 0
    if made.test_iter:
        if made.test_interval < 1:
            raise DataError("the solver has test_iter and no test_interval, the iterations between two tests")
        made.test_interval, made.test_initialization = _NEVER, False
    path = run.beside("solver.prototxt")
    path.parent.mkdir(parents=True, exist_ok=True)
    proto.write_text(made, str(path))
    return str(path)


def _resume_data(net: Any, passes: int) -> None:
    """Tell the data layers that can be told how many batches they have given."""
    for layer in net.layers:
        if hasattr(layer, "position") and hasattr(layer, "batch"):
            layer.position = passes * layer.batch


# ---- tests


def _test(run: Trained, solver: Any) -> None:
    """Log the outputs of the test nets, each the mean over as many passes as ``test_iter`` says.

    An output of several values counts as their mean. Outputs of the second test net on have '#1', '#2', ...
    behind their names.
    """
    results: dict[str, float] = {}
    for number, (net, passes) in enumerate(zip(solver.test_nets, run.recipe.test_iter)):
        net.share_with(solver.net)
        totals = dict.fromkeys(net.outputs, 0.0)
        for _ in range(passes):
            for name, values in net.forward().items():
                totals[name] += float(np.mean(values)) / passes
        results.update({f"{name}#{number}" if number else name: total for name, total in totals.items()})
    run.tests.append((solver.iter, results))


def _newest(run: Trained) -> dict[str, str]:
    """What the progress bar says."""
    said = {"loss": run.loss[-1][1]} if run.loss else {}
    if run.tests:
        said.update({f"test {name}": value for name, value in run.tests[-1][1].items()})
    return {name: f"{value:.4g}" for name, value in said.items()}


# ---- files beside the snapshots


def _snapshots(prefix: Path) -> list[Path]:
    def iteration(path: Path) -> int:
        found = re.fullmatch(re.escape(prefix.name) + r"_iter_(\d+)\.solverstate(\.h5)?", path.name)
        return int(found.group(1)) if found else -1

    found = prefix.parent.glob("*.solverstate*") if prefix.parent.is_dir() else ()
    return sorted((path for path in found if iteration(path) >= 0), key=iteration)


def _weights_of(state: Path) -> Path:
    return state.with_name(state.name.replace(".solverstate", ".caffemodel"))


def _drop_old_snapshots(run: Trained, keep: int | None) -> None:
    """Keep the newest, to resume from, and the best; all for None."""
    if keep is None:
        return
    best = run.snapshot(run.best)
    for path in _snapshots(Path(run.recipe.snapshot_prefix))[:-keep]:
        weights = _weights_of(path)
        if weights != best:
            weights.unlink()
            path.unlink()


def _read_log(run: Trained, iteration: int) -> None:
    """What was logged up to an iteration."""
    path = run.beside("log.json")
    if not path.exists():
        return
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        run.loss = [(int(i), float(loss)) for i, loss in saved["loss"] if i <= iteration]
        run.tests = [(int(i), values) for i, values in saved["tests"] if i <= iteration]
        run.scores = [(int(i), float(score)) for i, score in saved["scores"] if i <= iteration]
        run.seconds = float(saved["seconds"])
    except (ValueError, KeyError, TypeError) as error:
        hint = "remove it, and the training resumes with curves that begin anew"
        raise DataError(f"{path}: damaged ({error!r}); {hint}") from None


def _write_log(run: Trained) -> None:
    content = {"seconds": run.seconds, "loss": run.loss, "tests": run.tests, "scores": run.scores}
    write_json(run.beside("log.json"), content)
    picture = run.beside("curves")
    figures.save(curves.draw(run.loss, run.tests, run.scores), picture.parent, picture.name)


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

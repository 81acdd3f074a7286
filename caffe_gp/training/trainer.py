"""Training by any Caffe solver file, on either engine: progress bar, curves, snapshots, Ctrl-C.

    run = train(recipe.read_recipe("solver.prototxt"))
    run.loss, run.tests, run.snapshot(run.best)

Snapshots go where the solver's ``snapshot_prefix`` says, as Caffe's do. Beside them lie the losses and test
scores, PREFIX_log.json, and a picture of them, PREFIX_curves.png. A training resumes from its newest
snapshot. A Python data layer with ``batch`` and ``position``, the number of samples given so far, then gives
the samples that it would have given.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Sequence

import numpy as np

from caffe_gp import engines, proto
from caffe_gp.engines.fitting import copy_weights
from caffe_gp.errors import DataError, EngineError, NetError, with_source
from caffe_gp.files import fields
from caffe_gp.files.json_files import MAX_JSON_BYTES, loads, write_json
from caffe_gp.files.kinds import STATE, what_is
from caffe_gp.files.regular import read_regular
from caffe_gp.proto import messages as pb
from caffe_gp.python_layers.users import check_allowed, report_errors_of_net
from caffe_gp.report import figures
from caffe_gp.training import curves, snapshots

LOG_EVERY = 20
# Tests are run here, where their results can be kept: Caffe's solvers only print them. Snapshots are written
# here, once the parameters are known to be finite.
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
    source: str | os.PathLike | None = None,
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
    source    the file that it was read from, for messages
    weights   to start from, as for fine-tuning; a snapshot goes before it
    snapshot  solver state to resume from; default: the newest with the recipe's prefix
    score     judges the training net's weights at every regular snapshot and at the end; the best one's
              weights are the result
    keep      how many snapshots stay besides the best one; default: all
    Test nets are run as the recipe says, and at the end. Ctrl-C stops after the iteration at hand, with a
    snapshot; KeyboardInterrupt is raised then. Raises DataError for a snapshot that is not there or is
    beyond ``max_iter``, for tests without a ``test_interval`` and for a net without a loss; CaffeGPError at
    the iteration in which the loss or a parameter is nan or infinite, with no snapshot of that; and what the
    engine raises; BVLC Caffe aborts instead (``engines.run_guarded``).
    """
    from tqdm import tqdm

    run = Trained(recipe)
    state = snapshots.chosen(recipe, snapshot, quiet)
    solver = _open(run, engine, device, source, weights, state)
    writer = snapshots.Writer(recipe, solver, state)
    start = time.perf_counter() - run.seconds
    bar = tqdm(total=recipe.max_iter, initial=solver.iter, desc="training", unit="step", disable=quiet)
    with bar, _deferred_interrupt() as interrupted:
        if solver.iter == 0 and recipe.test_iter and recipe.test_initialization:
            _test(run, solver)
        for losses in _steps(solver, recipe.max_iter):
            bar.update(1)
            last = solver.iter == recipe.max_iter
            logged = solver.iter % LOG_EVERY == 0 or last
            regular = bool(recipe.snapshot) and solver.iter % recipe.snapshot == 0
            stop = interrupted()  # asked once: Ctrl-C may come between two looks
            written = stop or last or regular
            writer.check(losses[-1], params=logged or written)
            if logged:
                run.loss.append((solver.iter, float(np.mean(losses))))
                losses.clear()
            if recipe.test_iter and (solver.iter % recipe.test_interval == 0 or last):
                _test(run, solver)
            if solver.iter % LOG_EVERY == 0:
                bar.set_postfix(_newest(run))
            if written:
                writer.write()
                if score is not None and (regular or last):
                    run.scores.append((solver.iter, score(run.params(solver.iter))))
                    if not quiet:
                        bar.write(f"iteration {solver.iter}: score {run.scores[-1][1]:.4f}")
                run.seconds = time.perf_counter() - start
                _write_log(run)
                snapshots.drop_old(recipe.snapshot_prefix, keep, run.snapshot(run.best))
            if stop and not last:
                raise KeyboardInterrupt
    return run


def _open(
    run: Trained,
    engine: str,
    device: str,
    source: str | os.PathLike | None,
    weights: str | os.PathLike | None,
    state: Path | None,
) -> Any:
    """The engine's solver, at the iteration that the training resumes from; ``run`` gets what was logged."""
    recipe = run.recipe
    if weights is not None:
        with proto.read_weights(weights):  # says what the file is if it is something else
            pass
    solver = _solver(run, engine, device, source)
    if not any(solver.net.blob_loss_weights.values()):
        raise DataError(
            f"{recipe.net or recipe.train_net or source}: no layer has a loss, so nothing would be "
            "learned: add a loss layer, such as SoftmaxWithLoss, or a loss_weight"
        )
    if state is not None:
        if engines.resolve(engine) == "bvlc":
            _refuse_raw_values(state)
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
        copy_weights(solver.net, os.fspath(weights), engines.resolve(engine))
    return solver


def _refuse_raw_values(state: Path) -> None:
    """EngineError for a state of NVIDIA Caffe's, whose values stock BVLC Caffe does not read."""
    if what_is(state) != STATE:
        return
    found = proto.read_solverstate(state)
    with found:
        if any(blob.raw for blob in found.history):
            raise EngineError(
                f"{state}: its history is of NVIDIA Caffe, with raw values, which stock BVLC Caffe does not "
                "read. Resume on the embedded Caffe: --engine torch"
            )


def _solver(run: Trained, engine: str, device: str, source: str | os.PathLike | None) -> Any:
    made, path = _write_solver(run)
    name = path if source is None else os.fspath(source)
    caffe = engines.load_caffe(engine, device)
    if engines.resolve(engine) == "torch":
        return caffe.get_solver(made, source=name)
    for state, net, file in _nets(made, name):
        report_errors_of_net(
            proto.filter_net(net, state.phase, state.level, tuple(state.stage)), file, caffe.Layer
        )
    return caffe.get_solver(path)


def check_python_layers(solver: Any, source: str, allowed: Sequence[str]) -> None:
    """NetError for a layer of type "Python" in a solver's nets that is not ``allowed`` to run."""
    for state, net, file in _nets(solver, source):
        try:
            check_allowed(proto.filter_net(net, state.phase, state.level, tuple(state.stage)), allowed)
        except NetError as error:
            raise with_source(error, file) from None


def _nets(solver: Any, source: str) -> Iterator[tuple[Any, Any, str]]:
    """(NetState, NetParameter, its file) of the nets to train and to test that a solver names."""
    generic = [solver.net] if solver.net else [solver.net_param] if solver.HasField("net_param") else []
    train = (
        [solver.train_net]
        if solver.train_net
        else [solver.train_net_param][: solver.HasField("train_net_param")]
    )
    tests = [*solver.test_net, *solver.test_net_param] or generic * bool(solver.test_iter)
    states = list(solver.test_state) or [pb.NetState()] * len(tests)
    for phase, state, net in [
        *((pb.TRAIN, solver.train_state, net) for net in train or generic),
        *((pb.TEST, state, net) for state, net in zip(states, tests)),
    ]:
        state = pb.NetState(phase=phase, level=state.level, stage=state.stage)
        yield (state, proto.read_net_param(net), net) if isinstance(net, str) else (state, net, source)


def _steps(solver: Any, iterations: int) -> Iterator[list[float]]:
    """One iteration after the other; after each the losses since whoever takes them last cleared the list."""
    weighted = {name: weight for name, weight in solver.net.blob_loss_weights.items() if weight}
    losses: list[float] = []
    while solver.iter < iterations:
        solver.step(1)
        blobs = solver.net.blobs
        losses.append(sum(weight * float(blobs[name].data.sum()) for name, weight in weighted.items()))
        yield losses


# ---- the solver file


def _write_solver(run: Trained) -> tuple[Any, str]:
    """Write the recipe as it is run, PREFIX_solver.prototxt; it, and its path."""
    made = pb.SolverParameter()
    made.CopyFrom(run.recipe)
    made.display = made.snapshot = 0
    if made.test_iter:
        if made.test_interval < 1:
            raise DataError("the solver has test_iter and no test_interval, the iterations between two tests")
        made.test_interval, made.test_initialization = _NEVER, False
    path = run.beside("solver.prototxt")
    path.parent.mkdir(parents=True, exist_ok=True)
    proto.write_text(made, str(path))
    return made, str(path)


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


def _read_log(run: Trained, iteration: int) -> None:
    """What was logged up to an iteration."""
    path = run.beside("log.json")
    if not path.exists():
        return
    try:
        saved = fields.mapping(loads(read_regular(path, MAX_JSON_BYTES)), "the file")
        loss, tests, scores = (_logged(saved, name) for name in ("loss", "tests", "scores"))
        run.loss = [(i, _score(one, "loss")) for i, one in loss if i <= iteration]
        run.tests = [(i, _scores(one)) for i, one in tests if i <= iteration]
        run.scores = [(i, _score(one, "scores")) for i, one in scores if i <= iteration]
        run.seconds = fields.number(saved.get("seconds"), "seconds", 0)
    except (OSError, ValueError) as error:
        hint = "remove it, and the training resumes with curves that begin anew"
        raise DataError(f"{path}: damaged ({error}); {hint}") from None


def _logged(saved: Mapping[str, Any], name: str) -> list[tuple[int, Any]]:
    """Iterations and what was logged of them."""
    pairs = [fields.items(pair, name, 2) for pair in fields.items(saved.get(name), name)]
    return [(fields.integer(iteration, name, 0, _NEVER), one) for iteration, one in pairs]


def _score(value: Any, what: str) -> float:
    """A logged number; losses may be nan or infinite."""
    return value if isinstance(value, float) else fields.number(value, what)


def _scores(values: Any) -> dict[str, float]:
    return {name: _score(value, "tests") for name, value in fields.mapping(values, "tests").items()}


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

"""Solvers: train a net from a solver prototxt, as BVLC Caffe's Solver does, with pycaffe's interface."""
from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable
from enum import Enum
from typing import Any

import torch

from caffe_gp import proto
from caffe_gp.caffe import mode
from caffe_gp.caffe.net import Net
from caffe_gp.caffe.updates import UPDATES
from caffe_gp.errors import NetError, PrototxtError, WeightsError
from caffe_gp.proto import messages as pb

log = logging.getLogger("caffe")

MAX_ITERATIONS = 2**31 - 1


class Action(Enum):
    """What an action callback may ask for after an iteration."""

    NONE = 0
    STOP = 1
    SNAPSHOT = 2


class Solver:
    """Trains ``net`` and measures ``test_nets`` by a solver prototxt (its path, or a SolverParameter).

    The update rule comes from the class (``SGDSolver``, ``AdamSolver``, ...), whatever ``type`` says, as in
    pycaffe; :func:`get_solver` chooses the class by ``type``. ``solver_mode`` is left to
    ``caffe.set_mode_*``, also as in pycaffe.
    """

    update_type = "SGD"

    def __init__(self, solver_file: str | os.PathLike[str] | Any) -> None:
        if isinstance(solver_file, pb.SolverParameter):
            self._source, self.param = "<SolverParameter>", solver_file
        else:
            self._source = os.fspath(solver_file)
            self.param = proto.read_solver_param(self._source)
        self.iter = 0
        self._current_step = 0
        self._stopped = False
        self._losses: list[float] = []
        self._smoothed_loss = 0.0
        self._on_start: list[Callable[[], None]] = []
        self._on_gradients_ready: list[Callable[[], None]] = []
        self._action: Callable[[], Action] = lambda: Action.NONE
        self._check_param()
        if self.param.random_seed >= 0:
            mode.set_random_seed(self.param.random_seed)
        self.net = self._make_train_net()
        self.test_nets = self._make_test_nets()
        for weights in self.param.weights:
            for path in weights.split(","):
                self.net.copy_from(path.strip())
        self._update = UPDATES[self.update_type](
            self.param, self._source, [blob.data_tensor for blob in self.net.learnable_params]
        )

    # ---- nets

    def _check_param(self) -> None:
        policy = self.param.lr_policy
        if policy not in _LEARNING_RATES:
            raise PrototxtError(
                f"{self._source}: Unknown learning rate policy: lr_policy '{policy}'; known: "
                f"{', '.join(_LEARNING_RATES)}"
            )
        if policy == "step" and self.param.stepsize < 1:
            raise PrototxtError(f"{self._source}: lr_policy 'step' needs a positive stepsize")
        if policy == "poly" and self.param.max_iter < 1:
            raise PrototxtError(f"{self._source}: lr_policy 'poly' needs a positive max_iter")
        if self.param.regularization_type not in ("L1", "L2"):
            raise PrototxtError(
                f"{self._source}: Unknown regularization type: {self.param.regularization_type}; known: L1, L2"
            )
        if self.param.iter_size < 1 or self.param.average_loss < 1:
            raise PrototxtError(f"{self._source}: iter_size and average_loss should be non-negative and at least 1")

    def _make_train_net(self) -> Net:
        fields = ("net", "net_param", "train_net", "train_net_param")
        given = [field for field in fields if self.param.HasField(field)]
        if len(given) != 1:
            raise PrototxtError(
                f"{self._source}: SolverParameter must specify a train net using one of these fields: "
                f"{', '.join(fields)}; found {', '.join(given) or 'none'}"
            )
        param, source = self._net_param(getattr(self.param, given[0]))
        return self._build(param, source, pb.TRAIN, self.param.train_state)

    def _make_test_nets(self) -> list[Net]:
        generic = [getattr(self.param, f) for f in ("net_param", "net") if self.param.HasField(f)]
        own = [*self.param.test_net_param, *self.param.test_net]
        runs = len(self.param.test_iter)
        if generic:
            if runs < len(own):
                raise PrototxtError(f"{self._source}: test_iter must be specified for each test network")
            own += generic * (runs - len(own))
        elif runs != len(own):
            raise PrototxtError(
                f"{self._source}: test_iter must be specified for each test network: {runs} for {len(own)} nets"
            )
        states = list(self.param.test_state)
        if states and len(states) != len(own):
            raise PrototxtError(
                f"{self._source}: test_state must be unspecified or specified once per test net: "
                f"{len(states)} for {len(own)} nets"
            )
        if own and self.param.test_interval < 1:
            raise PrototxtError(f"{self._source}: test nets need a positive test_interval")
        states = states or [pb.NetState()] * len(own)
        return [self._build(*self._net_param(net), pb.TEST, state) for net, state in zip(own, states)]

    def _net_param(self, given: Any) -> tuple[Any, str]:
        if isinstance(given, str):
            return proto.read_net_param(given), given
        return proto.upgrade_net(given, self._source), self._source

    @staticmethod
    def _build(param: Any, source: str, phase: int, state: Any) -> Net:
        merged = pb.NetState()
        merged.CopyFrom(param.state)
        merged.MergeFrom(state)
        return Net.from_param(param, phase, level=merged.level, stages=tuple(merged.stage), source=source)

    # ---- training

    def step(self, iterations: int) -> None:
        """Run this many training iterations, with the tests, displays and snapshots that fall into them."""
        start, stop = self.iter, self.iter + iterations
        self._losses, self._smoothed_loss = [], 0.0
        while self.iter < stop:
            self.net.clear_param_diffs()
            interval = self.param.test_interval
            if interval and self.iter % interval == 0 and (self.iter > 0 or self.param.test_initialization):
                self._test_all()
            for callback in self._on_start:
                callback()
            display = self.param.display and self.iter % self.param.display == 0
            loss = 0.0
            for _ in range(self.param.iter_size):
                last = len(self.net.layers) - 1
                loss += self.net._forward(0, last)
                self.net._backward(last, 0)
            self._smooth(loss / self.param.iter_size, start)
            if display:
                self._log_training()
            for callback in self._on_gradients_ready:
                callback()
            self.apply_update()
            self.iter += 1
            action = self._action()
            if action is Action.SNAPSHOT or (self.param.snapshot and self.iter % self.param.snapshot == 0):
                self.snapshot()
            if action is Action.STOP:
                self._stopped = True
                break

    def solve(self, resume_file: str | os.PathLike[str] | None = None) -> None:
        """Train to ``max_iter``, from a solverstate if given; snapshot and test at the end as asked."""
        log.info("Solving %s", self.net.name)
        log.info("Learning Rate Policy: %s", self.param.lr_policy)
        self._stopped = False
        if resume_file is not None:
            self.restore(resume_file)
        start = self.iter
        self.step(self.param.max_iter - self.iter)
        if self.param.snapshot_after_train and (not self.param.snapshot or self.iter % self.param.snapshot):
            self.snapshot()
        if self._stopped:
            log.info("Optimization stopped early.")
            return
        if self.param.display and self.iter % self.param.display == 0:
            self._smooth(self.net._forward(0, len(self.net.layers) - 1), start)
            log.info("Iteration %d, loss = %g", self.iter, self._smoothed_loss)
        if self.param.test_interval and self.iter % self.param.test_interval == 0:
            self._test_all()
        log.info("Optimization Done.")

    @torch.no_grad()
    def apply_update(self) -> None:
        """Clip, normalise and regularise the parameters' diffs, turn them into steps, and take the steps."""
        rate = self.learning_rate()
        if self.param.display and self.iter % self.param.display == 0:
            log.info("Iteration %d, lr = %g", self.iter, rate)
        blobs = self.net.learnable_params
        params = [blob.data_tensor for blob in blobs]
        diffs = [blob.diff_tensor for blob in blobs]
        if not diffs:
            return
        self._clip_gradients(diffs)
        if self.param.iter_size > 1:
            torch._foreach_mul_(diffs, 1.0 / self.param.iter_size)
        self._regularize(params, diffs)
        self._update.step(diffs, [rate * mult for mult in self.net.params_lr], self.iter)
        torch._foreach_sub_(params, diffs)

    def learning_rate(self) -> float:
        """The rate of the current iteration by ``lr_policy``, before each parameter's ``lr_mult``."""
        return _LEARNING_RATES[self.param.lr_policy](self)

    def _clip_gradients(self, diffs: list[torch.Tensor]) -> None:
        limit = self.param.clip_gradients
        if limit < 0:
            return
        norm = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(diffs))))
        if norm > limit:
            log.info("Gradient clipping: scaling down gradients (L2 norm %g > %g)", norm, limit)
            torch._foreach_mul_(diffs, limit / norm)

    def _regularize(self, params: list[torch.Tensor], diffs: list[torch.Tensor]) -> None:
        decays = [self.param.weight_decay * mult for mult in self.net.params_weight_decay]
        decayed = [k for k, decay in enumerate(decays) if decay]
        if not decayed:
            return
        terms = [params[k] for k in decayed]
        if self.param.regularization_type == "L1":
            terms = torch._foreach_sign(terms)
        torch._foreach_add_([diffs[k] for k in decayed], torch._foreach_mul(terms, [decays[k] for k in decayed]))

    def _smooth(self, loss: float, start: int) -> None:
        """Mean loss of the last ``average_loss`` iterations."""
        size = self.param.average_loss
        if len(self._losses) < size:
            self._losses.append(loss)
            n = len(self._losses)
            self._smoothed_loss = (self._smoothed_loss * (n - 1) + loss) / n
        else:
            k = (self.iter - start) % size
            self._smoothed_loss += (loss - self._losses[k]) / size
            self._losses[k] = loss

    @property
    def smoothed_loss(self) -> float:
        """Mean training loss of the last ``average_loss`` iterations."""
        return self._smoothed_loss

    # ---- tests and displays

    def _test_all(self) -> None:
        for i in range(len(self.test_nets)):
            self._test(i)

    def _test(self, i: int) -> None:
        log.info("Iteration %d, Testing net (#%d)", self.iter, i)
        net = self.test_nets[i]
        net.share_with(self.net)
        runs = self.param.test_iter[i]
        loss, totals = 0.0, [net.blobs[name].data * 0.0 for name in net.outputs]
        for _ in range(runs):
            loss += net._forward(0, len(net.layers) - 1)
            for total, name in zip(totals, net.outputs):
                total += net.blobs[name].data
        if self.param.test_compute_loss:
            log.info("Test loss: %g", loss / runs)
        _log_outputs("Test", net, [total / runs for total in totals])

    def _log_training(self) -> None:
        log.info("Iteration %d, loss = %g", self.iter, self._smoothed_loss)
        _log_outputs("Train", self.net, [self.net.blobs[name].data for name in self.net.outputs])

    # ---- snapshots

    def snapshot(self) -> None:
        """Write ``<snapshot_prefix>_iter_<n>.caffemodel`` and ``.solverstate`` (``.h5`` for HDF5)."""
        if not self.param.snapshot_prefix:
            raise PrototxtError(f"{self._source}: snapshot_prefix is not set, so a snapshot has no name")
        stem = f"{self.param.snapshot_prefix}_iter_{self.iter}"
        history = [tensor.cpu().numpy() for tensor in self._update.history]
        if self.param.snapshot_format == pb.SolverParameter.HDF5:
            model = stem + ".caffemodel.h5"
            self.net.save_hdf5(model, self.param.snapshot_diff)
            _write_state_hdf5(stem + ".solverstate.h5", self.iter, model, self._current_step, history)
        else:
            model = stem + ".caffemodel"
            self.net.save(model, self.param.snapshot_diff)
            proto.write_solverstate(
                stem + ".solverstate", iter=self.iter, learned_net=model, current_step=self._current_step,
                history=history,
            )
        log.info("Snapshotting to %s", model)

    def restore(self, state_file: str | os.PathLike[str]) -> None:
        """Continue from a solverstate and the weights that it names."""
        path = os.fspath(state_file)
        read = _read_state_hdf5 if path.endswith(".h5") else _read_state
        iteration, model, current_step, history = read(path)
        if len(history) != len(self._update.history):
            raise WeightsError(
                f"{path}: Incorrect length of history blobs: the solver keeps {len(self._update.history)}, "
                f"the file holds {len(history)}; was it written by another solver type?"
            )
        for k, (mine, theirs) in enumerate(zip(self._update.history, history)):
            if mine.numel() != theirs.numel():
                raise WeightsError(
                    f"{path}: history blob {k}: expected {tuple(mine.shape)}, found {tuple(theirs.shape)}"
                )
        if model:
            beside = os.path.join(os.path.dirname(path), os.path.basename(model))
            # A snapshot that was moved still finds its weights beside it.
            self.net.copy_from(model if os.path.exists(model) or not os.path.exists(beside) else beside)
        self.iter, self._current_step = iteration, current_step
        for mine, theirs in zip(self._update.history, history):
            mine.copy_(theirs.view(mine.shape))

    # ---- callbacks

    def add_callback(
        self, on_start: Callable[[], None], on_gradients_ready: Callable[[], None] | None = None
    ) -> None:
        """Call functions before each iteration's forward and before each update."""
        self._on_start.append(on_start)
        if on_gradients_ready is not None:
            self._on_gradients_ready.append(on_gradients_ready)

    def set_action_function(self, function: Callable[[], Action]) -> None:
        """Ask ``function`` after every iteration whether to stop or to snapshot (Caffe's signal handler)."""
        self._action = function

    def share_weights(self, net: Net) -> None:
        """Let ``net`` use the training net's parameters."""
        net.share_with(self.net)


class SGDSolver(Solver):
    """Stochastic gradient descent with momentum."""


class NesterovSolver(Solver):
    """Nesterov's accelerated gradient."""

    update_type = "Nesterov"


class AdaGradSolver(Solver):
    """AdaGrad (Duchi et al. 2011)."""

    update_type = "AdaGrad"


class RMSPropSolver(Solver):
    """RMSProp (Tieleman and Hinton 2012)."""

    update_type = "RMSProp"


class AdaDeltaSolver(Solver):
    """AdaDelta (Zeiler 2012)."""

    update_type = "AdaDelta"


class AdamSolver(Solver):
    """Adam (Kingma and Ba 2015)."""

    update_type = "Adam"


SOLVERS = {
    cls.update_type: cls
    for cls in (SGDSolver, NesterovSolver, AdaGradSolver, RMSPropSolver, AdaDeltaSolver, AdamSolver)
}


def get_solver(solver_file: str | os.PathLike[str]) -> Solver:
    """The solver whose class the file's ``type`` names."""
    param = proto.read_solver_param(solver_file)
    if param.type not in SOLVERS:
        raise PrototxtError(f"{solver_file}: Unknown solver type: {param.type} (known types: {', '.join(SOLVERS)})")
    return SOLVERS[param.type](solver_file)


# ---- learning rates (SGDSolver::GetLearningRate)


def _fixed(solver: Solver) -> float:
    return solver.param.base_lr


def _step(solver: Solver) -> float:
    solver._current_step = solver.iter // solver.param.stepsize
    return solver.param.base_lr * solver.param.gamma**solver._current_step


def _exp(solver: Solver) -> float:
    return solver.param.base_lr * solver.param.gamma**solver.iter


def _inv(solver: Solver) -> float:
    return solver.param.base_lr * (1 + solver.param.gamma * solver.iter) ** -solver.param.power


def _multistep(solver: Solver) -> float:
    steps = solver.param.stepvalue
    if solver._current_step < len(steps) and solver.iter >= steps[solver._current_step]:
        solver._current_step += 1
        log.info("MultiStep Status: Iteration %d, step = %d", solver.iter, solver._current_step)
    return solver.param.base_lr * solver.param.gamma**solver._current_step


def _poly(solver: Solver) -> float:
    return solver.param.base_lr * (1 - solver.iter / solver.param.max_iter) ** solver.param.power


def _sigmoid(solver: Solver) -> float:
    return solver.param.base_lr / (1 + math.exp(-solver.param.gamma * (solver.iter - solver.param.stepsize)))


_LEARNING_RATES: dict[str, Callable[[Solver], float]] = {
    "fixed": _fixed,
    "step": _step,
    "exp": _exp,
    "inv": _inv,
    "multistep": _multistep,
    "poly": _poly,
    "sigmoid": _sigmoid,
}


# ---- solver states

State = tuple[int, str, int, list[torch.Tensor]]


def _read_state(path: str) -> State:
    state = proto.read_solverstate(path)
    history = [torch.from_numpy(blob.array().copy()) for blob in state.history]
    return state.iter, state.learned_net, state.current_step, history


def _read_state_hdf5(path: str) -> State:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            model = file["learned_net"][()] if "learned_net" in file else b""
            model = model.decode() if isinstance(model, bytes) else str(model)
            group = file["history"]
            history = [torch.from_numpy(group[str(k)][()].astype("float32")) for k in range(len(group))]
            return int(file["iter"][()]), model, int(file["current_step"][()]), history
    except (OSError, KeyError) as error:
        raise WeightsError(f"{path}: not a readable HDF5 solverstate: {error}") from error


def _write_state_hdf5(path: str, iteration: int, model: str, current_step: int, history: list[Any]) -> None:
    import h5py

    temporary = f"{path}.tmp{os.getpid()}"
    try:
        with h5py.File(temporary, "w") as file:
            file["iter"] = iteration
            file["learned_net"] = model
            file["current_step"] = current_step
            group = file.create_group("history")
            for k, values in enumerate(history):
                group[str(k)] = values
        os.replace(temporary, path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot write the solver state: {error}") from error
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def _log_outputs(kind: str, net: Net, values: list[Any]) -> None:
    k = 0
    for name, array in zip(net.outputs, values):
        weight = net.blob_loss_weights[name]
        for value in array.ravel():
            loss = f" (* {weight:g} = {weight * value:g} loss)" if weight else ""
            log.info("    %s net output #%d: %s = %g%s", kind, k, name, value, loss)
            k += 1

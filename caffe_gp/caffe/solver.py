"""Solvers: train a net from a solver prototxt, as BVLC Caffe's Solver does, with pycaffe's interface."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from caffe_gp import proto
from caffe_gp.caffe import debug_info, mode, snapshots
from caffe_gp.caffe.learning_rate import learning_rate
from caffe_gp.caffe.net import Net
from caffe_gp.caffe.signals import Action, SignalHandler
from caffe_gp.caffe.solver_nets import make_test_nets, make_train_net
from caffe_gp.caffe.updates import UPDATES
from caffe_gp.caffe.vectors import NetVec
from caffe_gp.proto import messages as pb

__all__ = [
    "SOLVERS", "Action", "AdaDeltaSolver", "AdaGradSolver", "AdamSolver", "NesterovSolver", "RMSPropSolver",
    "SGDSolver", "SignalHandler", "Solver", "get_solver",
]  # fmt: skip

log = logging.getLogger(__name__)


class Solver:
    """Trains ``net`` and measures ``test_nets`` by a solver prototxt (its path, or a SolverParameter).

    The update rule comes from the class (``SGDSolver``, ``AdamSolver``, ...), whatever ``type`` says, as in
    pycaffe; :func:`get_solver` chooses the class by ``type``. ``solver_mode`` is left to
    ``caffe.set_mode_*``, also as in pycaffe.
    """

    update_type = "SGD"

    def __init__(self, solver_file: str | os.PathLike[str] | Any, *, source: str | None = None) -> None:
        """``source`` names a SolverParameter in messages."""
        if isinstance(solver_file, pb.SolverParameter):
            self._source, self._param = source or "<SolverParameter>", solver_file
        else:
            self._source = os.fspath(solver_file)
            self._param = proto.read_solver_param(self._source)
        self.iter = 0
        self._current_step = 0
        self._stopped = False
        self._losses: list[float] = []
        self._smoothed_loss = 0.0
        self._displayed = (0, time.perf_counter())  # iteration and time of the last display
        self._on_start: list[Callable[[], Any]] = []
        self._on_gradients_ready: list[Callable[[], Any]] = []
        self._action: Callable[[], Action] = lambda: Action.NONE
        proto.check_solver(self.param, self._source)
        if self.param.snapshot:
            snapshots.check_folder(self.param, self._source)
        if self.param.random_seed >= 0:
            mode.set_random_seed(self.param.random_seed)
        self._net = make_train_net(self.param, self._source)
        self._test_nets = NetVec(make_test_nets(self.param, self._source))
        for net in (self.net, *self.test_nets):
            net.debug_info = self.param.debug_info
            for path in (path.strip() for paths in self.param.weights for path in paths.split(",")):
                log.info("Finetuning from %s", path)
                net.copy_from(path)
        self._update = UPDATES[self.update_type](
            self.param, self._source, [blob.data_tensor for blob in self.net.learnable_params]
        )

    @property
    def param(self) -> Any:
        """The SolverParameter; a change counts from the next iteration on."""
        return self._param

    @property
    def net(self) -> Net:
        """The net that is trained."""
        return self._net

    @property
    def test_nets(self) -> NetVec:
        """The nets that are tested, one for each ``test_iter``."""
        return self._test_nets

    @property
    def type(self) -> str:
        """Name of the update rule, as in a solver prototxt's ``type``."""
        return self.update_type

    # ---- training

    def step(self, iterations: int) -> None:
        """Run this many training iterations, with the tests, displays and snapshots that fall into them."""
        start, stop = self.iter, self.iter + iterations
        self._losses, self._smoothed_loss = [], 0.0
        self._displayed = (self._displayed[0], time.perf_counter())
        while self.iter < stop:
            self.net.clear_param_diffs()
            interval = self.param.test_interval
            if interval and self.iter % interval == 0 and (self.iter > 0 or self.param.test_initialization):
                self._test_all()
                if self._stopped:
                    break
            for callback in self._on_start:
                callback()
            display = bool(self.param.display) and self.iter % self.param.display == 0
            self.net.debug_info = display and self.param.debug_info
            loss = 0.0
            for _ in range(self.param.iter_size):
                last = len(self.net.layers) - 1
                loss += self.net._forward(0, last)
                self.net._backward(last, 0)
                if self.net.debug_info:
                    debug_info.log_norms(self.net)
            self._smooth(loss / self.param.iter_size, start)
            if display:
                self._log_training()
            for callback in self._on_gradients_ready:
                callback()
            self.apply_update()
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
            log.info("Restoring previous solver status from %s", resume_file)
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
        """Clip, normalise and regularise the parameters' diffs, turn them into steps and take these.

        Counts ``iter``, as in Caffe: it is the number of updates made.
        """
        rate = self.lr
        if self.param.display and self.iter % self.param.display == 0:
            log.info("Iteration %d, lr = %g", self.iter, rate)
        blobs = self.net.learnable_params
        params = [blob.data_tensor for blob in blobs]
        diffs = [blob.diff_tensor for blob in blobs]
        if diffs:
            self._clip_gradients(diffs)
            if self.param.iter_size > 1:
                torch._foreach_mul_(diffs, 1.0 / self.param.iter_size)
            self._regularize(params, diffs)
            self._update.move_to(mode.device())
            self._update.step(diffs, [rate * mult for mult in self.net.params_lr], self.iter)
            if self.net.debug_info:
                debug_info.log_update(self.net)
            torch._foreach_sub_(params, diffs)
        self.iter += 1

    @property
    def lr(self) -> float:
        """The rate of the current iteration by ``lr_policy``, before each parameter's ``lr_mult``."""
        rate, self._current_step = learning_rate(self.param, self.iter, self._current_step)
        return rate

    def _clip_gradients(self, diffs: list[torch.Tensor]) -> None:
        limit = self.param.clip_gradients
        if limit < 0:
            return
        norm = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(diffs))))
        if norm > limit:
            log.info(
                "Gradient clipping: scaling down gradients (L2 norm %g > %g) by scale factor %g",
                norm,
                limit,
                limit / norm,
            )
            torch._foreach_mul_(diffs, limit / norm)

    def _regularize(self, params: list[torch.Tensor], diffs: list[torch.Tensor]) -> None:
        decays = [self.param.weight_decay * mult for mult in self.net.params_weight_decay]
        decayed = [k for k, decay in enumerate(decays) if decay]
        if not decayed:
            return
        terms = [params[k] for k in decayed]
        if self.param.regularization_type == "L1":
            terms = list(torch._foreach_sign(terms))
        torch._foreach_add_(
            [diffs[k] for k in decayed], torch._foreach_mul(terms, [decays[k] for k in decayed])
        )

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
            if not self._stopped:
                self._test(i)

    def _test(self, i: int) -> None:
        log.info("Iteration %d, Testing net (#%d)", self.iter, i)
        net, runs = self.test_nets[i], self.param.test_iter[i]
        net.share_with(self.net)
        loss = 0.0
        totals: list[Any] = [np.float32(0)] * len(net.outputs)
        for _ in range(runs):
            if self._stop_requested():
                log.info("Test interrupted.")
                return
            loss += net._forward(0, len(net.layers) - 1)
            totals = [total + net.blobs[name].read_data() for total, name in zip(totals, net.outputs)]
        if self.param.test_compute_loss:
            log.info("Test loss: %g", loss / runs)
        _log_outputs("Test", net, [total / runs for total in totals])

    def _stop_requested(self) -> bool:
        """Serve the requests that came in since the last test batch; True once a stop is among them."""
        while not self._stopped and (action := self._action()) is not Action.NONE:
            if action is Action.SNAPSHOT:
                self.snapshot()
            self._stopped = action is Action.STOP
        return self._stopped

    def _log_training(self) -> None:
        before, since = self._displayed
        seconds = time.perf_counter() - since
        log.info(
            "Iteration %d (%g iter/s, %gs/%d iters), loss = %g",
            self.iter,
            (self.iter - before) / (seconds or 1),
            seconds,
            self.param.display,
            self._smoothed_loss,
        )
        self._displayed = (self.iter, time.perf_counter())
        _log_outputs("Train", self.net, [self.net.blobs[name].read_data() for name in self.net.outputs])

    # ---- snapshots

    def snapshot(self) -> None:
        """Write ``<snapshot_prefix>_iter_<n>.caffemodel`` and ``.solverstate`` (``.h5`` for HDF5)."""
        snapshots.write_snapshot(
            self.net, self.param, self._source, self.iter, self._current_step, self._update.history
        )

    def restore(self, state_file: str | os.PathLike[str]) -> None:
        """Continue from a solverstate and the weights that it names."""
        state = snapshots.restore_snapshot(os.fspath(state_file), self.net, self._update.history, self.type)
        self.iter, self._current_step = state.iter, state.current_step
        self._displayed = (self.iter, time.perf_counter())

    # ---- callbacks

    def add_callback(
        self, on_start: Callable[[], Any], on_gradients_ready: Callable[[], Any] | None = None
    ) -> None:
        """Call functions before each iteration's forward and before each update."""
        self._on_start.append(on_start)
        if on_gradients_ready is not None:
            self._on_gradients_ready.append(on_gradients_ready)

    def set_action_function(self, function: Callable[[], Action]) -> None:
        """Ask ``function`` after every iteration and test batch whether to stop or to snapshot.

        A :class:`SignalHandler` is such a function. Whoever asks for STOP is not asked again.
        """
        self._action = function

    def share_weights(self, net: Net) -> None:
        """Let ``net`` use the training net's parameters."""
        net.share_with(self.net)


class SGDSolver(Solver):
    """Stochastic gradient descent with momentum."""


class NesterovSolver(SGDSolver):
    """Nesterov's accelerated gradient."""

    update_type = "Nesterov"


class AdaGradSolver(SGDSolver):
    """AdaGrad (Duchi et al. 2011)."""

    update_type = "AdaGrad"


class RMSPropSolver(SGDSolver):
    """RMSProp (Tieleman and Hinton 2012)."""

    update_type = "RMSProp"


class AdaDeltaSolver(SGDSolver):
    """AdaDelta (Zeiler 2012)."""

    update_type = "AdaDelta"


class AdamSolver(SGDSolver):
    """Adam (Kingma and Ba 2015)."""

    update_type = "Adam"


SOLVERS = {
    cls.update_type: cls
    for cls in (SGDSolver, NesterovSolver, AdaGradSolver, RMSPropSolver, AdaDeltaSolver, AdamSolver)
}


def get_solver(solver_file: str | os.PathLike[str] | Any, *, source: str | None = None) -> Solver:
    """The solver whose class the ``type`` of a solver prototxt, or of a SolverParameter, names.

    source   names a SolverParameter in messages
    """
    if isinstance(solver_file, pb.SolverParameter):
        param, source = solver_file, source or "<SolverParameter>"
    else:
        param, source = proto.read_solver_param(solver_file), os.fspath(solver_file)
    proto.check_type(param, source)
    return SOLVERS[param.type](param, source=source)


def _log_outputs(kind: str, net: Net, values: Sequence[Any]) -> None:
    k = 0
    for name, array in zip(net.outputs, values):
        weight = net.blob_loss_weights[name]
        for value in array.ravel():
            loss = f" (* {weight:g} = {weight * value:g} loss)" if weight else ""
            log.info("    %s net output #%d: %s = %g%s", kind, k, name, value, loss)
            k += 1

"""What a SolverParameter has to hold before a solver of either Caffe can be made of it."""

from __future__ import annotations

from ..errors import PrototxtError, did_you_mean
from . import forks
from . import messages as pb

#: Caffe's update rules and learning rate policies.
TYPES = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")
POLICIES = ("fixed", "step", "exp", "inv", "multistep", "poly", "sigmoid")


def check_solver(param: pb.SolverParameter, source: str) -> None:
    """Raise PrototxtError, naming the file ``source`` and the field, for what no solver can compute."""
    _check_forks(param, source)
    _check_policy(param, source)
    if param.regularization_type not in ("L1", "L2"):
        raise PrototxtError(
            f"{source}: Unknown regularization type: {param.regularization_type}; known: L1, L2"
        )
    for field in ("iter_size", "average_loss"):
        if getattr(param, field) < 1:
            raise PrototxtError(f"{source}: {field} should be at least 1, found {getattr(param, field)}")
    if any(runs < 1 for runs in param.test_iter):
        raise PrototxtError(f"{source}: test_iter should be at least 1, found {list(param.test_iter)}")


def check_type(param: pb.SolverParameter, source: str) -> None:
    """Raise PrototxtError for a ``type`` that is none of TYPES."""
    if param.type not in TYPES:
        raise PrototxtError(
            f"{source}: Unknown solver type: {param.type}{did_you_mean(param.type, TYPES)} "
            f"(known types: {', '.join(TYPES)})"
        )


def _check_forks(param: pb.SolverParameter, source: str) -> None:
    for name in forks.unheeded(param):
        raise PrototxtError(
            f"{source}: {name} is {forks.whose(name)}, which changes how it trains; that is not available "
            "here. Remove it, if the training does not depend on it"
        )


def _check_policy(param: pb.SolverParameter, source: str) -> None:
    policy = param.lr_policy
    known = ", ".join(POLICIES)
    if not policy:
        raise PrototxtError(
            f'{source}: lr_policy is not set; known: {known}. lr_policy: "fixed" keeps base_lr as it is'
        )
    if policy not in POLICIES:
        near = did_you_mean(policy.lower(), POLICIES)
        raise PrototxtError(f"{source}: lr_policy: Unknown learning rate policy: '{policy}'{near} ({known})")
    if policy in ("step", "sigmoid") and param.stepsize < 1:
        raise PrototxtError(
            f"{source}: stepsize: lr_policy '{policy}' needs a positive one, found {param.stepsize}"
        )
    if policy == "poly" and param.max_iter < 1:
        raise PrototxtError(
            f"{source}: max_iter: lr_policy 'poly' needs a positive one, found {param.max_iter}"
        )
    if policy in ("step", "exp", "inv", "multistep", "sigmoid") and param.gamma < 0:
        raise PrototxtError(f"{source}: gamma: lr_policy '{policy}' needs 0 or more, found {param.gamma:g}")

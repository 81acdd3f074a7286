"""What the nets trained here share: a folder of train.prototxt, deploy.prototxt and solver.prototxt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from caffe_gp import proto
from caffe_gp.proto import messages as pb


def adam(name: str, base_lr: float, max_iter: int, snapshot: int) -> Any:
    """A SolverParameter of the net ``name``: Adam whose rate decays to zero by a polynomial of power 0.9.

    No weight decay: Caffe's Adam would put it into its moments.
    """
    return pb.SolverParameter(
        net=f"prototxt/{name}/train.prototxt",
        type="Adam",
        base_lr=base_lr,
        momentum=0.9,
        momentum2=0.999,
        delta=1e-8,
        lr_policy="poly",
        power=0.9,
        max_iter=max_iter,
        display=0,
        snapshot=snapshot,
        snapshot_prefix=f"models/{name}/training/{name}",
        random_seed=1,
        solver_mode=pb.SolverParameter.CPU,
    )


def write(folder: str | Path, **messages: Any) -> list[Path]:
    """Write messages (``train=``, ``deploy=``, ``solver=``) into ``folder`` as NAME.prototxt; the paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, message in messages.items():
        proto.write_text(message, str(folder / f"{name}.prototxt"))
    return [folder / f"{name}.prototxt" for name in messages]

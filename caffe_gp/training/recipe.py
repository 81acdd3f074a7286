"""Solver files: those of the nets that are trained here, and anyone's read for a training.

For example:

    adam("digits", base_lr=0.002, max_iter=2600, snapshot=200)
    read_recipe("solver.prototxt", iterations=100, seed=2)
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Iterator, Mapping

from caffe_gp import proto
from caffe_gp.errors import DataError, PrototxtError
from caffe_gp.files.below import is_below
from caffe_gp.proto import messages as pb

# ---- written


def solver(name: str, **fields: Any) -> Any:
    """The SolverParameter of the net ``name``; its paths are relative to the project's root."""
    return pb.SolverParameter(
        net=f"prototxt/{name}/train.prototxt",
        snapshot_prefix=f"models/{name}/training/{name}",
        random_seed=1,
        solver_mode=pb.SolverParameter.CPU,
        **fields,
    )


def adam(name: str, base_lr: float, max_iter: int, snapshot: int) -> Any:
    """A ``solver``: Adam whose rate decays to zero by a polynomial of power 0.9.

    No weight decay: Caffe's Adam would put it into its moments.
    """
    return solver(
        name,
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
    )


def python_data(module: str, layer: str, options: dict[str, Any]) -> dict[str, str]:
    """The python_param of a data layer of ``caffe_gp.python_layers``; ``options`` become its param_str."""
    return {
        "module": f"caffe_gp.python_layers.{module}",
        "layer": layer,
        "param_str": json.dumps(options),
    }


# ---- read


def read_recipe(
    solver: str | os.PathLike,
    *,
    net: Path | None = None,
    out: Path | None = None,
    iterations: int | None = None,
    defines: Mapping[str, object] | None = None,
    **options: Any,
) -> Any:
    """The SolverParameter of a file, changed as asked. Paths in it are relative to the current folder.

    net         the file in place of the solver's ``net``
    out         folder for the snapshots in place of the one that ``snapshot_prefix`` names
    iterations  in place of ``max_iter``; a rate that depends on it ('poly') then decays faster or slower
    defines     values of ``${NAME}`` in the solver and its nets
    options     take the place of fields of the same name in the JSON param_str of Python layers: ``seed=2``,
                which is ``random_seed`` too, ``data="folder:DIR"``; None leaves what is there
    Raises PrototxtError for a solver that cannot train, which names ``solver``; DataError for an option that
    no layer has.
    """
    recipe = proto.read_solver_param(os.fspath(solver), defines=defines)
    if net is not None:
        recipe.net = str(net)
    if out is not None:
        recipe.snapshot_prefix = str(out / Path(recipe.snapshot_prefix).name)
    if iterations is not None:
        recipe.max_iter = iterations
    proto.check_type(recipe, os.fspath(solver))
    proto.check_solver(recipe, os.fspath(solver))
    if recipe.max_iter < 1:
        found = recipe.max_iter if recipe.HasField("max_iter") else "not set"
        raise PrototxtError(
            f"{os.fspath(solver)}: max_iter is {found}, so nothing would be trained: set it to the number of "
            "iterations, or give --max-iter"
        )
    given = {name: value for name, value in options.items() if value is not None}
    recipe.random_seed = given.get("seed", recipe.random_seed)
    if given or defines:
        _embed_nets(recipe, defines)
        _set_options(recipe, given)
    return recipe


def check_outputs(recipe: Any, solver: str | os.PathLike, out: Path | None = None) -> None:
    """DataError for snapshots, or a layer's files, outside the folders that the user has named.

    These are ``out`` or, without it, the solver's own folder and the current one: a solver from elsewhere is
    not to overwrite other files. Relative paths start at the current folder, as in Caffe.
    """
    folders = [out] if out is not None else [Path(solver).parent, Path(".")]
    allowed = [os.path.realpath(folder) for folder in folders]
    for what, path in _outputs(recipe):
        if not any(is_below(path, folder) for folder in allowed):
            raise DataError(
                f"{os.fspath(solver)}: {what} would write to {path}, outside of {' and '.join(allowed)}: "
                "give the folder for the snapshots with --out DIR; change a layer's path in the net"
            )


def _outputs(recipe: Any) -> Iterator[tuple[str, str]]:
    """(what writes, where to) of a training."""
    yield "snapshot_prefix", recipe.snapshot_prefix
    files = [path for path in (recipe.net, recipe.train_net, *recipe.test_net) if path]
    nets = [recipe.net_param, recipe.train_net_param, *recipe.test_net_param]
    for layer in (layer for net in [*nets, *map(proto.read_net_param, files)] for layer in net.layer):
        if layer.type == "HDF5Output":
            yield f"layer '{layer.name}' (HDF5Output)", layer.hdf5_output_param.file_name
        elif layer.type == "MatWrite":
            yield f"layer '{layer.name}' (MatWrite)", layer.mat_write_param.prefix


def read_net_recipe(prototxts: Path, out: Path, iterations: int | None = None, **options: Any) -> Any:
    """``read_recipe`` of one of our nets: files from ``prototxts``, snapshots in ``out/training``."""
    return read_recipe(
        prototxts / "solver.prototxt",
        net=prototxts / "train.prototxt",
        out=out / "training",
        iterations=iterations,
        **options,
    )


def _embed_nets(recipe: Any, defines: Mapping[str, object] | None) -> None:
    """Make the nets that the recipe names part of it."""
    for name in ("net", "train_net"):
        if recipe.HasField(name):
            getattr(recipe, f"{name}_param").CopyFrom(
                proto.read_net_param(getattr(recipe, name), defines=defines)
            )
            recipe.ClearField(name)
    recipe.test_net_param.extend(proto.read_net_param(path, defines=defines) for path in recipe.test_net)
    recipe.ClearField("test_net")


def _set_options(recipe: Any, options: dict[str, Any]) -> None:
    """Change the nets of the recipe, which are part of it."""
    unknown = set(options) - {"seed"}  # random_seed is one for every net
    for net in (recipe.net_param, recipe.train_net_param, *recipe.test_net_param):
        for layer in net.layer:
            found = _json_object(layer.python_param.param_str)
            changed = {name: value for name, value in options.items() if name in found}
            if changed:
                layer.python_param.param_str = json.dumps({**found, **changed})
                unknown -= set(changed)
    if unknown:
        raise DataError(f"no Python layer of the net has {', '.join(sorted(unknown))} in its param_str")


def _json_object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}

"""A PyTorch module by its name: the user's own code, imported and called, and its weights.

    module = load_module("package.nets:make", "weights.safetensors")

That code is a program: it can do whatever the user can. Nothing is imported but the module that is named (and
what it imports itself). The weights are data, and are read as such.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator, Sequence

from caffe_gp.errors import CaffeGPError, NetError, UsageError, WeightsError, did_you_mean, one_line
from caffe_gp.files import kinds
from caffe_gp.files.hashes import sha256_of, sha256_of_array

if TYPE_CHECKING:
    import torch

_SHOWN = 5  # keys of a state dict in a message
_WORDS = 300  # of what the code says when it fails
_COUNTER = "num_batches_tracked"  # of batch normalisation: older files lack it, and a test does not need it


@dataclass(frozen=True)
class LoadedModule:
    """A module with what a result must say of it.

    module           with its weights, on the CPU
    class_name       of the module, with its package
    file, file_sha256     where the factory is written; None where it is in no file
    weights_sha256   of the weights' file; None: the factory made them
    state_sha256     of all parameters and buffers
    missing          keys that the weights' file lacks, where that was allowed
    """

    module: torch.nn.Module
    class_name: str
    file: str | None
    file_sha256: str | None
    weights_sha256: str | None
    state_sha256: str
    missing: tuple[str, ...] = ()


def load_module(
    name: str, weights: str | os.PathLike | None = None, *, allow_missing_weights: bool = False
) -> LoadedModule:
    """Import 'package.module:factory', call the factory, and load the weights.

    name      the factory is called without arguments and returns a ``torch.nn.Module``; or it is one
    weights   a state dict, .pt (read with ``weights_only``) or .safetensors; None: what the factory made
    allow_missing_weights   keys that the file lacks keep the factory's values
    The current folder is looked in after Python's path. Raises UsageError for a name that leads to no module,
    NetError where its code fails, WeightsError for weights that are none or do not fit.
    """
    with _current_folder_last():
        factory = _named(name)
        module = _made(name, factory)
    written = _file_of(factory)
    missing = () if weights is None else _load(name, module, os.fspath(weights), allow_missing_weights)
    return LoadedModule(
        module,
        f"{type(module).__module__}.{type(module).__qualname__}",
        written,
        None if written is None else sha256_of(written),
        None if weights is None else sha256_of(weights),
        _sha256_of_state(module),
        missing,
    )


def said_by(error: BaseException) -> str:
    """What somebody's code raised, in one line: kind, words, and where."""
    words = one_line(" ".join(str(error).split())[:_WORDS])
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}{f': {words}' if words else ''}{where}"


# ---- the code


@contextmanager
def _current_folder_last() -> Iterator[None]:
    """A console script does not look there. Last: a file of the folder stands for no installed module."""
    folder = os.getcwd()
    added = folder not in sys.path and "" not in sys.path
    if added:
        sys.path.append(folder)
    try:
        yield
    finally:
        if added and folder in sys.path:
            sys.path.remove(folder)


def _named(name: str) -> Any:
    module_name, colon, attributes = name.partition(":")
    parts = [*module_name.split("."), *attributes.split(".")]
    if not colon or not all(part.isidentifier() for part in parts):
        example = f"; for a file {name}: --module {Path(name).stem}:FACTORY" if name.endswith(".py") else ""
        raise UsageError(f"--module {name}: expected package.module:factory{example}")
    _check_which(name, parts[0])
    try:
        found = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise NetError(f"--module {name}: importing it fails: {said_by(error)}") from error
        raise UsageError(
            f"--module {name}: there is no Python module '{error.name}', neither installed nor in the "
            f"current folder, {os.getcwd()}; PYTHONPATH says where else to look"
        ) from None
    except CaffeGPError:
        raise
    except Exception as error:
        raise NetError(f"--module {name}: importing it fails: {said_by(error)}") from error
    for attribute in attributes.split("."):
        if not hasattr(found, attribute):
            raise UsageError(
                f"--module {name}: '{module_name}' has no '{attribute}'{did_you_mean(attribute, vars(found))}"
            )
        found = getattr(found, attribute)
    return found


def _check_which(name: str, package: str) -> None:
    """UsageError where an installed module hides a file of the current folder."""
    folder = Path(os.getcwd())
    here = [path for path in (folder / f"{package}.py", folder / package / "__init__.py") if path.is_file()]
    if not here:
        return
    loaded = sys.modules.get(package)
    spec = loaded.__spec__ if loaded is not None else importlib.util.find_spec(package)
    origin = getattr(spec, "origin", None)
    if origin is not None and not any(path.samefile(origin) for path in here if os.path.exists(origin)):
        raise UsageError(
            f"--module {name}: '{package}' is {origin}, and there is {here[0]} too: rename yours, or put its "
            "folder into PYTHONPATH"
        )


def _made(name: str, factory: Any) -> torch.nn.Module:
    import torch

    module = factory
    if not isinstance(factory, torch.nn.Module):
        if not callable(factory):
            raise UsageError(
                f"--module {name}: expected a torch.nn.Module or a function that returns one, found "
                f"{type(factory).__name__}"
            )
        needed = _needed_arguments(factory)
        if needed:
            raise UsageError(
                f"--module {name}: it is called without arguments, and needs {', '.join(needed)}: write a "
                "function that gives them"
            )
        try:
            module = factory()
        except CaffeGPError:
            raise
        except Exception as error:
            raise NetError(f"--module {name}: calling it fails: {said_by(error)}") from error
    if not isinstance(module, torch.nn.Module):
        raise UsageError(f"--module {name}: it returns {type(module).__name__}, expected a torch.nn.Module")
    return module


def _needed_arguments(factory: Any) -> list[str]:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # some built-in ones have none
        return []
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [one.name for one in parameters if one.default is one.empty and one.kind not in optional]


def _file_of(factory: Any) -> str | None:
    try:
        path = inspect.getsourcefile(factory if hasattr(factory, "__qualname__") else type(factory))
    except (TypeError, OSError):
        return None
    return path if path is not None and os.path.isfile(path) else None


# ---- its weights


def _load(name: str, module: torch.nn.Module, path: str, allow_missing: bool) -> tuple[str, ...]:
    """The keys that the file lacks; WeightsError unless every other one fits."""
    import torch

    state = _read_state(path)
    own = {key: one for key, one in module.state_dict().items() if isinstance(one, torch.Tensor)}
    missing = [key for key in own if key not in state and not key.endswith(_COUNTER)]
    unexpected = [key for key in state if key not in own]
    wrong = [
        f"{one_line(key)} is {tuple(state[key].shape)}, expected {tuple(own[key].shape)}"
        for key in own
        if key in state and tuple(state[key].shape) != tuple(own[key].shape)
    ]
    problems = []
    if missing and (not allow_missing or len(missing) == len(own)):
        problems.append(f"it lacks {_some(missing, len(own))}")
    if unexpected:
        problems.append(f"the module has no {_some(unexpected, len(state))}")
    if wrong:
        problems.append(f"shapes differ: {_some(wrong, len(own))}")
    if problems:
        hint = "; --allow-missing-weights leaves them as the factory made them"
        lack = hint if not unexpected and not wrong and len(missing) < len(own) else ""
        raise WeightsError(f"{path}: does not fit --module {name}: {'; '.join(problems)}{lack}")
    try:
        module.load_state_dict(state, strict=False)
    except RuntimeError as error:  # whatever a module of somebody's own makes of them
        raise WeightsError(f"{path}: does not fit --module {name}: {said_by(error)}") from error
    return tuple(missing)


def _some(keys: Sequence[str], total: int) -> str:
    shown = ", ".join(one_line(key[:100]) for key in keys[:_SHOWN])
    return f"{len(keys)} of {total} keys ({shown}{', ...' if len(keys) > _SHOWN else ''})"


def _read_state(path: str) -> dict[str, Any]:
    """Tensors by key, floating point ones in float32. Nothing in a file is run."""
    import torch

    from caffe_gp.caffe.torch_files import read_state_dict

    try:
        kind = kinds.what_is(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from None
    if kind == kinds.SAFETENSORS:
        return _read_safetensors(path)
    wrong = kinds.wrong_file(path, kinds.TORCH, kinds.PICKLE, kinds.SAFETENSORS)
    if wrong:
        raise WeightsError(f"{path}: {wrong}")
    return {key: torch.from_numpy(values) for key, values in read_state_dict(path).items()}


def _read_safetensors(path: str) -> dict[str, Any]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise WeightsError(
            f"{path}: reading a safetensors file needs the Python package '{error.name}': "
            "pip install 'caffe_gp[export]'"
        ) from None
    try:
        state = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path}: a safetensors file that is damaged: {said_by(error)}") from None
    return {key: one.float() if one.is_floating_point() else one for key, one in state.items()}


def _sha256_of_state(module: torch.nn.Module) -> str:
    import torch

    found = hashlib.sha256()
    for key, values in sorted(module.state_dict().items()):
        if not isinstance(values, torch.Tensor) or torch.nn.parameter.is_lazy(values):
            continue
        found.update(f"{key} {values.dtype} {tuple(values.shape)} ".encode())
        found.update(sha256_of_array(values.detach().cpu().reshape(-1).view(torch.uint8).numpy()).encode())
    return found.hexdigest()

"""Users' layers of type "Python": their modules are found, what they raise is told with layer, file and line.

No Caffe is imported here: both engines use this.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import sys
import traceback
from types import ModuleType
from typing import Any, Callable, ContextManager, Iterator, Sequence

from caffe_gp.errors import CaffeGPError, NetError, did_you_mean
from caffe_gp.python_layers.python2 import hint

_OURS = "caffe_gp.python_layers."
#: Modules and classes that released prototxts name, and the type that the embedded Caffe has for them.
BUILT_IN = {("rpn.proposal_layer", "ProposalLayer"): "PythonProposal"}
_METHODS = ("setup", "reshape", "forward", "backward")


@contextlib.contextmanager
def modules_of(folders: Sequence[str]) -> Iterator[None]:
    """Modules are looked for in these folders too, after those of ``sys.path``."""
    added = [folder for folder in folders if folder not in sys.path]
    sys.path.extend(added)
    try:
        yield
    finally:
        for folder in added:
            if folder in sys.path:
                sys.path.remove(folder)


def folders_for(source: str) -> tuple[str, ...]:
    """Where the modules of a prototxt's layers may lie: beside it, and in the current folder."""
    beside = os.path.dirname(os.path.abspath(source))
    return tuple(dict.fromkeys((beside, os.getcwd()))) if os.path.isdir(beside) else (os.getcwd(),)


def check_allowed(net: Any, allowed: Sequence[str] | None) -> None:
    """NetError for a layer of type "Python" whose module is not among the ``allowed``; None allows all.

    Those of caffe_gp.python_layers always are. Modules are not imported here.
    """
    if allowed is None:
        return
    for layer in net.layer:
        module = layer.python_param.module
        if layer.type == "Python" and module not in allowed and not module.startswith(_OURS):
            raise NetError(
                f"layer '{layer.name}' (Python) runs the code of the Python module {module[:60]!r}. If you "
                f"trust it, allow it: --allow-python-layers {module[:60]}"
            )


def use_built_in(net: Any, allowed: Sequence[str] | None) -> None:
    """Give the Python layers that the embedded Caffe has built in, and no leave to run, its type for them."""
    if allowed is None:
        return
    for layer in net.layer:
        named = layer.python_param.module, layer.python_param.layer
        if layer.type == "Python" and named in BUILT_IN and named[0] not in allowed:
            layer.type = BUILT_IN[named]


def is_there(module: str, folders: Sequence[str]) -> bool:
    """Whether there is such a module; nothing is imported to find out."""
    if module in sys.modules:
        return True
    path, name = None, ""
    with modules_of(folders):
        for part in module.split("."):
            name = f"{name}.{part}".lstrip(".")
            specs = (finder.find_spec(name, path) for finder in sys.meta_path)
            spec = next((spec for spec in specs if spec is not None), None)
            if spec is None:
                return False
            path = spec.submodule_search_locations or ()
    return True


def layer_class(where: str, python_param: Any, folders: Sequence[str], base: type) -> Any:
    """The class that a PythonParameter names.

    where    the layer, as messages call it
    folders  looked in after ``sys.path``
    base     Caffe's ``Layer``, which the class has to derive from
    Raises NetError for a module that is not found or cannot be imported, and for a class that will not do.
    """
    module, name = python_param.module, python_param.layer
    if not module or not name:
        raise NetError(f"{where}: python_param needs module and layer")
    if not all(part.isidentifier() for part in module.split(".")):
        raise NetError(f"{where}: python_param.module {module[:60]!r} is not the name of a Python module")
    found = _import(where, module, folders)
    cls = getattr(found, name, None)
    if cls is None:
        classes = [key for key, value in vars(found).items() if isinstance(value, type)]
        near = did_you_mean(name, classes)
        raise NetError(f"{where}: module '{module}' ({_file_of(found)}) has no class '{name}'{near}")
    if not (isinstance(cls, type) and issubclass(cls, base)):
        other = any(parent.__name__ == "Layer" for parent in getattr(cls, "__mro__", ())[1:])
        why = "; it was imported with another Caffe: use a new process for this engine" if other else ""
        raise NetError(f"{where}: {module}.{name} ({_file_of(found)}) does not derive from caffe.Layer{why}")
    return cls


def _import(where: str, module: str, folders: Sequence[str]) -> ModuleType:
    loaded = sys.modules.get(module)
    if loaded is not None:
        _check_same(where, module, loaded, folders)
        return loaded
    try:
        with modules_of(folders):
            return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and f"{module}.".startswith(f"{error.name}."):
            raise NetError(_not_found(where, module, folders)) from error
        raise _import_error(where, module, error) from error
    except Exception as error:
        raise _import_error(where, module, error) from error


def _not_found(where: str, module: str, folders: Sequence[str]) -> str:
    given = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    return (
        f"{where}: module '{module}' was not found: there is no {module.replace('.', '/')}.py beside the "
        f"prototxt or in the current folder ({', '.join(folders)}), nor on PYTHONPATH "
        f"({os.pathsep.join(given) or 'not set'}). Put the folder that holds it on PYTHONPATH"
    )


def _check_same(where: str, module: str, loaded: ModuleType, folders: Sequence[str]) -> None:
    """NetError where another net's module of that name is loaded and this net has its own."""
    file = getattr(loaded, "__file__", None)
    if file is None:
        return
    relative = module.replace(".", os.sep)
    depth = module.count(".") + 1 + (os.path.basename(file) == "__init__.py")
    root = os.path.abspath(os.path.join(file, *[os.pardir] * depth))
    if root in (os.path.abspath(folder) for folder in sys.path):
        return  # found there before the net's own folder, as in Caffe
    for folder in folders:
        for own in (os.path.join(folder, f"{relative}.py"), os.path.join(folder, relative, "__init__.py")):
            if os.path.exists(own):
                if not os.path.samefile(own, file):
                    raise NetError(
                        f"{where}: module '{module}' is {own}, but {file} is loaded under that name: open "
                        "the two nets in two processes, or rename one of the modules"
                    )
                return


def report_errors(
    owner: Any, where: str, around: Callable[[], ContextManager[None]] = contextlib.nullcontext
) -> None:
    """Let a layer, or a class of layers, raise a NetError that names the layer whatever its methods raise.

    where    the layer, as messages call it
    around   context that the methods run in
    The exception itself is the NetError's ``__cause__``. A CaffeGPError stays as it is.
    """
    for name in _METHODS:
        if hasattr(owner, name):
            setattr(owner, name, _reporting(getattr(owner, name), where, around))


def report_errors_of_net(net: Any, source: str, base: type) -> None:
    """``report_errors`` for the Python layers of a NetParameter that BVLC Caffe is about to build.

    It imports their modules itself and says nothing of what failed: here they are imported before, from
    ``folders_for(source)`` too. An instance does not know its layer, so the class names all of its layers.
    """
    classes: dict[Any, list[str]] = {}
    for layer in net.layer:
        if layer.type == "Python":
            where = f"{source}: layer '{layer.name}' (Python)"
            cls = layer_class(where, layer.python_param, folders_for(source), base)
            classes.setdefault(cls, []).append(layer.name)
    for cls, names in classes.items():
        report_errors(cls, f"{source}: layer {' or '.join(repr(name) for name in names)} (Python)")


def _reporting(
    method: Callable[..., Any], where: str, around: Callable[[], ContextManager[None]]
) -> Callable[..., Any]:
    method = getattr(method, "_reported_method", method)

    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            with around():
                return method(*args, **kwargs)
        except CaffeGPError:
            raise
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)[1:]
            raise _error(where, method.__name__, error, frames) from error

    call._reported_method = method  # type: ignore[attr-defined]
    return call


def _import_error(where: str, module: str, error: Exception) -> NetError:
    frames = traceback.extract_tb(error.__traceback__)
    started = [i for i, frame in enumerate(frames) if frame.name == "<module>"]
    return _error(where, f"import {module}", error, frames[started[0] :] if started else [])


def _error(where: str, doing: str, error: Exception, frames: Sequence[traceback.FrameSummary]) -> NetError:
    """The NetError for what a user's code raised; ``frames``: the traceback from its first line on."""
    frames = [frame for frame in frames if not frame.filename.startswith("<frozen ")]
    place = ""
    if isinstance(error, SyntaxError) and error.filename:
        place = f"{error.filename}:{error.lineno}: "
    elif frames:
        own = [frame for frame in frames if frame.filename == frames[0].filename]
        place = f"{own[-1].filename}:{own[-1].lineno}: "
    what = "".join(traceback.format_exception_only(type(error), error)).strip().splitlines()[-1]
    lines = "".join(traceback.format_list(frames)).rstrip()
    if isinstance(error, SyntaxError) and error.text:
        lines = f"    {error.text.strip()}"
    said = f"{where}: {place}{what} (in {doing}).{_remedy(error)}"
    return NetError(said, *lines.splitlines())


def _remedy(error: Exception) -> str:
    old = hint(error)
    if old or not isinstance(error, ModuleNotFoundError):
        return old
    return f" Install '{error.name}' for {sys.executable}, or put its folder on PYTHONPATH."


def _file_of(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or "without a file"

"""``python -m caffe_gp.caffe SCRIPT ARGS...``: run an unmodified pycaffe script on the embedded Caffe.

Inside the script ``import caffe`` and ``import caffe.io`` and so on mean the embedded one, whether or not
BVLC Caffe is installed. ``-m MODULE ARGS...`` and ``-c CODE ARGS...`` work as with ``python`` itself.
Caffe's log lines go to standard error; GLOG_minloglevel=1 leaves the warnings, 2 the errors.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import os
import runpy
import sys
from collections.abc import Sequence
from types import ModuleType, TracebackType

from caffe_gp.caffe.logs import init_log
from caffe_gp.errors import CaffeGPError

USAGE = "usage: python -m caffe_gp.caffe (SCRIPT | -m MODULE | -c CODE) [ARGS...]"

#: pycaffe's modules and ours. ``caffe.layers`` is none of them: there it is an object of net_spec.
MODULES = {
    "caffe": "caffe_gp.caffe",
    "caffe.classifier": "caffe_gp.caffe.classifier",
    "caffe.coord_map": "caffe_gp.caffe.coord_map",
    "caffe.detector": "caffe_gp.caffe.detector",
    "caffe.draw": "caffe_gp.caffe.draw",
    "caffe.io": "caffe_gp.caffe.io",
    "caffe.net_spec": "caffe_gp.caffe.net_spec",
    "caffe.proto": "caffe_gp.caffe.proto",
    "caffe.proto.caffe_pb2": "caffe_gp.caffe.proto.caffe_pb2",
    "caffe.pycaffe": "caffe_gp.caffe.pycaffe",
    "caffe._caffe": "caffe_gp.caffe._caffe",
}


class _CaffeFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Makes the names in MODULES stand for our modules: one module object under two names."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in MODULES:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=fullname in ("caffe", "caffe.proto"))

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module = importlib.import_module(MODULES[spec.name])
        spec.loader_state = module.__spec__  # the import system is about to write ``spec`` in its place
        return module

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state


def install() -> None:
    """Let ``import caffe`` mean the embedded Caffe from now on, in this process."""
    if not any(isinstance(finder, _CaffeFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _CaffeFinder())


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the command line says; returns the exit code, or passes on the script's SystemExit."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        print(f"{__doc__}\n{USAGE}" if argv else USAGE, file=sys.stdout if argv else sys.stderr)
        return 0 if argv else 2
    if argv[0] in ("-m", "-c") and len(argv) < 2:
        print(USAGE, file=sys.stderr)
        return 2
    install()
    level = os.environ.get("GLOG_minloglevel", "")
    init_log(int(level) if level.isdigit() else 0)
    try:
        _run(argv)
    except Exception as error:
        error = error.with_traceback(_script_frames(error))
        sys.excepthook(type(error), error, error.__traceback__)
        return error.exit_code if isinstance(error, CaffeGPError) else 1
    return 0


def _run(argv: list[str]) -> None:
    if argv[0] == "-m":
        sys.argv = argv[1:]  # runpy puts the module's file in place of its name
        sys.path[0] = os.getcwd()
        runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
    elif argv[0] == "-c":
        sys.argv = ["-c", *argv[2:]]
        sys.path[0] = ""
        sys.modules["__main__"] = module = ModuleType("__main__")
        exec(compile(argv[1], "<string>", "exec"), module.__dict__)
    else:
        sys.argv = argv
        sys.path[0] = os.path.dirname(os.path.realpath(argv[0]))
        runpy.run_path(argv[0], run_name="__main__")


def _script_frames(error: BaseException) -> TracebackType | None:
    """The traceback from the script's first line on, without the frames of this launcher."""
    trace = error.__traceback__
    while trace is not None:
        names = trace.tb_frame.f_globals
        if names is not globals() and names.get("__name__") != "runpy":
            break
        trace = trace.tb_next
    return trace


if __name__ == "__main__":
    sys.exit(main())

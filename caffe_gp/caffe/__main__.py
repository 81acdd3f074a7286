"""``python -m caffe_gp.caffe SCRIPT ARGS...``: run an unmodified pycaffe script on the embedded Caffe.

Inside the script ``import caffe`` and ``import caffe.io`` and so on mean the embedded one, whether or not
BVLC Caffe is installed. ``-m MODULE ARGS...`` and ``-c CODE ARGS...`` work as with ``python`` itself.
Caffe's log lines go to standard error; GLOG_minloglevel=1 leaves the warnings, 2 the errors.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Sequence
from types import ModuleType, TracebackType

from caffe_gp.caffe.alias import install
from caffe_gp.caffe.logs import init_log
from caffe_gp.errors import CaffeGPError
from caffe_gp.python_layers.python2 import hint

# Module -> package, where the names differ; pycaffe and its scripts import these.
_PACKAGES = {
    "cv2": "opencv-python-headless",
    "google": "protobuf",
    "PIL": "Pillow",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "PyYAML",
}

USAGE = "usage: python -m caffe_gp.caffe (SCRIPT | -m MODULE | -c CODE) [ARGS...]"


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
        for line in _advice(error):
            print(f"caffe_gp: {line}", file=sys.stderr)
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


def _advice(error: Exception) -> list[str]:
    """What to do about an error that a script of BVLC Caffe's time meets today."""
    found = [hint(error).strip()]
    if isinstance(error, ModuleNotFoundError) and not found[0]:
        package = (error.name or "").partition(".")[0]
        name = _PACKAGES.get(package, package)
        found.append(f"to install '{package}': {sys.executable} -m pip install {name}")
    return [line for line in found if line]


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

"""OpenCV's dnn module in an environment of its own: OpenCV 5 dropped its Caffe importer.

python -m conformance.opencv        makes .cache/opencv, where it is missing
"""

from __future__ import annotations

import subprocess
import sys

from conformance.folders import ROOT

VERSION = "4.14.0.94"
ENVIRONMENT = ROOT / ".cache" / "opencv"
PYTHON = ENVIRONMENT / "bin" / "python"


def make() -> bool:
    """Make the environment unless it is there; False, and said, where it cannot be had."""
    if version():
        return True
    package = f"opencv-python-headless=={VERSION}"
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)],
        [str(PYTHON), "-m", "pip", "install", "--quiet", "--only-binary", ":all:", package],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(f"OpenCV cannot be had: {' '.join(command)}\n{done.stderr[-1000:]}", file=sys.stderr)
            return False
    return True


def version() -> str:
    """Of OpenCV in its environment; empty where there is none."""
    found = sorted(ENVIRONMENT.glob("lib/python*/site-packages/opencv_python_headless-*.dist-info"))
    return found[0].name.split("-")[1][: -len(".dist")] if found else ""


if __name__ == "__main__":
    sys.exit(not make())

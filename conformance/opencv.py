"""OpenCV's dnn module in an environment of its own: OpenCV 5 dropped its Caffe importer.

python -m conformance.opencv        makes .cache/opencv, where it is missing
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np

from conformance.folders import ROOT

VERSION = "4.14.0.94"
ENVIRONMENT = ROOT / ".cache" / "opencv"
PYTHON = ENVIRONMENT / "bin" / "python"
WORKER = Path(__file__).with_name("opencv_worker.py")


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


class OpenCVError(Exception):
    """What OpenCV says of a net that it does not run."""


class OpenCV:
    """OpenCV 4 in a process of its own, which runs one net after the other; ``folder`` is for its files."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._number = folder, 0
        self._process = subprocess.Popen(
            [str(PYTHON), str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={},  # the environment's own packages, whatever PYTHONPATH is here
        )

    def forward(
        self,
        prototxt: str,
        inputs: Mapping[str, Any],
        layers: Sequence[str],
        caffemodel: Path | None = None,
    ) -> dict[str, list[np.ndarray]]:
        """The tops of these layers, after a forward with these inputs."""
        assert self._process.stdin is not None and self._process.stdout is not None
        folder = self.new_path("net")
        folder.mkdir()
        (folder / "net.prototxt").write_text(prototxt)
        if caffemodel is not None:
            (folder / "net.caffemodel").symlink_to(caffemodel)
        arrays: dict[str, Any] = {name: np.asarray(array, np.float32) for name, array in inputs.items()}
        np.savez(str(folder / "inputs.npz"), **arrays)
        (folder / "layers.txt").write_text("\n".join(layers))
        self._process.stdin.write(f"{folder}\n")
        self._process.stdin.flush()
        said = self._process.stdout.readline().strip()
        if said != "done":
            raise OpenCVError(said or "its process has ended")
        with np.load(str(folder / "outputs.npz")) as found:
            return {
                name: [found[key] for key in found.files if key.rpartition(":")[0] == name] for name in layers
            }

    def new_path(self, name: str) -> Path:
        """Of a file or folder that is not there yet."""
        self._number += 1
        return self._folder / f"{self._number}_{name}"

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()


if __name__ == "__main__":
    sys.exit(not make())

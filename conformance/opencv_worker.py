"""Runs nets with OpenCV's dnn module; a program of its own, for the environment that has OpenCV 4.

Each line of stdin names a folder with net.prototxt, inputs.npz (arrays by blob), layers.txt (names of layers,
one a line) and perhaps net.caffemodel. The layers' tops go to outputs.npz as NAME:0, NAME:1, ...; the answer
is a line, 'done' or what went wrong.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import cv2
import numpy as np


def run(folder: str) -> None:
    prototxt, caffemodel = (os.path.join(folder, name) for name in ("net.prototxt", "net.caffemodel"))
    files = [prototxt, caffemodel] if os.path.exists(caffemodel) else [prototxt]
    dnn: Any = cv2.dnn  # of OpenCV 4; the one that mypy sees has no such reader
    net = dnn.readNetFromCaffe(*files)
    net.enableFusion(False)  # so that the blobs between the layers are there
    with np.load(os.path.join(folder, "inputs.npz")) as inputs:
        for name in inputs.files:
            net.setInput(inputs[name], name)
    with open(os.path.join(folder, "layers.txt")) as file:
        names = file.read().split("\n")
    tops = {name: net.forwardAndRetrieve([name])[0] for name in names}
    arrays = {f"{name}:{i}": top for name, found in tops.items() for i, top in enumerate(found)}
    np.savez(os.path.join(folder, "outputs.npz"), **arrays)


def main() -> None:
    cv2.setNumThreads(1)
    for line in sys.stdin:
        try:
            run(line.rstrip("\n"))
        except Exception as error:
            print(f"{type(error).__name__}: {' '.join(str(error).split())}", flush=True)
        else:
            print("done", flush=True)


if __name__ == "__main__":
    main()

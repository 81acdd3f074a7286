"""A net of three layers, made-up images with ground truth, and an evaluation of both: fast."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from caffe_gp import engines
from caffe_gp.datasets.segmentation import SegmentationSet
from caffe_gp.evaluation.segmentation import Evaluation, evaluate
from conformance import gp_nets as nets

CLASSES = 4
SIZES = ((30, 24), (24, 30), (30, 24))  # width, height
NET = (
    nets.input_layer((1, 3, 24, 30))
    + nets.conv("conv1", "data", 6, 3, pad=1)
    + nets.in_place("relu1", "ReLU", "conv1")
    + nets.conv("score", "conv1", CLASSES, 3, pad=1)
)


def make_net(folder: Path, text: str = NET) -> None:
    """Write net.prototxt and net.caffemodel."""
    net = nets.plain_net(folder, text, name="net.prototxt", gain=0.05)
    net.save(str(folder / "net.caffemodel"))


def make_data(folder: Path, images: int, seed: int = 0) -> SegmentationSet:
    """A SegmentationSet of random images and labels in ``folder``."""
    random = np.random.RandomState(seed)
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    ids = tuple(f"image{number:03d}" for number in range(images))
    for number, item in enumerate(ids):
        width, height = SIZES[number % len(SIZES)]
        pixels = random.randint(0, 256, (height, width, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{item}.png")
        labels = random.randint(0, CLASSES, (height, width)).astype(np.uint8)
        labels[:2] = 255
        Image.fromarray(labels).save(folder / "labels" / f"{item}.png")
    names = tuple("abcd")
    return SegmentationSet("tiny", names, ids, folder / "images", folder / "labels")


def load(folder: Path) -> engines.GPNet:
    """The net of ``folder``, ready for guided perturbations."""
    files = str(folder / "net.prototxt"), str(folder / "net.caffemodel")
    return engines.load_net(*files, engine=nets.ENGINE)


def settings(folder: Path, data: SegmentationSet, out: Path, **options: Any) -> Evaluation:
    """An Evaluation of the net in ``folder``; one thread, quiet."""
    given = {"eps": [0.5, -1.0], "threads": 1, "quiet": True, "engine": nets.ENGINE, **options}
    files = str(folder / "net.prototxt"), str(folder / "net.caffemodel")
    return Evaluation(*files, data=data, out=out, **given)


def lines(out: Path) -> int:
    """Whole lines of all files of records, first lines included; while a run goes on, too."""
    whole = 0
    for path in out.glob("records/*.jsonl"):
        # A run that is resumed removes files that hold nothing whole.
        with contextlib.suppress(FileNotFoundError):
            whole += path.read_bytes().count(b"\n")
    return whole


def evaluate_until_killed(settings: Evaluation, wanted: int, delay: float) -> None:
    """Evaluate, and kill -9 this process ``delay`` seconds after it has written ``wanted`` lines.

    The killer is a thread here: a busy machine holds it up no more than the evaluation itself.
    """

    def kill() -> None:
        while lines(settings.out) < wanted:
            time.sleep(0.001)
        time.sleep(delay)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()
    evaluate(settings)

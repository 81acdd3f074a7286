#!/usr/bin/env python3
"""Runs guided perturbations on a tiny net and compares with the paper's formula; exit code 0 if right.

Usage:

    docker/health.py [--engine torch|bvlc] [--device cpu|cuda|cuda:N]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from caffe_gp import GuidedPerturbation, engines  # noqa: E402
from caffe_gp.cli.exit_codes import finish  # noqa: E402
from caffe_gp.errors import EngineError  # noqa: E402

NET = """
layer { name: "input" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "score" type: "Convolution" bottom: "data" top: "score"
        convolution_param { num_output: 4 kernel_size: 1 } }
"""
EPS = 0.5


def main() -> int:
    """Parse the arguments, run the net, compare."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--engine", choices=engines.ENGINES, default="auto")
    # The check that Docker repeats must not take GPU memory from the work.
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda or cuda:N")
    args = parser.parse_args()
    if args.device == "cpu":
        # BVLC Caffe built with CUDA opens the GPU whatever its mode is.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""

    def work() -> None:
        chosen = engines.resolve(args.engine)
        guarded = chosen == "bvlc"  # it aborts where there is no such GPU
        print(engines.run_guarded(check, chosen, args.device) if guarded else check(chosen, args.device))

    return finish(work, tool="health")


def check(engine_name: str, device: str) -> str:
    """A sentence that says what worked. Raises EngineError where a number is wrong."""
    random = np.random.RandomState(0)
    image = random.uniform(-50, 50, (1, 3, 8, 8)).astype(np.float32)
    weights = random.normal(0, 0.05, (4, 3))
    bias = random.normal(0, 0.05, 4)
    with tempfile.TemporaryDirectory() as folder:
        prototxt = Path(folder) / "net.prototxt"
        prototxt.write_text(NET, encoding="utf-8")
        net = engines.load_net(str(prototxt), engine=engine_name, device=device)
    net.net.params["score"][0].data[...] = weights[:, :, None, None]
    net.net.params["score"][1].data[...] = bias
    result = GuidedPerturbation(net)(image, EPS, keep_probabilities=True)

    # Equation 5, with a one-hot label l: the diff of the score is (l . y)(l - y); W carries it to the image.
    before = _softmax(_scores(weights, bias, image))
    labels = np.eye(4)[before.argmax(axis=1)].transpose(0, 3, 1, 2)
    diff = (labels * before).sum(axis=1, keepdims=True) * (labels - before)
    moved = image + EPS * np.sign(np.einsum("kc,nkhw->nchw", weights, diff))
    after = _softmax(_scores(weights, bias, moved))
    for found, expected, when in (
        (result.base_probabilities, before, "before the perturbation"),
        (result.probabilities, after, "after it"),
    ):
        error = float(np.abs(found - expected).max())
        if not error < 1e-5:
            raise EngineError(f"engine '{net.engine}' on {device}: wrong by {error:g} {when}")
    return f"healthy: engine {net.engine} on {device}"


def _scores(weights: np.ndarray, bias: np.ndarray, image: np.ndarray) -> np.ndarray:
    return np.einsum("kc,nchw->nkhw", weights, image) + bias[:, None, None]


def _softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


if __name__ == "__main__":
    sys.exit(main())

"""Runs guided perturbations on one engine and keeps what it labelled, to be compared with the other engine.

    tools/in_bvlc.sh python3 -m conformance.record_gp [CASE ...]

Each case is run twice, the second time with inputs and weights moved by a rounding error's size (``moves``).
It is refused, and needs another step or seed, if more labels than ``closeness.LABELS_LIMIT`` then change.

Writes .cache/bvlc-recordings/gp/<case>.npz; ``tests/bvlc/test_gp_agree.py`` runs the same cases on the
embedded Caffe. Needs the real data (CAFFE_GP_SHARED_DATA).
"""

from __future__ import annotations

import argparse
import gzip
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable

import numpy as np

from caffe_gp import engines
from caffe_gp.errors import CaffeGPError, DataError
from caffe_gp.gp import GuidedPerturbation
from caffe_gp.images.preprocess import Preprocess
from conformance import closeness, folders, gp_nets
from conformance.moves import Mover

RECORDINGS = folders.RECORDINGS / "gp"
VOC = "voc2012/VOCdevkit/VOC2012/JPEGImages"
LENET_V1 = "caffemodels/cifar10_everpeace/examples/mnist"
LENET_V2 = "caffemodels/lenet_ethereon/examples/mnist"
SQUEEZENET = "caffemodels/squeezenet_dc"
# A net by an engine and the folder of the shared data.
Load = Callable[[str, Path], engines.GPNet]


def voc_images(shared: Path, count: int, preprocess: Preprocess) -> list:
    """The first images of the reduced VOC validation set, one batch each."""
    names = (shared / "voc2012/lists/available_of_346.txt").read_text().split()[:count]
    return [preprocess.load(shared / VOC / f"{name}.jpg").data[np.newaxis] for name in names]


def mnist_images(shared: Path, count: int) -> list:
    """The first digits of MNIST's test set in LeNet's units, in batches of 50."""
    with gzip.open(shared / "mnist/t10k-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)[:count]
    return [pixels[i : i + 50].astype(np.float32) / 256 for i in range(0, count, 50)]


def mnv2(folder: str) -> Load:
    """A real VOC net."""

    def load(engine: str, shared: Path) -> engines.GPNet:
        model = shared / "caffe_voc" / folder
        return engines.load_net(model / "deploy.prototxt", model / "weights.caffemodel", engine=engine)

    return load


def lenet(folder: str) -> Load:
    """A released LeNet."""

    def load(engine: str, shared: Path) -> engines.GPNet:
        model = shared / folder
        weights = model / "lenet_iter_10000.caffemodel"
        return engines.load_net(model / "lenet.prototxt", weights, engine=engine)

    return load


def squeezenet(engine: str, shared: Path) -> engines.GPNet:
    """SqueezeNet v1.0, 1000 classes; its score is N x 1000 x 1 x 1."""
    model = shared / SQUEEZENET
    return engines.load_net(
        model / "SqueezeNet_deploy.prototxt", model / "squeezenet_decoded.caffemodel", engine=engine
    )


def toy_fcn8s(seed: int) -> Load:
    """FCN-8s in miniature with random weights: every split, skip and crop of the real one."""

    def load(engine: str, shared: Path) -> engines.GPNet:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "fcn8s.prototxt")
            with open(path, "w") as file:
                file.write(gp_nets.input_layer((1, 3, 64, 80)) + gp_nets.fcn("8s", width=6, classes=21))
            loaded = engines.load_net(path, engine=engine)
        gp_nets.fill(loaded.net, seed)
        return loaded

    return load


MNV2_257, MNV2_513 = mnv2("mnv2_dm05_257"), mnv2("mnv2_dm10_513")
STRETCHED = Preprocess(mean=(127.5,), resize=(257, 257))
PADDED = Preprocess(mean=(128.0,), resize=513, pad_to=(513, 513))
SMALL = Preprocess(resize=120)
IMAGENET = Preprocess(mean=(104.0, 117.0, 123.0), resize=(227, 227))

# name: (net, number of images, preprocessing of VOC images or None for MNIST's, settings, eps values)
CASES: dict[str, tuple[Load, int, Any, dict[str, Any], list[float]]] = {
    "mnv2_data": (MNV2_257, 20, STRETCHED, {}, [0.05, 0.55, -0.1]),
    "mnv2_513_data": (MNV2_513, 2, PADDED, {}, [0.03, 0.05]),
    "mnv2_block5": (MNV2_257, 5, STRETCHED, {"blob": "block5_add"}, [0.01, -0.01]),
    "mnv2_iterations": (MNV2_257, 5, STRETCHED, {"iterations": 3}, [0.05]),
    "mnv2_uniform": (MNV2_257, 5, STRETCHED, {"encoding": "uniform"}, [-0.1]),
    "mnv2_soft": (MNV2_257, 5, STRETCHED, {"encoding": "soft"}, [0.05]),
    "lenet_v1": (lenet(LENET_V1), 500, None, {}, [0.03, -0.05]),
    "lenet_v2": (lenet(LENET_V2), 500, None, {}, [0.03, -0.05]),
    "lenet_v2_pool1": (lenet(LENET_V2), 500, None, {"blob": "pool1"}, [0.03]),
    "squeezenet": (squeezenet, 6, IMAGENET, {}, [0.2, -0.2]),
    # With random weights the diff in the wide padding is rounding noise. Its sign is another one in every
    # program and on every processor; these seeds and steps leave few labels to it.
    "toy_fcn8s_data": (toy_fcn8s(8), 4, SMALL, {}, [0.5]),
    "toy_fcn8s_pool3": (toy_fcn8s(4), 4, SMALL, {"blob": "pool3"}, [0.02]),
}


def run_case(
    name: str,
    engine: str,
    shared: Path,
    inputs: list | None = None,
    number: int | None = None,
    mover: Mover | None = None,
) -> dict[str, Any]:
    """Inputs, label maps before and after, and mean confidences of one case: arrays by name.

    number: of images, if not the case's own. inputs: the batches of a recording. JPEG decoders and resizers
    of other versions differ by a grey level here and there, so both engines must be given the same numbers.
    mover: moves inputs and weights.
    """
    load, usual, preprocess, settings, eps = CASES[name]
    if inputs is None:
        number = number or usual
        inputs = voc_images(shared, number, preprocess) if preprocess else mnist_images(shared, number)
    loaded = load(engine, shared)
    if mover is not None:
        mover.move_params(loaded.net)
        inputs = [mover(images) for images in inputs]
    gp = GuidedPerturbation(loaded, **settings)
    arrays: dict[str, Any] = {}
    seconds = 0.0
    for i, images in enumerate(inputs):
        begin = time.perf_counter()
        result = gp(images, eps)
        seconds += time.perf_counter() - begin
        arrays[f"{i:03d}/input"] = images
        arrays[f"{i:03d}/base"] = result.base_labels
        arrays[f"{i:03d}/base_confidence"] = result.base_confidence.mean(dtype=np.float64)
        for k, value in enumerate(eps):
            arrays[f"{i:03d}/eps_{value:g}"] = result.labels[k]
            arrays[f"{i:03d}/confidence_{value:g}"] = result.confidence[k].mean(dtype=np.float64)
    arrays["seconds"] = np.float64(seconds)
    return arrays


def differing(found: dict[str, Any], expected: dict[str, Any]) -> closeness.Differing:
    """How many labels of two runs of a case differ, and of how many: 'base' and 'eps_<value>'."""
    kinds = sorted({key.split("/")[1] for key in expected if key.endswith("/base") or "/eps_" in key})
    counts = {}
    for kind in kinds:
        keys = [key for key in expected if key.endswith(f"/{kind}")]
        differ = sum(closeness.differing(found[key], expected[key]) for key in keys)
        counts[kind] = differ, sum(expected[key].size for key in keys)
    return counts


def own_change(name: str, engine: str, shared: Path, arrays: dict[str, Any]) -> closeness.Differing:
    """How many labels of the case ``arrays`` change when inputs and weights are moved."""
    inputs = [arrays[key] for key in sorted(arrays) if key.endswith("/input")]
    moved = run_case(name, engine, shared, inputs, mover=Mover(np.random.RandomState(0)))
    return differing(moved, arrays)


def record(name: str, engine: str, shared: Path, number: int | None, folder: Path) -> str:
    """Run a case and keep its arrays in ``folder``, with its own change as ``own_change/<kind>``.

    Returns how long it took, for people. Raises DataError for a case that rounding decides.
    """
    arrays = run_case(name, engine, shared, number=number)
    change = own_change(name, engine, shared, arrays)
    unstable = closeness.too_many(change)
    if unstable:
        raise DataError(f"unstable, moved by a rounding error's size: {'; '.join(unstable)}")
    arrays.update({f"own_change/{kind}": np.array(counts) for kind, counts in change.items()})
    partial = folder / f".{name}.npz"
    with open(partial, "wb") as file:
        np.savez_compressed(file, **arrays)
    os.replace(partial, folder / f"{name}.npz")
    changed = ", ".join(f"{kind} {differ} of {size}" for kind, (differ, size) in change.items())
    return f"{len(arrays)} arrays, {arrays['seconds']:.1f} s; own change: {changed}"


def main() -> int:
    """Record every case, or those named."""
    parser = argparse.ArgumentParser(description="Record label maps before and after guided perturbations.")
    parser.add_argument("cases", nargs="*", help=f"default: all of {', '.join(CASES)}")
    parser.add_argument("--engine", default="bvlc", choices=("bvlc", "torch"))
    parser.add_argument("--images", type=int, help="so many, instead of each case's own number")
    parser.add_argument("--out", type=Path, default=RECORDINGS)
    options = parser.parse_args()
    shared = folders.SHARED_DATA
    if not shared.is_dir():
        print("record_gp: the real test data is not here (CAFFE_GP_SHARED_DATA); nothing recorded")
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.cases or CASES:
        try:
            said = engines.run_guarded(record, name, options.engine, shared, options.images, options.out)
        except CaffeGPError as error:
            print(f"record_gp: {name}: {error}", file=sys.stderr)
            return error.exit_code
        print(f"record_gp: {name}: {said}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Runs guided perturbations on one engine and keeps what it labelled, to be compared with the other engine.

    tools/in_bvlc.sh python3 tests/bvlc/record_gp.py        # writes .cache/bvlc-recordings/gp/<case>.npz

``test_gp_agree.py`` runs the same cases on the embedded Caffe. Needs the real data (CAFFE_GP_SHARED_DATA).
"""
from __future__ import annotations

import argparse
import gzip
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import gp_nets  # noqa: E402

from caffe_gp import engine as engines  # noqa: E402
from caffe_gp.errors import CaffeGPError  # noqa: E402
from caffe_gp.gp import GuidedPerturbation  # noqa: E402
from caffe_gp.gp.preprocess import Preprocess  # noqa: E402

RECORDINGS = Path(os.environ.get("CAFFE_GP_RECORDINGS", str(ROOT / ".cache" / "bvlc-recordings"))) / "gp"
VOC = "voc2012/VOCdevkit/VOC2012/JPEGImages"
MNV2 = "caffe_voc/mnv2_dm05_257"
LENET_V1 = "caffemodels/cifar10_everpeace/examples/mnist"
LENET_V2 = "caffemodels/lenet_ethereon/examples/mnist"
SQUEEZENET = "caffemodels/squeezenet_dc"


def voc_images(shared: Path, count: int, preprocess: Preprocess) -> list:
    """The first images of the reduced VOC validation set, one batch each."""
    names = (shared / "voc2012/lists/available_of_346.txt").read_text().split()[:count]
    return [preprocess.load(shared / VOC / f"{name}.jpg").data[np.newaxis] for name in names]


def mnist_images(shared: Path, count: int) -> list:
    """The first digits of MNIST's test set in LeNet's units, in batches of 50."""
    with gzip.open(shared / "mnist/t10k-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)[:count]
    return [pixels[i : i + 50].astype(np.float32) / 256 for i in range(0, count, 50)]


def mnv2(engine: str, shared: Path):
    """The real VOC net."""
    folder = shared / MNV2
    return engines.load_net(folder / "deploy.prototxt", folder / "weights.caffemodel", engine=engine)


def lenet(folder: str):
    """A released LeNet."""

    def load(engine: str, shared: Path):
        model = shared / folder
        weights = model / "lenet_iter_10000.caffemodel"
        return engines.load_net(model / "lenet.prototxt", weights, engine=engine)

    return load


def squeezenet(engine: str, shared: Path):
    """SqueezeNet v1.0, 1000 classes; its score is N x 1000 x 1 x 1."""
    model = shared / SQUEEZENET
    return engines.load_net(
        model / "SqueezeNet_deploy.prototxt", model / "squeezenet_decoded.caffemodel", engine=engine
    )


def toy_fcn8s(engine: str, shared: Path):
    """FCN-8s in miniature with random weights: every split, skip and crop of the real one."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "fcn8s.prototxt")
        with open(path, "w") as file:
            file.write(gp_nets.input_layer((1, 3, 64, 80)) + gp_nets.fcn("8s", width=6, classes=21))
        loaded = engines.load_net(path, engine=engine)
    gp_nets.fill(loaded.net, seed=4)
    return loaded


STRETCHED = Preprocess(mean=(127.5,), resize=(257, 257))
SMALL = Preprocess(resize=120)
IMAGENET = Preprocess(mean=(104.0, 117.0, 123.0), resize=(227, 227))

# name: (net, images, settings of GuidedPerturbation, eps values)
CASES = {
    "mnv2_data": (mnv2, lambda s: voc_images(s, 20, STRETCHED), {}, [0.05, 0.55, -0.1]),
    "mnv2_block5": (mnv2, lambda s: voc_images(s, 5, STRETCHED), {"blob": "block5_add"}, [0.01, -0.01]),
    "mnv2_iterations": (mnv2, lambda s: voc_images(s, 5, STRETCHED), {"iterations": 3}, [0.05]),
    "mnv2_uniform": (mnv2, lambda s: voc_images(s, 5, STRETCHED), {"encoding": "uniform"}, [-0.1]),
    "mnv2_soft": (mnv2, lambda s: voc_images(s, 5, STRETCHED), {"encoding": "soft"}, [0.05]),
    "lenet_v1": (lenet(LENET_V1), lambda s: mnist_images(s, 500), {}, [0.03, -0.05]),
    "lenet_v2": (lenet(LENET_V2), lambda s: mnist_images(s, 500), {}, [0.03, -0.05]),
    "lenet_v2_pool1": (lenet(LENET_V2), lambda s: mnist_images(s, 500), {"blob": "pool1"}, [0.03]),
    "squeezenet": (squeezenet, lambda s: voc_images(s, 6, IMAGENET), {}, [0.2, -0.2]),
    "toy_fcn8s_data": (toy_fcn8s, lambda s: voc_images(s, 4, SMALL), {}, [0.7]),
    "toy_fcn8s_pool3": (toy_fcn8s, lambda s: voc_images(s, 4, SMALL), {"blob": "pool3"}, [0.7]),
}


def run_case(name: str, engine: str, shared: Path, inputs: list | None = None) -> dict:
    """Inputs, label maps before and after, and mean confidences of one case: arrays by name.

    inputs: the batches of a recording. JPEG decoders and resizers of other versions differ by a grey level
    here and there, so both engines must be given the very same numbers.
    """
    load, make_images, settings, eps = CASES[name]
    gp = GuidedPerturbation(load(engine, shared), **settings)
    arrays, seconds = {}, 0.0
    for i, images in enumerate(make_images(shared) if inputs is None else inputs):
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


def main() -> int:
    """Record every case, or those named."""
    parser = argparse.ArgumentParser(description="Record label maps before and after guided perturbations.")
    parser.add_argument("cases", nargs="*", help=f"default: all of {', '.join(CASES)}")
    parser.add_argument("--engine", default="bvlc", choices=("bvlc", "torch"))
    parser.add_argument("--out", type=Path, default=RECORDINGS)
    options = parser.parse_args()
    shared = Path(os.environ.get("CAFFE_GP_SHARED_DATA", str(ROOT.parent / "shared" / "data")))
    if not shared.is_dir():
        print("record_gp: the real test data is not here (CAFFE_GP_SHARED_DATA); nothing recorded")
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.cases or CASES:
        try:
            arrays = engines.run_guarded(run_case, name, options.engine, shared)
        except CaffeGPError as error:
            print(f"record_gp: {name}: {error}", file=sys.stderr)
            return error.exit_code
        partial = options.out / f".{name}.npz"
        with open(partial, "wb") as file:
            np.savez_compressed(file, **arrays)
        os.replace(partial, options.out / f"{name}.npz")
        print(f"record_gp: {name}: {len(arrays)} arrays, {arrays['seconds']:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())

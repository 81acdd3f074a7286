"""The CamVid net with its batch normalisation put back, for what works on the normalisation itself.

The training of the CamVid net ends with the normalisation folded into the convolutions. Here it is unfolded:
every convolution's output is measured over CamVid's training images, once, and BatchNorm + Scale get these
statistics and what undoes them (``batchnorm.unfold``). On global statistics the net computes what the CamVid
net does. Nothing is learned, so one net can be compared with all methods, those that need the layers and
those that do not.

``make`` writes into the output folder:

    camvid-bn.caffemodel   the weights, for prototxt/camvid-bn/deploy.prototxt
    training.json          where they come from, and how far both nets differ
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Iterator, Sequence

import numpy as np

from caffe_gp import engines, provenance
from caffe_gp.datasets import segmentation
from caffe_gp.errors import WeightsError
from caffe_gp.files.hashes import sha256_of
from caffe_gp.files.json_files import write_json
from caffe_gp.models import batchnorm, weights, zoo
from caffe_gp.models.camvid import NAME, NAME_BN, NORMALISED
from caffe_gp.training.record import write_weights

_COMPARED = 5  # validation images on which both nets are run
_CLOSE = 1e-3  # of scores of about 10: rounding in float32 through 18 layers


def make(prototxts: Path, out: Path, quiet: bool = False) -> dict[str, Any]:
    """Write the weights and the record, which is returned. About a minute on one core.

    prototxts   folder with deploy.prototxt
    out         folder for the files
    The images are looked for in ``places.data_folder()``; DataError says how to get them. WeightsError if the
    two nets do not compute the same.
    """
    begin = time.perf_counter()
    source, images = weights.require(NAME), segmentation.get("camvid-train").check()
    net = engines.load_caffe("torch").Net(str(zoo.get(NAME).prototxt()), str(source), 1)
    params = {name: [np.array(blob.data) for blob in blobs] for name, blobs in net.params.items()}
    statistics = measure(net, NORMALISED, _blobs(images, images.ids, quiet))
    made = write_weights(out / f"{NAME_BN}.caffemodel", prototxts, batchnorm.unfold(params, statistics))
    apart = difference(prototxts / "deploy.prototxt", made)
    if apart > _CLOSE:
        raise WeightsError(f"{made}: its scores differ from those of {source} by up to {apart:.2g}")
    record = {
        "weights": made.name,
        "sha256": sha256_of(made),
        "of": {"weights": source.name, "sha256": sha256_of(source)},
        "prototxts": {"deploy": sha256_of(prototxts / "deploy.prototxt")},
        "statistics": images.describe(),
        "largest_difference_of_scores": apart,
        "seconds": round(time.perf_counter() - begin, 1),
        "environment": engines.describe("torch", "cpu"),
        "code_version": provenance.code_version(),
    }
    write_json(out / "training.json", record)
    return record


def measure(net: Any, layers: Sequence[str], blobs: Iterator[np.ndarray]) -> dict[str, Any]:
    """Mean and variance (C,) of what convolutions give without their bias, over images in ``data``.

    net      a pycaffe net; layers: names of convolutions with a bias, in the order that they run
    blobs    (1, C, H, W) float32 each
    """
    sums = {name: np.zeros((3, net.blobs[name].data.shape[1])) for name in layers}  # 1, x, x^2
    following = {name: net._layer_names[list(net._layer_names).index(name) + 1] for name in layers}
    for values in blobs:
        net.blobs["data"].reshape(*values.shape)
        net.blobs["data"].data[...] = values
        start = None
        for name in layers:  # stopping before the ReLU, which works in place
            net.forward(start=start, end=name)
            out = net.blobs[name].data.astype(np.float64) - net.params[name][1].data[:, None, None]
            sums[name] += [power.sum(axis=(0, 2, 3)) for power in (np.ones_like(out), out, out**2)]
            start = following[name]
    moments = {name: (total / count, squares / count) for name, (count, total, squares) in sums.items()}
    return {name: (mean, square - mean**2) for name, (mean, square) in moments.items()}


def difference(prototxt: Path, caffemodel: Path) -> float:
    """The largest difference between the scores of the CamVid net and of this one, over some images."""
    model, images = zoo.get(NAME), segmentation.get("camvid-val")
    pairs = (model.prototxt(), weights.require(NAME)), (prototxt, caffemodel)
    nets = [engines.load_caffe("torch").Net(str(one), str(other), 1) for one, other in pairs]
    apart = 0.0
    for values in _blobs(images, images.ids[:_COMPARED], quiet=True):
        for net in nets:
            engines.forward(net, "data", values)
        one, other = (net.blobs[model.score].data for net in nets)
        apart = max(apart, float(np.abs(one - other).max()))
    return apart


def _blobs(images: segmentation.SegmentationSet, ids: Sequence[str], quiet: bool) -> Iterator[np.ndarray]:
    from tqdm import tqdm

    for item in tqdm(ids, desc="statistics", disable=quiet, leave=False):
        yield zoo.get(NAME).feed.load(images.image(item)).data[np.newaxis]

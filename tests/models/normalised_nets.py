"""Training nets with made-up weights and statistics, for tests of folding."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterable

import numpy as np

from caffe_gp import engines, proto
from caffe_gp.proto import messages as pb

RNG = np.random.RandomState(0)


def as_net(param: pb.NetParameter, folder: Path, name: str) -> Any:
    """The embedded Caffe's net of a description, in the TEST phase."""
    proto.write_text(param, str(folder / name))
    return engines.load_caffe("torch").Net(str(folder / name), 1)


def made_up(training: pb.NetParameter, deploy: pb.NetParameter, folder: Path) -> Any:
    """The net of a training prototxt with an Input in place of its data layer and without its loss."""
    layers = [deploy.layer[0], *list(training.layer)[1:-1]]
    net = as_net(type(training)(name=training.name, layer=layers), folder, "trained.prototxt")
    for name, blobs in net.params.items():
        for i, blob in enumerate(blobs):
            if name.startswith("bn_"):
                # Mean, variance and the factor that both carry.
                values = (RNG.normal(0, 3, blob.data.shape), RNG.uniform(2, 9, blob.data.shape), 4.0)
                blob.data[...] = values[i]
            elif name.startswith("scale_"):
                blob.data[...] = RNG.uniform(0.5, 1.5, blob.data.shape) if i == 0 else RNG.normal(0, 1)
            elif name.startswith("score"):
                blob.data[...] = RNG.normal(0, 0.1, blob.data.shape)
    return net


def params_of(net: Any) -> dict[str, list[np.ndarray]]:
    """Layer name -> copies of its arrays."""
    return {name: [np.array(blob.data) for blob in blobs] for name, blobs in net.params.items()}


def check_folding(
    trained: Any,
    deploy: pb.NetParameter,
    folded: dict[str, list[np.ndarray]],
    folder: Path,
    blobs: Iterable[str],
) -> None:
    """The deployed net with the folded weights computes what the training net does."""
    net = as_net(deploy, folder, "deploy.prototxt")
    assert set(folded) == set(net.params)
    proto.write_caffemodel(str(folder / "w.caffemodel"), deploy, folded)
    net.copy_from(str(folder / "w.caffemodel"))
    image = RNG.normal(0, 50, (2, 3, 96, 96)).astype(np.float32)
    for each in (trained, net):
        each.blobs["data"].reshape(*image.shape)
        each.blobs["data"].data[...] = image
        each.forward()
    for blob in blobs:
        expected = trained.blobs[blob].data
        assert np.abs(expected).max() > 0.1
        error = np.abs(net.blobs[blob].data - expected).max() / np.abs(expected).max()
        assert error < 1e-5, blob

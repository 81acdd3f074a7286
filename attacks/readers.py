"""What the package does with a file that somebody else made: a function for each way to open one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import numpy as np

from caffe_gp import caffe, engines, proto
from caffe_gp.caffe.solver_state import read_state
from caffe_gp.evaluation.results import read_run
from caffe_gp.images.label_maps import read_label_png
from caffe_gp.images.lists import read_ids, read_image_list
from caffe_gp.images.reading import image_size, read_image
from caffe_gp.models.convert.archives import open_archive

Reader = Callable[[Path], Any]


def net(path: Path) -> None:
    """Build the net for testing, run it forward and backward."""
    _passes(caffe.Net(str(path), caffe.TEST))


def training_net(path: Path) -> None:
    """The same for training."""
    _passes(caffe.Net(str(path), caffe.TRAIN))


def _passes(built: Any) -> None:
    if len(built.layers):  # pycaffe has no passes of a net without layers
        built.forward()
        built.backward()


def tool(path: Path) -> None:
    """What `caffe_gp run` does: prepare the net, load it; no layers of type Python but our own."""
    engines.load_net(path, engine="torch", allow_missing_weights=True, allow_python_layers=())


def solver(path: Path) -> None:
    """Train for two iterations."""
    caffe.get_solver(str(path)).step(2)


def weights(path: Path) -> None:
    """Read all values, and copy them into the net beside the file, if there is one."""
    with proto.read_weights(path) as found:
        for _, blobs in found:
            for blob in blobs:
                if blob is not None:
                    blob.copy_to(np.empty(blob.count, np.float32))
    beside = path.parent / "net.prototxt"
    if beside.exists():
        caffe.Net(str(beside), str(path), caffe.TEST)


def hdf5_data(path: Path) -> None:
    """Feed a net from the file, by a layer of type HDF5Data."""
    listed, text = path.with_suffix(".list"), path.with_suffix(".hdf5data.prototxt")
    listed.write_text(f"{path}\n")
    text.write_text(
        f'layer {{ name: "d" type: "HDF5Data" top: "data" hdf5_data_param {{ source: "{listed}" '
        "batch_size: 2 } }"
    )
    net(text)


def state(path: Path) -> None:
    """Read a solver's state."""
    read_state(str(path))


def mean(path: Path) -> None:
    """Read a mean image."""
    proto.read_blob(path)


def archive(path: Path) -> None:
    """Read the arrays of another framework's weights."""
    with open_archive(path) as opened:
        for key in opened.shapes:
            opened.array(key)


def image(path: Path) -> None:
    """Read an image."""
    image_size(path)
    read_image(path)


def pycaffe_image(path: Path) -> None:
    """Read an image as scripts of pycaffe do."""
    caffe.io.load_image(path)


def labels(path: Path) -> None:
    """Read a label map."""
    read_label_png(path)


def image_list(path: Path) -> None:
    """Read a list of images."""
    read_image_list(path)


def ids(path: Path) -> None:
    """Read a list of ids."""
    read_ids(path, ["a"])


def run(path: Path) -> None:
    """Read the folder of a run, and what it found."""
    found = read_run(path)
    found.measures(found.base)
    for eps in found.eps:
        found.gain(eps, samples=10)
        found.total(eps)


READERS: dict[str, Reader] = {
    one.__name__: one
    for one in (
        net, training_net, tool, solver, weights, hdf5_data, state, mean, archive, image, pycaffe_image,
        labels, image_list, ids, run,
    )
}  # fmt: skip

_NETS = ("net", "training_net", "tool")
_IMAGES = ("image", "pycaffe_image", "labels")
# By the end of a file's name, for files of others; what has none of these is tried as an image.
_BY_SUFFIX: dict[str, tuple[str, ...]] = {
    ".prototxt": _NETS,
    ".caffemodel": ("weights", "mean"),
    ".binaryproto": ("mean",),
    ".h5": ("weights", "hdf5_data", "archive", "state"),
    ".solverstate": ("state",),
    ".pth": ("archive",),
    ".npz": ("archive",),
    ".mat": ("archive",),
    ".txt": ("image_list", "ids"),
}


def readers_for(path: Path) -> tuple[str, ...]:
    """The names of the readers that a file, or a run's folder, is given to."""
    if path.is_dir():
        return ("run",)
    if path.suffix == ".prototxt" and b"base_lr" in path.read_bytes()[:65536]:
        return ("solver",)
    return _BY_SUFFIX.get(path.suffix, _IMAGES)

"""The fuzz targets: each takes bytes. Whatever leaves one that is no CaffeGPError is a finding."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, NamedTuple

from attacks import kernels, readers
from caffe_gp import caffe, proto
from caffe_gp.caffe.splits import insert_splits
from caffe_gp.errors import CaffeGPError, NetError
from caffe_gp.evaluation.record_checks import CLASSIFICATION, PROBABILITIES
from caffe_gp.images.label_maps import read_label_png
from caffe_gp.images.lists import read_lines
from caffe_gp.images.reading import check_image, image_size, read_image
from caffe_gp.proto import messages as pb
from caffe_gp.python_layers.users import check_allowed
from caffe_gp.runs.folder import RunFolder
from caffe_gp.surgery.param_shapes import param_shapes
from caffe_gp.surgery.prepare import prepare

_MOST_LAYERS = 200
_MOST_STEPS = 1 << 30  # multiplications: more take longer than one input may, and rightly


class Target(NamedTuple):
    """What is fuzzed.

    run      given the bytes
    about    in a few words
    grammar  of the bytes: a message class of Caffe's formats, 'json' or None
    damage   share of mutations that change bytes at random although the grammar is known
    """

    run: Callable[[bytes], object]
    about: str
    grammar: Any | str | None = None
    damage: float = 0.0


def compile_kernels() -> None:
    """Let numba compile what no input is to be blamed for; in the current folder."""
    path = Path("kernels.prototxt")
    for text in kernels.NETS:
        path.write_text(text)
        readers.net(path)


def _each(data: bytes, *opened_by: Callable[[Path], object], name: str = "input") -> None:
    """Give the bytes to every reader, as a file of the current folder, which is the fuzzer's own."""
    path = Path(name)
    path.write_bytes(data)
    for reader in opened_by:
        try:
            reader(path)
        except CaffeGPError:
            pass


def _net(data: bytes) -> Any:
    """The bytes as a net's description. A CaffeGPError if they are none, or if it runs Python modules."""
    try:
        net = pb.NetParameter.FromString(data)
    except Exception:  # protobuf's DecodeError has had several homes
        raise NetError("no message") from None
    if len(net.layer) + len(net.layers) > _MOST_LAYERS:
        raise NetError("more layers than are tried")
    net = proto.upgrade_net(net, "fuzzed")
    check_allowed(net, ())
    return net


def prototxt_text(data: bytes) -> None:
    """Text of nets and solvers; what is read is written and read again as the same."""
    _each(data, proto.read_net_param, proto.read_solver_param, read_lines)
    text = data.decode("utf-8", "replace")
    try:
        net = proto.parse_net_param(text)
    except CaffeGPError:
        return
    assert proto.parse_net_param(proto.to_text(net)) == net or "nan" in text.lower()


def caffemodel(data: bytes) -> None:
    """Weights, solver states and mean images, as protobuf."""
    _each(data, readers.weights, proto.read_blob, proto.read_solverstate)


def surgery(data: bytes) -> None:
    """Upgrades, phases, splits and the preparation for guided perturbations."""
    net = _net(data)
    for act in (prepare, param_shapes, lambda net: insert_splits(proto.filter_net(net, pb.TRAIN), "fuzzed")):
        try:
            act(net)
        except CaffeGPError:
            pass


def net_build(data: bytes) -> None:
    """A net is set up in both phases."""
    net = _net(data)
    for phase in (pb.TEST, pb.TRAIN):
        try:
            caffe.Net.from_param(net, phase)
        except CaffeGPError:
            pass


def passes(data: bytes) -> None:
    """A net runs forward and backward, and once more at another size."""
    net = _net(data)
    built = caffe.Net.from_param(net, pb.TEST)
    if not len(built.layers) or _steps(built) > _MOST_STEPS:
        return
    built.forward()
    built.backward()
    for name in built.inputs:
        shape = built.blobs[name].shape
        built.blobs[name].reshape(*shape[:2], *(n + 3 for n in shape[2:]))
    built.forward()
    built.backward()


def _steps(net: Any) -> int:
    """No fewer than the multiplications of the convolutions in a forward."""
    most = max((blob.count for blob in net.blobs.values()), default=0)
    filters = (layer.blobs[0] for layer in net.layers if hasattr(layer, "kernel") and layer.blobs)
    return sum(most * weights.count_from(1) for weights in filters)


def hdf5(data: bytes) -> None:
    """HDF5 weights of Caffe and Keras, states of solvers, a data layer's file."""
    _each(data, readers.weights, readers.state, readers.archive, readers.hdf5_data, name="input.h5")


def run_folder(data: bytes) -> None:
    """A run of any kind. Lines: key.json, an empty one, ids up to the next empty one, records."""
    parts = data.split(b"\n\n", 2)
    for name, content in zip(("key.json", "ids.txt", "records/0.jsonl"), parts):
        path = Path("run") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content + b"\n")
    for schema in (CLASSIFICATION, PROBABILITIES):
        try:
            RunFolder(Path("run"), schema).records()
        except CaffeGPError:
            pass
    readers.run(Path("run"))


def images(data: bytes) -> None:
    """Images and label maps."""
    _each(data, image_size, check_image, read_image, read_label_png, caffe.io.load_image)


TARGETS: dict[str, Target] = {
    "prototxt_text": Target(prototxt_text, "text of nets and solvers"),
    "caffemodel": Target(caffemodel, "binary weights, solver states, mean images", pb.NetParameter, 0.5),
    "surgery": Target(surgery, "upgrades, phases, splits, preparation", pb.NetParameter),
    "net_build": Target(net_build, "nets of any layers", pb.NetParameter),
    "passes": Target(passes, "forward and backward of nets", pb.NetParameter),
    "hdf5": Target(hdf5, "HDF5 weights, states, data"),
    "run_folder": Target(run_folder, "records of runs", "json", 0.2),
    "images": Target(images, "images and label maps"),
}

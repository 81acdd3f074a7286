"""The released files that are no net to be run: what each engine says to them.

Files of the forks, train/val files whose data is not here, solvers, weights in formats of their own, mean
images. Every file must be read, or refused with an error that says what is wrong and where.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Callable

from caffe_gp import engines, proto
from caffe_gp.errors import CaffeGPError
from conformance.released import nets, spatial_dropout

# ENet's unmerged prototxts name a Python module of this name; nobody released it.
sys.modules["spatial_dropout"] = spatial_dropout

_PROTOTXT = (
    f"{nets.CIFAR}/cifar10_full_train_test.prototxt",
    f"{nets.CIFAR}/cifar10_quick_train_test.prototxt",
    f"{nets.MNIST}/lenet_train_test.prototxt",
    f"{nets.SQUEEZENET}/SqueezeNet_trainval.prototxt",
    f"{nets.TIMO}/prototxts/enet_deploy.prototxt",
    f"{nets.TIMO}/prototxts/enet_train_encoder.prototxt",
    f"{nets.TIMO}/prototxts/enet_train_encoder_decoder.prototxt",
    f"{nets.LANE}/mobilenet_yolov3_lite_train.prototxt",
)
# Of the images that data layers would bring, where the file does not tell.
_SHAPES = {
    _PROTOTXT[0]: (None, 3, 32, 32),
    _PROTOTXT[1]: (None, 3, 32, 32),
    _PROTOTXT[2]: (None, 1, 28, 28),
}
_FORK_NETS = (
    f"{nets.ENETS}/enet_deploy_final.prototxt",
    f"{nets.LANE}/mobilenet_yolov3_lite_deploy.prototxt",
)
_SOLVERS = (
    f"{nets.CIFAR}/cifar10_full_solver.prototxt",
    f"{nets.CIFAR}/cifar10_quick_solver.prototxt",
    f"{nets.MNIST}/lenet_solver.prototxt",
    f"{nets.MNIST}/lenet_consolidated_solver.prototxt",
    f"{nets.TIMO}/prototxts/enet_solver_encoder.prototxt",
    f"{nets.TIMO}/prototxts/enet_solver_encoder decoder.prototxt",
    f"{nets.LANE}/mobilenet_yolov3_lite_solver.prototxt",
)
_ENCODED = f"{nets.SQUEEZENET}/compressed_SqueezeNet.net"
_MEAN = f"{nets.SIMSHANG}/mean.binaryproto"
FILES = (*_PROTOTXT, *_FORK_NETS, *_SOLVERS, _ENCODED, _MEAN)


def embedded_says(shared: Path, file: str) -> list[str]:
    """One sentence for each use of the file, as 'use: what comes of it'; an error with its class."""
    path = str(shared / file)
    said = []
    for use, action in _uses(file, path, "torch").items():
        try:
            said.append(f"{use}: {action()}")
        except CaffeGPError as error:
            said.append(f"{use}: {type(error).__name__}: {_shortened(str(error), shared)}")
    return said


def bvlc_says(shared: Path, file: str) -> list[str]:
    """The same from BVLC Caffe, whose errors are the last words of its process."""
    path = str(shared / file)
    said = []
    for use, action in _uses(file, path, "bvlc").items():
        try:
            said.append(f"{use}: {engines.run_guarded(action)}")
        except Exception as error:  # pycaffe raises RuntimeError and the like
            said.append(f"{use}: {_shortened(str(error), shared)}")
    return said


def _uses(file: str, path: str, engine: str) -> dict[str, Callable[[], str]]:
    if file in _SOLVERS:
        uses: dict[str, Callable[[], str]] = {"solver": lambda: _solver(path, engine)}
        if engine == "torch":
            uses = {"read": lambda: _read_solver(path), **uses}
        return uses
    if file == _ENCODED:
        return {"prototxt": lambda: _net(path, engine), "weights": lambda: _weights(path, engine)}
    if file == _MEAN:
        return {"mean": lambda: _mean(path, engine)}
    uses = {"as it is": lambda: _net(path, engine)}
    if engine == "torch" and file not in _FORK_NETS:
        uses["prepared"] = lambda: _prepared(path, _SHAPES.get(file))
    return uses


def _net(path: str, engine: str) -> str:
    caffe = engines.load_caffe(engine)
    return f"loads, {len(caffe.Net(path, caffe.TEST).layers)} layers"


def _prepared(path: str, shape: Any) -> str:
    net = engines.load_net(path, input_shape=shape)
    blobs = net.net.blobs
    net.net.forward()
    return f"loads and runs, '{net.data}' {blobs[net.data].shape} to '{net.score}' {blobs[net.score].shape}"


def _read_solver(path: str) -> str:
    solver = proto.read_solver_param(path)
    return f"{solver.type}, lr_policy {solver.lr_policy}, max_iter {solver.max_iter}"


def _solver(path: str, engine: str) -> str:
    engines.load_caffe(engine).get_solver(path)
    return "made"


def _weights(path: str, engine: str) -> str:
    caffe = engines.load_caffe(engine)
    prototxt = os.path.join(os.path.dirname(path), "SqueezeNet_deploy.prototxt")
    caffe.Net(prototxt, path, caffe.TEST)
    return "loaded"


def _mean(path: str, engine: str) -> str:
    if engine == "torch":
        array = proto.read_blob(path)
    else:
        caffe = engines.load_caffe(engine)
        message = caffe.io.caffe_pb2.BlobProto()
        message.ParseFromString(Path(path).read_bytes())
        array = caffe.io.blobproto_to_array(message)
    return f"{tuple(array.shape)}, values {array.min():.4f} to {array.max():.4f}, mean {array.mean():.4f}"


def _shortened(text: str, shared: Path) -> str:
    """An error without the folders of this machine."""
    for folder in (str(shared), os.getcwd()):
        text = text.replace(folder + "/", "")
    return text.split(" (searched ")[0].split(" (known types: ")[0].split("; relative paths start at")[0]

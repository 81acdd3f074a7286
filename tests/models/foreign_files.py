"""Weights of small nets as other frameworks would have written them, for the tests of the converter.

Written from what the formats are documented to be; shares nothing with the converter.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any, Callable, Dict, List

import numpy as np

from caffe_gp.models import zoo
from caffe_gp.proto import messages as pb
from caffe_gp.surgery.param_shapes import param_shapes

CLASSES = 5
Arrays = Dict[str, List[np.ndarray]]  # of a net: layer name -> its parameters


def shrunk(name: str) -> pb.NetParameter:
    """The NetParameter of a model with few channels, different ones in every layer of the trunk."""
    param = zoo.get(name).net()
    trunk = 2
    for layer in param.layer:
        if layer.type in ("Convolution", "Deconvolution"):
            if layer.convolution_param.num_output > 60:
                trunk = 3 + (trunk - 2) % 5
                layer.convolution_param.num_output = trunk
            else:
                layer.convolution_param.num_output = CLASSES
    return param


def random_arrays(param: pb.NetParameter, seed: int = 0) -> Arrays:
    """Arrays of the net, seeded; the compatibility matrix has CRF-RNN's sign, and zeros."""
    rng = np.random.RandomState(seed)
    arrays = {
        name: [(rng.standard_normal(shape) / 3).astype(np.float32) for shape in shapes]
        for name, shapes in param_shapes(param).items()
    }
    for layer in param.layer:
        if layer.type == "MultiStageMeanfield":
            arrays[layer.name][2] = np.float32(-1.5) * np.eye(CLASSES, dtype=np.float32)[None, None]
            arrays[layer.name][2][0, 0, 0, 1] = 0.25
        if layer.type == "Scale":
            arrays[layer.name][0][:] = {"scale_pool4": 0.01, "scale_pool3": 0.0001}[layer.name]
    return arrays


# ---- the inverse: what each framework would have written

CRF_NAMES = ["spatial_ker_weights", "bilateral_ker_weights", "compatibility_matrix"]


def write_keras(path: Path, arrays: Arrays, whole_model: bool = False) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if whole_model else file
        root.attrs["layer_names"] = np.array([name.encode() for name in arrays])
        root.create_group("pool1").attrs["weight_names"] = np.array([], "S1")
        for name, blobs in arrays.items():
            name = "crfrnn" if name == "inference1" else name
            weights = {}
            if name == "crfrnn":
                weights = dict(zip(CRF_NAMES, (blob[0, 0] for blob in blobs)))
            else:
                kernel = np.empty(blobs[0].shape[2:] + blobs[0].shape[1::-1], np.float32)
                for a, b in np.ndindex(*blobs[0].shape[:2]):
                    kernel[:, :, b, a] = blobs[0][a, b]
                weights["kernel"] = kernel
                if len(blobs) == 2:
                    weights["bias"] = blobs[1]
            group = root.create_group(name)
            group.attrs["weight_names"] = np.array([f"{name}/{key}:0".encode() for key in weights])
            for key, value in weights.items():
                group[f"{name}/{key}:0"] = value


def write_torch_crf(path: Path, arrays: Arrays, **how: Any) -> None:
    import torch

    names = {
        "score-fr": "score_fr",
        "score-pool4": "score_pool4",
        "score-pool3": "score_pool3",
        "score2": "upscore2",
        "score4": "upscore_pool4",
        "upsample": "upscore8",
    }
    state = {}
    for name, blobs in arrays.items():
        if name == "inference1":
            for key, blob in zip(CRF_NAMES, blobs):
                state[f"crfrnn.{key}"] = torch.tensor(-blob[0, 0] if key == CRF_NAMES[2] else blob[0, 0])
            continue
        for part, blob in zip(("weight", "bias"), blobs):
            state[f"{names.get(name, name)}.{part}"] = torch.tensor(blob)
    torch.save(state, path, **how)


def write_torch(path: Path, arrays: Arrays, **how: Any) -> None:
    import torch

    state = {}
    for name, blobs in arrays.items():
        for part, blob in zip(("weight", "bias"), blobs):
            if not name.startswith("scale_"):
                state[f"{name}.{part}"] = torch.tensor(blob)
    torch.save(state, path, **how)


class _Storage:
    """Stands for the values of a tensor, which are written after the pickle."""

    def __init__(self, key: str, array: np.ndarray) -> None:
        self.key, self.array = key, array


class _Tensor:
    """Pickled as PyTorch's tensors of 2017 were."""

    def __init__(self, key: str, array: np.ndarray) -> None:
        self.storage, self.shape = _Storage(key, array), array.shape

    def __reduce__(self) -> tuple:
        from torch._utils import _rebuild_tensor

        strides = tuple(int(np.prod(self.shape[i + 1 :])) for i in range(len(self.shape)))
        return _rebuild_tensor, (self.storage, 0, self.shape, strides)


def write_torch_2017(path: Path, arrays: Arrays) -> None:
    """A state dict as PyTorch 0.2 wrote it from a GPU, when wkentaro's files were made."""
    import pickle

    import torch

    class Pickler(pickle.Pickler):
        def persistent_id(self, item: Any) -> tuple | None:
            if isinstance(item, _Storage):
                return ("storage", torch.FloatStorage, item.key, "cuda:0", item.array.size, None)
            return None

    parts = ("weight", "bias")
    flat = {f"{name}.{part}": blob for name, blobs in arrays.items() for part, blob in zip(parts, blobs)}
    with open(path, "wb") as stream:
        pickle.dump(0x1950A86A20F9469CFC6C, stream, protocol=2)
        pickle.dump(1001, stream, protocol=2)
        sizes = {"short": 2, "int": 4, "long": 8}
        system = {"protocol_version": 1001, "little_endian": True, "type_sizes": sizes}
        pickle.dump(system, stream, protocol=2)
        state = OrderedDict((key, _Tensor(str(i), blob)) for i, (key, blob) in enumerate(flat.items()))
        Pickler(stream, protocol=2).dump(state)
        pickle.dump([str(i) for i in range(len(flat))], stream, protocol=2)
        for blob in flat.values():
            stream.write(np.int64(blob.size).tobytes() + blob.tobytes())


def write_chainer(path: Path, arrays: Arrays, **more: np.ndarray) -> None:
    entries: dict[str, Any] = dict(more)
    for name, blobs in arrays.items():
        for part, blob in zip("Wb", blobs):
            if not name.startswith("scale_"):
                entries[f"{name}/{part}"] = blob
    np.savez(path, **entries)


def write_matconvnet(
    path: Path, arrays: Arrays, endings: tuple[str, str] = ("f", "b"), wrapped: bool = False, **how: Any
) -> None:
    """As import-caffe.py: all axes reversed, the image's swapped back, conv1_1 to red, green, blue."""
    from scipy.io import savemat

    entries = []
    for name, blobs in arrays.items():
        kernel = blobs[0].transpose().transpose(1, 0, 2, 3)
        if name == "conv1_1":
            kernel = kernel[:, :, ::-1, :]
        name = name.replace("-", "_")
        entries.append((name + endings[0], kernel))
        if len(blobs) == 2:
            entries.append((name + endings[1], blobs[1].reshape(-1, 1)))
    params = np.empty((1, len(entries)), [("name", object), ("value", object), ("learningRate", object)])
    for i, (name, value) in enumerate(entries):
        params[0, i] = (name, value, 1.0)
    content = {"params": params, "meta": np.zeros((1, 1))}
    savemat(path, {"net": content} if wrapped else content, **how)


WRITERS: dict[str, Callable[..., None]] = {
    "keras-crfasrnn": write_keras,
    "torch-crfasrnn": write_torch_crf,
    "torch-fcn": write_torch,
    "chainer-fcn": write_chainer,
    "matconvnet-fcn": write_matconvnet,
}
ENDINGS = {
    "keras-crfasrnn": "h5",
    "torch-crfasrnn": "pth",
    "torch-fcn": "pth",
    "chainer-fcn": "npz",
    "matconvnet-fcn": "mat",
}

"""Opens the files of other frameworks: named arrays and their shapes.

Nothing in a file is run: .npz without pickles, .pth with PyTorch's ``weights_only``, MATLAB and HDF5 have no
code. What claims to be bigger than a caffemodel can be is refused. HDF5 and .npz files give values when asked
for them, the others at once.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Iterator

import numpy as np

from caffe_gp.errors import EngineError, WeightsError, quoted, why
from caffe_gp.files import kinds
from caffe_gp.files.hdf5 import ALWAYS_ALLOWED, MAX_EXPANSION, Hdf5Error, Hdf5File
from caffe_gp.files.kinds import KERAS, MATLAB, NUMPY, TORCH
from caffe_gp.files.mat5 import MatError, MatStructs, read_mat
from caffe_gp.files.npy import npy_header
from caffe_gp.files.zips import SHOWN, Zip

MAX_BYTES = 2**31 - 1  # of a caffemodel, which is a protobuf message
MAX_ARRAYS = 10_000  # ResNet-101 has some 500


class Archive:
    """An open file of named arrays.

    path    as it was given
    kind    one of KERAS, TORCH, NUMPY, MATLAB
    shapes  shape by key, in the file's order

    Close it, or leave its ``with`` block. Arrays taken from a .pth may be views of the file.
    """

    def __init__(
        self,
        path: str,
        kind: str,
        shapes: dict[str, tuple[int, ...]],
        read: Callable[[str], Any],
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.path, self.kind, self.shapes = path, kind, shapes
        self._read, self.close = read, close
        if len(shapes) > MAX_ARRAYS:
            raise WeightsError(f"{path}: {len(shapes)} arrays; no net that is known has {MAX_ARRAYS}")
        size = 4 * sum(_count(shape) for shape in shapes.values())
        if size > MAX_BYTES:
            raise WeightsError(f"{path}: claims {size} bytes of arrays; a caffemodel ends at {MAX_BYTES}")

    def array(self, key: str) -> np.ndarray:
        """The values, float32. Raises WeightsError."""
        try:
            array = self._read(key)
        except Exception as error:  # whatever a damaged file makes of its reader
            raise WeightsError(f"{self.path}: {quoted(key, SHOWN)} is damaged: {why(error)}") from None
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
            found = getattr(array, "dtype", type(array).__name__)
            raise WeightsError(f"{self.path}: {quoted(key, SHOWN)} holds {found}, not floats")
        return array.astype(np.float32, copy=False)

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def kind_of(path: str | os.PathLike) -> str:
    """Which kind of file this is, by its content: KERAS, TORCH, NUMPY, MATLAB, or '' for anything else.

    Caffe's own HDF5 weights are ''. Raises WeightsError for a file that cannot be read, a damaged one, an
    empty one, a web page or a git-LFS pointer.
    """
    path = os.fspath(path)
    try:
        kind = kinds.what_is(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from None
    if kind in (kinds.EMPTY, kinds.WEB_PAGE, kinds.LFS, kinds.REFUSAL, kinds.DAMAGED_HDF5, kinds.DAMAGED_ZIP):
        raise WeightsError(f"{path}: {kinds.wrong_file(path, 'weights')}")
    return kind if kind in (KERAS, TORCH, NUMPY, MATLAB) else ""


def open_archive(path: str | os.PathLike) -> Archive:
    """Open a file of any of the four kinds. Raises WeightsError for another or a damaged one."""
    path = os.fspath(path)
    kind = kind_of(path)
    if not kind:
        raise WeightsError(f"{path}: {kinds.what_is(path)}, neither {KERAS}, {TORCH}, {NUMPY} nor {MATLAB}")
    size = os.path.getsize(path)
    if size > MAX_BYTES:
        raise WeightsError(f"{path}: {size} bytes; a caffemodel ends at {MAX_BYTES}")
    reader = {KERAS: _open_keras, TORCH: _open_torch, NUMPY: _open_numpy, MATLAB: _open_matlab}[kind]
    try:
        return reader(path)
    except (WeightsError, EngineError):
        raise
    except MatError as error:
        raise WeightsError(f"{path}: {kind} that is damaged, or not of versions 5 to 7: {error}") from None
    except Exception as error:  # whatever a damaged file makes of its reader
        raise WeightsError(f"{path}: {kind} that is damaged: {why(error)}. Get it again") from None


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for dim in shape:
        count *= dim
    return count


# -------------------------------------------------------------------------------------------- Keras (HDF5)


def _open_keras(path: str) -> Archive:
    """Keras 1 and 2: a group for each layer, in it (at any depth) datasets 'kernel:0', 'bias:0', ...

    The key is layer/kernel. Files of whole models hold the same below 'model_weights'.
    """
    import h5py

    file = Hdf5File(path)
    datasets: dict[str, Any] = {}
    try:
        inner = file.child(file.root, "model_weights")
        for name, item in file.walk(file.root if inner is None else inner):
            if not isinstance(item, h5py.Dataset):
                continue
            key = f"{name.split('/')[0]}/{name.split('/')[-1].split(':')[0]}"
            if key in datasets:
                raise WeightsError(f"{path}: two datasets for {quoted(key, SHOWN)}")
            try:
                file.check(item)
            except Hdf5Error as error:
                raise WeightsError(f"{path}: {quoted(name, SHOWN)}: {error}") from None
            datasets[key] = item
        shapes = {key: item.shape for key, item in datasets.items()}
        return Archive(path, KERAS, shapes, lambda key: file.values(datasets[key]), file.close)
    except BaseException:
        file.close()
        raise


# --------------------------------------------------------------------------------------- zip: PyTorch, NumPy


def _open_torch(path: str) -> Archive:
    try:
        from caffe_gp.caffe.torch_files import read_state_dict
    except ModuleNotFoundError as error:
        raise EngineError(
            f"{path}: reading {TORCH} needs the Python package '{error.name}' (pip install torch; Python "
            "3.10 or newer)"
        ) from None
    arrays = read_state_dict(path)
    return Archive(path, TORCH, {key: array.shape for key, array in arrays.items()}, arrays.__getitem__)


def _open_numpy(path: str) -> Archive:
    """Chainer's save_npz and any other: the keys are the members' names."""
    archive = Zip(path)
    try:
        shapes = {}
        for member in archive.infolist():
            if member.file_size > max(ALWAYS_ALLOWED, MAX_EXPANSION * member.compress_size):
                raise WeightsError(
                    f"{path}: '{member.filename}' unpacks from {member.compress_size} bytes to "
                    f"{member.file_size}; at most {MAX_EXPANSION} times as many are unpacked"
                )
            with archive.open(member) as stream:
                shapes[member.filename[: -len(".npy")]], _ = npy_header(stream, member.file_size)
        return Archive(path, NUMPY, shapes, lambda key: _read_npy(archive, key), archive.close)
    except BaseException:
        archive.close()
        raise


def _read_npy(archive: Zip, key: str) -> np.ndarray:
    with archive.open(key + ".npy") as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


# ------------------------------------------------------------------------------------------------- MATLAB


def _open_matlab(path: str) -> Archive:
    """MatConvNet's DagNN as a structure. The keys are layer/filter and layer/bias.

    The names in the file end in f and b, or in _filter and _bias.
    """
    values = {}
    for name, value in _matlab_params(path):
        for ending, part in (("_filter", "filter"), ("_bias", "bias"), ("f", "filter"), ("b", "bias")):
            if name.endswith(ending):
                name = f"{name[: -len(ending)]}/{part}"
                break
        if name in values:
            raise WeightsError(f"{path}: two parameters for {quoted(name, SHOWN)}")
        if name.endswith("/filter"):  # MATLAB drops the last axes of length 1
            value = value.reshape(value.shape + (1,) * (4 - value.ndim))
        values[name] = value
    shapes = {key: value.shape for key, value in values.items()}
    return Archive(path, MATLAB, shapes, values.__getitem__)


def _matlab_params(path: str) -> Iterator[tuple[str, np.ndarray]]:
    """params(i).name and .value, at the top or in a variable ``net``."""
    content = read_mat(path, MAX_BYTES)
    net = content.get("net")
    found = net.items[0] if isinstance(net, MatStructs) and len(net.items) == 1 else content
    if "params" not in found:
        raise WeightsError(f"{path}: a MATLAB file without MatConvNet's params (a DagNN as a structure)")
    params = found["params"]
    items = params.items if isinstance(params, MatStructs) else [{}]
    for entry in items:
        name, value = entry.get("name"), entry.get("value")
        if not isinstance(name, str) or not isinstance(value, np.ndarray):
            raise WeightsError(
                f"{path}: params is no array of structures with a text, name, and an array, value"
            )
        yield name, value

"""Reading PyTorch's state dicts without running anything that is in them."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from caffe_gp.caffe.pickle_bounds import check_pickle
from caffe_gp.errors import CaffeGPError, WeightsError, quoted
from caffe_gp.files.regular import open_regular
from caffe_gp.files.zips import Zip, is_zip

# Keys under which training scripts keep a state dict in a checkpoint.
_IN_CHECKPOINTS = ("state_dict", "model_state_dict", "model_state", "model", "net")
_ALWAYS_ALLOWED = 64 << 20  # bytes of tensors, however few of them are stored
_MAX_PICKLE_BYTES = 16 << 20  # of names and shapes; a net of 1,000 layers has 0.2 MB
_PARALLEL = "module."  # in front of every key of a DataParallel model


def read_state_dict(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays of a ``.pth`` by key; floating point ones as float32.

    Those of today's format lie in the (memory-mapped) file until they are used; of the format before PyTorch
    1.6 everything is read. A checkpoint's state dict is taken out of it, and DataParallel's 'module.' off its
    keys. Nothing but tensors and plain containers is unpickled (``weights_only``). Raises
    WeightsError for a file that holds more than that, or something else than a state dict, or is damaged.
    """
    path = os.fspath(path)
    try:
        with _opened_once(path) as same:
            mapped = is_zip(same)
            (_check_members if mapped else _check_old)(same)
            content = torch.load(same, map_location="cpu", weights_only=True, mmap=mapped)
    except CaffeGPError as error:
        raise WeightsError(f"{path}: {error}") from None
    except OSError as error:
        raise WeightsError(f"{path}: not readable ({error.strerror or error})") from None
    except Exception as error:  # a damaged file can make the unpickler fail in any way
        raise WeightsError(f"{path}: {_why_not(error)}") from None
    found = _state_dict_in(content)
    if found is None:
        keys = f" with {', '.join(map(str, list(content)[:8]))}" if isinstance(content, dict) else ""
        raise WeightsError(
            f"{path}: expected a state dict; found {type(content).__name__}{keys}. "
            "Save the model's state_dict() alone"
        )
    _check_sizes(path, found)
    return {str(key): _array(value) for key, value in found.items()}


@contextmanager
def _opened_once(path: str) -> Iterator[str]:
    """A name for the file that is open now, whatever happens to its own: PyTorch maps files by name only."""
    with open_regular(path) as stream:
        yield f"/dev/fd/{stream.fileno()}"


def _check_members(path: str) -> None:
    """Errors for an archive that PyTorch would have to unpack: it stores tensors as they are, each once."""
    with Zip(path) as archive:
        entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > os.path.getsize(path):
            raise WeightsError("a PyTorch file whose members take more bytes than it has")
        for entry in entries:
            if entry.compress_type != zipfile.ZIP_STORED:
                raise WeightsError(f"{quoted(entry.filename)} in it is packed, which torch.save never does")
            if entry.filename.endswith("data.pkl"):
                if entry.file_size > _MAX_PICKLE_BYTES:
                    raise WeightsError(
                        f"{quoted(entry.filename)} in it has {entry.file_size} bytes; at most "
                        f"{_MAX_PICKLE_BYTES} are read"
                    )
                check_pickle(archive.read(entry))


def _check_old(path: str) -> None:
    """Of the format before PyTorch 1.6: five pickles, one of them the content, and then the storages."""
    with open_regular(path) as stream:
        for _ in range(5):
            check_pickle(stream)


def _state_dict_in(content: Any) -> dict[Any, torch.Tensor] | None:
    """A state dict as it is, or that of a checkpoint, which holds the epoch and more beside it."""
    inside = [content.get(key) for key in _IN_CHECKPOINTS] if isinstance(content, dict) else []
    for found in (content, *inside):
        if isinstance(found, dict) and all(isinstance(item, torch.Tensor) for item in found.values()):
            wrapped = found and all(str(key).startswith(_PARALLEL) for key in found)
            return {str(key)[len(_PARALLEL) :]: item for key, item in found.items()} if wrapped else found
    return None


def _check_sizes(path: str, tensors: dict[Any, torch.Tensor]) -> None:
    """WeightsError for tensors that are larger than what is stored of them, by strides or by sharing."""
    stored: dict[int, int] = {}
    for key, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized:
            raise WeightsError(f"{path}: {quoted(str(key))} is a {tensor.layout} tensor, which is not read")
        if tensor.is_meta or tensor.is_conj() or tensor.is_neg():
            raise WeightsError(
                f"{path}: {quoted(str(key))} has no values of its own; save contiguous tensors"
            )
        storage = tensor.untyped_storage()
        stored[storage.data_ptr()] = storage.nbytes()
        if tensor.numel() * tensor.element_size() > storage.nbytes():
            raise WeightsError(
                f"{path}: {quoted(str(key))} has the shape {tuple(tensor.shape)}, but {storage.nbytes()} "
                "bytes are stored of it: save contiguous tensors"
            )
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    most = max(_ALWAYS_ALLOWED, 2 * sum(stored.values()))  # layers may share their weights
    if claimed > most:
        raise WeightsError(f"{path}: its tensors claim {claimed} bytes, at most {most} are read of this file")


def _why_not(error: Exception) -> str:
    """Without PyTorch's advice to load the file all the same, which would run what is in it."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
    held = re.search(r"GLOBAL ([\w.]+)", text)
    if held:
        return (
            f"a PyTorch file that holds an object of {held.group(1)}, not tensors alone, so that reading it "
            "would run code: where it comes from, save the model's state_dict() alone"
        )
    reason = (text.splitlines() or [type(error).__name__])[0]
    return f"a PyTorch file that is damaged, or not safe to read: {reason}"


def _array(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()

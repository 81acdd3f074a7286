"""Reading PyTorch's state dicts without running anything that is in them."""

from __future__ import annotations

import os
import zipfile

import numpy as np
import torch

from caffe_gp.errors import WeightsError


def read_state_dict(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays of a ``.pth`` by key; floating point ones as float32.

    Those of today's format lie in the (memory-mapped) file until they are used; of the format before PyTorch
    1.6 everything is read. Nothing but tensors and plain containers is unpickled (``weights_only``). Raises
    WeightsError for a file that holds more than that, or something else than a state dict, or is damaged.
    """
    path = os.fspath(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # a damaged file can make the unpickler fail in any way
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"{path}: a PyTorch file that is damaged, or not safe to read: {reason}") from None
    if not isinstance(content, dict) or not all(isinstance(item, torch.Tensor) for item in content.values()):
        keys = f" with {', '.join(map(str, list(content)[:8]))}" if isinstance(content, dict) else ""
        raise WeightsError(
            f"{path}: expected a state dict; found {type(content).__name__}{keys}. "
            "Save the model's state_dict() alone"
        )
    return {str(key): _array(value) for key, value in content.items()}


def _array(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()

"""Values on a device as an array that numpy's functions take, so that a formula is written once for both.

    y = DeviceArray(tensor)
    np.maximum(y[:, 0], y[:, 1])            # computed where the tensor is; another DeviceArray
    np.asarray(y)                           # a copy on the host

numpy hands a call with one of these to it. Values are those that numpy computes, bit for bit: what is here
works element by element, and sums over an axis are taken in numpy's order, one addition after the other.
Functions that are not listed raise TypeError: nothing is copied to the host unseen.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.lib.mixins import NDArrayOperatorsMixin

from caffe_gp.caffe import mode
from caffe_gp.errors import OutOfMemoryError

Method = TypeVar("Method", bound=Callable[..., Any])

_KINDS = {
    np.dtype(name): getattr(torch, name) for name in ("float32", "int8", "uint8", "int32", "int64", "bool")
}
_DTYPES = {kind: dtype for dtype, kind in _KINDS.items()}
_UFUNCS: dict[Any, Callable[..., torch.Tensor]] = {
    np.add: torch.add,
    np.subtract: torch.subtract,
    np.multiply: torch.multiply,
    np.true_divide: torch.true_divide,
    np.maximum: torch.maximum,
    np.greater: torch.greater,
    np.greater_equal: torch.greater_equal,
    np.equal: torch.eq,
    np.sign: torch.sign,
    np.isnan: torch.isnan,
    np.isfinite: torch.isfinite,
}
_on_cpu_too = False  # for tests, on machines without a GPU


def is_wanted() -> bool:
    """Whether values are handed out as DeviceArrays: where layers compute on another device than the host."""
    return mode.device().type != "cpu" or _on_cpu_too


def as_tensor(values: Any) -> torch.Tensor:
    """A DeviceArray's tensor, or numpy's values as a float32 one on the host."""
    if isinstance(values, DeviceArray):
        return values.tensor
    return torch.from_numpy(np.require(values, np.float32, ["C", "W"]))


def wait() -> None:
    """Until everything that was asked of the device is done: what is timed is then the work itself."""
    if mode.device().type == "cuda":
        torch.cuda.synchronize(mode.device())


def fitting(method: Method) -> Method:
    """The method; OutOfMemoryError where the device has none left for what it makes."""

    @wraps(method)
    def fitted(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except torch.cuda.OutOfMemoryError as error:
            raise OutOfMemoryError(
                f"the device is out of memory: try smaller images or a smaller batch ({error})"
            ) from error

    return cast(Method, fitted)


class DeviceArray(NDArrayOperatorsMixin):
    """The values of a tensor; methods and attributes are ndarray's."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """Dimensions, outermost first."""
        return tuple(self.tensor.shape)

    @property
    def ndim(self) -> int:
        """How many."""
        return self.tensor.dim()

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.tensor.numel()

    @property
    def dtype(self) -> np.dtype:
        """numpy's."""
        return _DTYPES[self.tensor.dtype]

    def __len__(self) -> int:
        return len(self.tensor)

    def __getitem__(self, key: Any) -> DeviceArray:
        return DeviceArray(self.tensor[key])

    @fitting
    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.tensor.cpu().contiguous().numpy()
        return array.astype(array.dtype if dtype is None else dtype, copy=bool(copy))

    def __repr__(self) -> str:
        return f"<DeviceArray {self.dtype} {self.shape} on {self.tensor.device}>"

    # ---- what numpy's functions do with it

    @fitting
    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **options: Any) -> Any:
        known = method == "__call__" and ufunc in _UFUNCS and not options
        if not known or (out is not None and not isinstance(out[0], DeviceArray)):
            return NotImplemented
        values = [self._beside(one) for one in inputs]
        if out is None:
            return DeviceArray(_UFUNCS[ufunc](*values))
        _UFUNCS[ufunc](*values, out=out[0].tensor)
        return out[0]

    @fitting
    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        known = _FUNCTIONS.get(function)
        return NotImplemented if known is None else known(*args, **kwargs)

    @fitting
    def beside(self, values: np.ndarray) -> DeviceArray:
        """An array of the host, where this one is."""
        if values.dtype.kind == "u" and values.dtype.itemsize > 1:  # of which torch knows little
            values = values.astype(np.int64)
        writable = np.require(values, requirements=["C", "W"])
        return DeviceArray(torch.from_numpy(writable).to(self.tensor.device))

    def _beside(self, one: Any) -> Any:
        if isinstance(one, DeviceArray):
            return one.tensor
        if isinstance(one, np.ndarray) and one.ndim:
            return self.beside(one).tensor
        return one.item() if hasattr(one, "item") else one  # numbers take the array's kind, as in numpy

    # ---- ndarray's methods

    @fitting
    def astype(self, dtype: Any) -> DeviceArray:
        """A copy of another kind."""
        return DeviceArray(self.tensor.to(_KINDS[np.dtype(dtype)], copy=True))

    @fitting
    def reshape(self, *shape: int) -> DeviceArray:
        """Of another shape; -1 stands for what is left."""
        return DeviceArray(self.tensor.reshape(shape))

    @fitting
    def copy(self) -> DeviceArray:
        """With memory of its own."""
        return DeviceArray(self.tensor.clone(memory_format=torch.contiguous_format))

    @fitting
    def any(self) -> bool:
        """Whether one is not zero."""
        return bool(self.tensor.any())

    @fitting
    def all(self) -> bool:
        """Whether none is zero."""
        return bool(self.tensor.all())

    @fitting
    def sum(self, axis: int, keepdims: bool = False) -> DeviceArray:
        """Along an axis that is not the innermost."""
        first, *others = self.tensor.unbind(axis)
        total = first.clone()
        for one in others:
            total += one
        return DeviceArray(total.unsqueeze(axis) if keepdims else total)

    @fitting
    def max(self, axis: int) -> DeviceArray:
        """Along an axis; NaN where there is one."""
        return DeviceArray(self.tensor.amax(axis))

    @fitting
    def argmax(self, axis: int) -> DeviceArray:
        """Along an axis, of equal ones the first."""
        return DeviceArray(self.tensor.argmax(axis))


def _where(condition: DeviceArray, x: Any, y: Any) -> DeviceArray:
    taken: list[Any] = [getattr(one, "tensor", one) for one in (x, y)]
    return DeviceArray(torch.where(condition.tensor, taken[0], taken[1]))


def _copyto(to: DeviceArray, number: float, casting: str, where: DeviceArray) -> None:
    to.tensor.masked_fill_(where.tensor, number)


def _zeros_like(like: DeviceArray, dtype: Any) -> DeviceArray:
    return DeviceArray(torch.zeros_like(like.tensor, dtype=_KINDS[np.dtype(dtype)]))


def _full_like(like: DeviceArray, number: float) -> DeviceArray:
    return DeviceArray(torch.full_like(like.tensor, number))


_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.where: _where,
    np.copyto: _copyto,
    np.zeros_like: _zeros_like,
    np.full_like: _full_like,
}

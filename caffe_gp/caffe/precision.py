"""What Convolution, Deconvolution and InnerProduct compute in: float32, TF32 or bfloat16.

Blobs are float32 in any case, and so is everything that other layers compute. TF32 (10 bits of mantissa) is a
CUDA device's own way to multiply float32. In bfloat16 (7 bits) what is multiplied, and the result, are
rounded, and sums are float32: on a CUDA device by its tensor cores, on a CPU by rounding around the plain
float32 path, so that the effect can be measured anywhere.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar, cast

import torch

Method = TypeVar("Method", bound=Callable[..., Any])


class _Thread(threading.local):
    precision: str | None = None


class _Tf32:
    """PyTorch's switch, which is one a process: on while every pass that has a wish wants it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wishes: list[bool] = []
        self._before = self._now = False, False  # of matrix products, and of cuDNN

    def enter(self, wish: bool) -> None:
        with self._lock:
            if not self._wishes:
                self._before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
                self._now = self._before
            self._wishes.append(wish)
            self._set((all(self._wishes),) * 2)

    def leave(self, wish: bool) -> None:
        with self._lock:
            self._wishes.remove(wish)
            self._set((all(self._wishes),) * 2 if self._wishes else self._before)

    def _set(self, flags: tuple[bool, bool]) -> None:
        if flags != self._now:  # which takes some microseconds, as much as a small layer
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = flags
            self._now = flags


_thread, _tf32 = _Thread(), _Tf32()


@contextmanager
def computing_in(precision: str | None) -> Iterator[None]:
    """Within it this thread's layers compute in one of ``PRECISIONS``; None leaves everything as it is.

    TF32 is a switch of the whole process: where passes in several threads differ, all go without it.
    """
    if precision is None:
        yield
        return
    before, _thread.precision = _thread.precision, precision
    _tf32.enter(precision == "tf32")
    try:
        yield
    finally:
        _thread.precision = before
        _tf32.leave(precision == "tf32")


def in_own_precision(method: Method) -> Method:
    """The method, computing in its object's ``precision``."""

    @wraps(method)
    def inside(self: Any, *args: Any, **kwargs: Any) -> Any:
        with computing_in(self.precision):
            return method(self, *args, **kwargs)

    return cast(Method, inside)


def is_bf16() -> bool:
    """Whether layers compute in bfloat16 now."""
    return _thread.precision == "bf16"


def is_lower() -> bool:
    """Whether a net was told to compute in less than float32: a CUDA device then wants its channels last."""
    return _thread.precision in ("tf32", "bf16")


def taken(*factors: torch.Tensor | None) -> list[Any]:
    """What is to be multiplied, as it is multiplied: in bfloat16 rounded, elsewhere as it is. None stays."""
    return [_rounded(one) if is_bf16() and one is not None else one for one in factors]


def given(result: torch.Tensor) -> torch.Tensor:
    """The result of what was ``taken``, as float32."""
    return result.to(torch.bfloat16).to(torch.float32) if is_bf16() else result


def _rounded(values: torch.Tensor) -> torch.Tensor:
    rounded = values.to(torch.bfloat16)
    return rounded if values.is_cuda else rounded.to(torch.float32)

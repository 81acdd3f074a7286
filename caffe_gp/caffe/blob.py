"""Blob: an N-dimensional float32 array with its gradient, as pycaffe shows it and as the layers use it."""

from __future__ import annotations

import itertools
import math
import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np
import torch

from caffe_gp.caffe import device_array, memory, mode
from caffe_gp.caffe.device_array import DeviceArray, fitting
from caffe_gp.caffe.fast.kept import MOST_COMPARED, Kept, State
from caffe_gp.caffe.fast.windows import Window
from caffe_gp.errors import NetError
from caffe_gp.proto.file_values import FileValues
from caffe_gp.proto.weights import WeightBlob

MAX_COUNT = 2**31 - 1  # Caffe counts elements in an int
MAX_AXES = 32
T = TypeVar("T")
_SERIALS = itertools.count()
_moving = threading.RLock()  # held while values are let go, or come
_RELEASED = (
    "these values were not kept: the last backward pass was asked for other blobs' diffs only (a guided "
    "perturbation asks for its own blob's); run net.backward() for all of them, or zero_diff() to write them"
)


def _references_to_one() -> int:
    """To an object that a local variable holds, and nothing else: 2, or 1 with Python 3.14."""
    lone = object()
    return sys.getrefcount(lone)


def _unlock() -> None:
    """In a child, where the thread that held the lock is not."""
    global _moving
    _moving = threading.RLock()


_ALONE = _references_to_one()
os.register_at_fork(after_in_child=_unlock)


class SyncedMemory:
    """``size`` float32 values that live on the host, on a GPU, or on both with one side up to date.

    Like Caffe's class of this name: asking for a side brings it up to date and makes it the head, since
    whoever asked may write. Values start as zeros. Whoever asks for a shape gets the first values, as many
    as it needs. A layer may also *replace* these by a tensor that a torch kernel made, which saves a copy;
    once a numpy view was handed out, replacing copies into that view instead, so that views which a script
    keeps stay alive across passes, as in pycaffe. Values that came from a file may be *let go* while they are
    what the file holds; asking for them reads them again, and then they stay.
    """

    __slots__ = (
        "size",
        "_host",
        "_gpu",
        "_gpu_is_head",
        "_viewed",
        "_rest",
        "_shown",
        "_serial",
        "_changes",
        "_change",
        "_kept",
        "_source",
        "_filled",
        "_away",
        "released",
    )

    def __init__(self, size: int) -> None:
        self.size = size
        self._serial, self._changes = next(_SERIALS), 0
        self._change: tuple[State | None, Window, State | None] | None = None
        self._kept: dict[Callable[[torch.Tensor], Any], Kept[Any]] = {}
        self.released = False  # the values are gone, and nobody may read them before they are written anew
        self._host: torch.Tensor | None = None
        self._gpu: torch.Tensor | None = None
        self._gpu_is_head = False
        self._viewed = False
        self._rest: torch.Tensor | None = None  # the values behind those of the head; None: zeros, or none
        self._shown: tuple[torch.Tensor, torch.Tensor] | None = None  # the host side, and its last front
        self._source: FileValues | None = None  # where the values can be read again
        self._filled: State | None = None  # the state in which they were read
        self._away: State | None = None  # the state in which they were let go

    @property
    def allocated(self) -> bool:
        """False while nobody has read or written the values (they are zeros)."""
        return self._host is not None or self._gpu is not None or self._away is not None

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        """For a copy and a pickle: what is computed from the values can be computed again."""
        made_anew = "_kept", "_shown", "_source"
        with _moving:
            if self._away is not None:
                self._host_side()
            return None, {name: getattr(self, name) for name in self.__slots__ if name not in made_anew}

    def __setstate__(self, state: tuple[None, dict[str, Any]]) -> None:
        """It is another memory."""
        for name, value in state[1].items():
            setattr(self, name, value)
        self._serial, self._kept, self._shown, self._source = next(_SERIALS), {}, None, None

    def kept(self, compute: Callable[[torch.Tensor], T]) -> Kept[T]:
        """What ``compute`` makes of the values."""
        return self._kept.setdefault(compute, Kept(compute))

    @property
    def can_keep(self) -> bool:
        """Whether what is computed from the values can be kept: changes are counted, or can be compared."""
        host = self._host
        inference = host is not None and host.is_inference()
        return self.size <= MOST_COMPARED or not (self._viewed or inference)

    @property
    def state(self) -> State | None:
        """Equal to what it was for as long as the values surely are what they were.

        None where they may change unseen: on a GPU, or by a numpy view that was handed out. Of what torch
        writes its tensors keep count.
        """
        host, away = self._host, self._away  # another net's thread may let them go
        if away is not None:
            return away
        if self._viewed or self._gpu_is_head or host is None or host.is_inference():
            return None
        return self._serial, self._changes, host._version

    def fill(self, shape: tuple[int, ...], source: WeightBlob) -> None:
        """Read all values from a file of weights."""
        self._away = None
        source.copy_to(self.numpy(shape, kept=False))
        self._source = source.again() if source.count == self.size else None
        self._filled = self.state

    def let_go(self) -> None:
        """Let the values go, if their file has them and nobody else holds them."""
        if self._source is None:
            return
        with _moving:
            source, host, filled = self._source, self._host, self._filled
            if source is None or host is None or filled is None or self.state != filled or not source.hold():
                return
            self._shown, self._away, self._host = None, filled, None
            if sys.getrefcount(host) > _ALONE or host._version != filled[2]:
                self._host, self._away = host, None
                source.release()

    def _read_again(self) -> torch.Tensor:
        """The values that were let go. They stay: who asks once may ask in every pass."""
        assert self._source is not None and self._away is not None
        with torch.inference_mode(False):
            host = memory.zeros(self.size)
        self._source.read(host.numpy())
        before = self._away
        self._changes += 1
        self._host, self._away, self._source = host, None, None
        for kept in list(self._kept.values()):
            kept.stays(before, self.state)
        return host

    def own(self, shape: tuple[int, ...], *apart_from: torch.Tensor) -> torch.Tensor:
        """A channels-last tensor on the host to be written all over, then handed to ``replace``.

        It is this memory where that ``is_own``, and not another tensor's, as in a layer in place.
        """
        others = {other.data_ptr() for other in apart_from}
        if self._host is None or not self.is_own(shape) or self._host.data_ptr() in others:
            return torch.empty(shape, memory_format=torch.channels_last)
        self._changes += 1
        return self._host

    def is_own(self, shape: tuple[int, ...]) -> bool:
        """Whether this is a channels-last tensor on the host of which nobody has a view."""
        if self._host is None or self._viewed or self._gpu_is_head:
            return False
        return self._host.shape == shape and is_channels_last(self._host)

    def note_change(self, before: State | None, window: Window) -> None:
        """Since it was in a state before, only this part has changed, to what it is now."""
        self._change = before, window, self.state

    def change_since(self, before: State) -> Window | None:
        """The part that has changed since a state before; None if that is not known."""
        if self._change is None or self._change[0] != before or self._change[2] != self.state:
            return None
        return self._change[1]

    def numpy(self, shape: tuple[int, ...], *, kept: bool = True) -> np.ndarray:
        """A C-contiguous view of the host side; ``kept`` if the caller may hold on to it."""
        if self.released:
            raise NetError(_RELEASED)
        count, host = math.prod(shape), self._host_side()
        if (self.size if kept else count) > host.numel():
            host = self._whole(host)  # what is kept shows this memory whatever shapes it is used with
        host = host.contiguous()
        front = _front(host, shape)
        # In the shape that is asked for, if that holds it all: who asks next needs no view of their own.
        self._take(front if count == host.numel() else host)
        self._changes += 1
        self._viewed = self._viewed or kept
        if not self.can_keep:
            self._kept.clear()
        return front.numpy()

    def tensor(self, shape: tuple[int, ...]) -> torch.Tensor:
        """The values on ``mode.device()``; writing into the result writes the memory."""
        if self.released:
            raise NetError(_RELEASED)
        device = mode.device()
        side = self._host_side() if device.type == "cpu" else self._gpu_side(device)
        if side.shape == shape:
            return side
        shown = self._shown
        if shown is not None and shown[0] is side and shown[1].shape == shape:
            return shown[1]
        count = math.prod(shape)
        side = self._whole(side) if count > side.numel() else side.contiguous()
        result = _front(side, shape)
        if count == side.numel():
            side = result
        if device.type == "cpu":
            self._take(side)
            self._shown = side, result
        else:
            self._gpu = side
        return result

    def _take(self, host: torch.Tensor) -> None:
        """Go on with another tensor; one that is not a view of the last has a count of its own."""
        if self._host is None or self._host.data_ptr() != host.data_ptr():
            self._changes += 1
        if self._host is not host:
            self._host, self._shown = host, None

    def replace(self, values: torch.Tensor) -> None:
        """Take over ``values``, a dense tensor on ``mode.device()`` that belongs to nobody else."""
        if self._away is not None and values.numel() < self.size:
            self._host_side()
        self.released, self._away = False, None
        self._changes += 1
        if not (values.is_contiguous() or is_channels_last(values)):
            values = values.contiguous()
        on_cpu = values.device.type == "cpu"
        if on_cpu and self._viewed and self._host is not None:
            if self._host.data_ptr() != values.data_ptr():
                if self._gpu_is_head and values.numel() < self.size:
                    self._host_side()
                _front(self._host, tuple(values.shape)).copy_(values)
            self._gpu_is_head = False
            return
        self._keep_rest(values.numel())
        if on_cpu:
            self._host, self._gpu_is_head = values, False
            self._gpu = self._shown = None
        else:
            self._gpu, self._gpu_is_head = values, True

    def release(self) -> None:
        """Let the memory go, unless somebody has a view of it."""
        if not self._viewed:
            self._host = self._gpu = self._rest = self._shown = self._away = None
            self._gpu_is_head, self.released = False, True
            self._changes += 1

    def zero(self) -> None:
        """Make all values zeros, where they are, so that sharers and views see it."""
        self.released, self._away = False, None
        self._changes += 1
        for side in (self._host, self._gpu):
            if side is not None:
                side.zero_()
        self._rest = None

    def _keep_rest(self, count: int) -> None:
        """Keep what lies behind the first ``count`` values, which are about to be replaced."""
        head = self._gpu if self._gpu_is_head else self._host
        if head is None or head.numel() == count:
            return
        self._rest = self._whole(head)[count:].clone() if count < self.size else None

    def _whole(self, head: torch.Tensor) -> torch.Tensor:
        """All ``size`` values, the first of them from ``head``."""
        if head.numel() == self.size:
            return head.contiguous().view(-1)
        missing = self.size - head.numel()
        rest = head.new_zeros(missing) if self._rest is None else self._rest.to(head.device)
        self._rest = None
        return torch.cat([head.contiguous().view(-1), rest])

    def _host_side(self) -> torch.Tensor:
        if self._gpu_is_head:
            assert self._gpu is not None
            if self._viewed and self._host is not None:
                self._host.view(-1).copy_(self._whole(self._gpu))
            else:
                self._host, self._shown = self._gpu.cpu(), None
            self._changes += 1
            self._gpu_is_head = False
        host = self._host
        if host is None:
            with _moving:
                host = self._host
                if host is None:
                    host = self._host = memory.zeros(self.size) if self._away is None else self._read_again()
        return host

    def _gpu_side(self, device: torch.device) -> torch.Tensor:
        if self._gpu_is_head:
            assert self._gpu is not None
            if self._gpu.device != device:
                self._gpu = self._gpu.to(device)
        elif self._host is not None or self._away is not None:
            self._gpu = self._host_side().to(device)
        else:
            self._gpu = torch.zeros(self.size, device=device)
        self._gpu_is_head = True
        return self._gpu


def _front(values: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """The first of the contiguous ``values``, as many as ``shape`` needs, as a view of that shape."""
    if values.shape == shape:
        return values
    count = math.prod(shape)
    return (values if count == values.numel() else values.view(-1)[:count]).view(shape)


def is_channels_last(values: torch.Tensor) -> bool:
    """Whether they are (N, C, H, W) in that layout."""
    return values.dim() == 4 and values.is_contiguous(memory_format=torch.channels_last)


class Blob:
    """Data and diff of one shape.

    ``data``/``diff`` are numpy views (pycaffe's side); ``data_tensor``/``diff_tensor`` are the same
    memory as torch tensors on the current device (the layers' side). Assigning to a ``*_tensor`` hands
    the tensor over to the blob. The diff is allocated when first needed.
    """

    def __init__(self, shape: Iterable[int] = (0,)) -> None:
        self._shape: tuple[int, ...] = ()
        self._count = self._capacity = 1
        self._data = SyncedMemory(1)
        self._diff = SyncedMemory(1)
        self.reshape(*shape)

    # ---- shape

    @property
    def shape(self) -> tuple[int, ...]:
        """Dimensions, outermost first; N, C, H, W for images."""
        return self._shape

    @property
    def count(self) -> int:
        """Number of elements."""
        return self._count

    def reshape(self, *shape: Any) -> None:
        """Change the dimensions; a blob that outgrows every size it had starts as zeros, data and diff.

        Otherwise the memory is kept, as in Caffe: a smaller shape shows the first values, and growing back
        shows the others again.
        Only this blob changes: the layers around it follow at the next forward, or at ``Net.reshape``.
        """
        dims = tuple(int(n) for n in (shape[0] if len(shape) == 1 and not _is_int(shape[0]) else shape))
        if dims == self._shape:
            return
        if len(dims) > MAX_AXES or any(n < 0 for n in dims):
            raise NetError(f"blob shape {dims}: expected at most {MAX_AXES} axes, none negative")
        if any(n > MAX_COUNT for n in dims):  # beside a 0, which makes the product none
            raise NetError(f"blob shape {dims}: a dimension exceeds Caffe's limit of {MAX_COUNT}")
        count = math.prod(dims)
        if count > MAX_COUNT:
            raise NetError(f"blob shape {dims}: {count} elements exceed Caffe's limit of {MAX_COUNT}")
        self._shape, self._count = dims, count
        grows = count > self._capacity
        self._capacity = max(count, self._capacity)
        if grows or count > self._data.size:  # the latter: memory shared with a smaller blob
            self._data = SyncedMemory(count)
        if grows or count > self._diff.size:
            self._diff = SyncedMemory(count)

    def reshape_like(self, other: Blob) -> None:
        """Take the shape of ``other``."""
        self.reshape(*other._shape)

    def count_from(self, start: int, end: int | None = None) -> int:
        """Product of the dimensions ``start`` up to, not including, ``end`` (Caffe's ``count(a, b)``)."""
        return math.prod(self._shape[start:end])

    def canonical_axis(self, axis: int) -> int:
        """Axis index with negative values counted from the end; NetError when out of range."""
        rank = len(self._shape)
        if not -rank <= axis < rank:
            raise NetError(f"axis {axis} out of range for a {rank}-D blob of shape {self._shape}")
        return axis % rank

    @property
    def num(self) -> int:
        """Legacy accessor: dimension 0 of at most 4, 1 where absent."""
        return self._legacy(0)

    @property
    def channels(self) -> int:
        """Legacy accessor: dimension 1 of at most 4, 1 where absent."""
        return self._legacy(1)

    @property
    def height(self) -> int:
        """Legacy accessor: dimension 2 of at most 4, 1 where absent."""
        return self._legacy(2)

    @property
    def width(self) -> int:
        """Legacy accessor: dimension 3 of at most 4, 1 where absent."""
        return self._legacy(3)

    def _legacy(self, axis: int) -> int:
        if len(self._shape) > 4:
            raise NetError(f"num/channels/height/width need at most 4 axes, the shape is {self._shape}")
        return self._shape[axis] if axis < len(self._shape) else 1

    # ---- values

    @property
    def data(self) -> np.ndarray:
        """float32 numpy view of the data."""
        return self._data.numpy(self._shape)

    def write_data(self, write: Callable[[np.ndarray], object]) -> None:
        """Let ``write`` fill the host side of the data; it must not keep the array."""
        write(self._data.numpy(self._shape, kept=False))

    def read_data(self) -> np.ndarray:
        """The data as an array that the caller reads at once, does not change and does not keep."""
        return self.data_tensor.cpu().numpy()

    def read_diff(self) -> np.ndarray:
        """The same for the diff."""
        return self.diff_tensor.cpu().numpy()

    @fitting
    def data_on_device(self) -> DeviceArray | None:
        """The data where layers compute, to be read at once; None on the host."""
        return DeviceArray(self.data_tensor) if device_array.is_wanted() else None

    @fitting
    def diff_on_device(self) -> DeviceArray | None:
        """The same for the diff."""
        return DeviceArray(self.diff_tensor) if device_array.is_wanted() else None

    @fitting
    def copy_data(self, values: np.ndarray | DeviceArray) -> None:
        """Set the data, without a view of them that would make them count as changed from then on."""
        self.data_tensor.copy_(device_array.as_tensor(values))

    @fitting
    def copy_diff(self, values: np.ndarray | DeviceArray) -> None:
        """The same for the diff."""
        self.diff_tensor.copy_(device_array.as_tensor(values))

    @property
    def data_state(self) -> State | None:
        """See ``SyncedMemory.state``."""
        return self._data.state

    def own_data(self, *apart_from: torch.Tensor) -> torch.Tensor:
        """A channels-last tensor on the host to write all data into; then assign it to ``data_tensor``.

        apart_from   what is read meanwhile: other tensors than the one returned
        """
        return self._data.own(self._shape, *apart_from)

    @property
    def can_keep(self) -> bool:
        """Whether ``kept`` computes anew only after a change; see ``SyncedMemory.can_keep``."""
        return self._data.can_keep

    def has_own_data(self) -> bool:
        """Whether ``own_data`` is the blob's memory itself, with the values that it has."""
        return self._data.is_own(self._shape)

    def note_change(self, before: State | None, window: Window) -> None:
        """See ``SyncedMemory.note_change``, of the data."""
        self._data.note_change(before, window)

    def change_since(self, before: State) -> Window | None:
        """See ``SyncedMemory.change_since``, of the data."""
        return self._data.change_since(before)

    def own_diff(self, *apart_from: torch.Tensor) -> torch.Tensor:
        """The same for the diff."""
        return self._diff.own(self._shape, *apart_from)

    def fill_from(self, source: WeightBlob) -> None:
        """Read the data from a file of weights. Its errors: WeightsError."""
        self._data.fill(self._shape, source)

    def let_data_go(self) -> None:
        """Let the data go where they can be read from their file when somebody asks for them."""
        self._data.let_go()

    def kept(self, compute: Callable[[torch.Tensor], T]) -> tuple[T, int]:
        """``compute`` of the data, anew where they have changed; and a number that is another when they have.

        It is kept with the memory: blobs that share their data share it.
        """
        return self._data.kept(compute).of(self._data, self._shape)

    @property
    def diff(self) -> np.ndarray:
        """float32 numpy view of the diff."""
        return self._diff.numpy(self._shape)

    @property
    def data_tensor(self) -> torch.Tensor:
        """The data on ``mode.device()``. Who keeps it should keep the tensor itself, not parts of it."""
        return self._data.tensor(self._shape)

    @data_tensor.setter
    def data_tensor(self, values: torch.Tensor) -> None:
        self._data.replace(self._checked(values, "data"))

    @property
    def diff_tensor(self) -> torch.Tensor:
        """The diff on ``mode.device()``; zeros if nothing was written yet."""
        return self._diff.tensor(self._shape)

    @diff_tensor.setter
    def diff_tensor(self, values: torch.Tensor) -> None:
        self._diff.replace(self._checked(values, "diff"))

    @property
    def has_diff(self) -> bool:
        """Whether the diff was ever read or written; if not it is all zeros and takes no memory."""
        return self._diff.allocated

    def _checked(self, values: torch.Tensor, side: str) -> torch.Tensor:
        if values.shape != self._shape:
            raise NetError(f"{side} of shape {tuple(values.shape)} given to a blob of shape {self._shape}")
        return values

    # ---- sharing

    def share_data(self, other: Blob) -> None:
        """Use the data memory of ``other`` (equal count); in-place edits of one show in the other."""
        self._check_count(other)
        self._data = other._data

    def share_diff(self, other: Blob) -> None:
        """Use the diff memory of ``other`` (equal count)."""
        self._check_count(other)
        self._diff = other._diff

    def zero_diff(self) -> None:
        """Set the diff to zeros (in place, so that sharers and views see it)."""
        self._diff.zero()

    def release_diff(self) -> None:
        """Let the diff's memory go: whoever reads it before it is written raises NetError."""
        self._diff.release()

    def shares_diff(self, other: Blob) -> bool:
        """Whether the two use one memory for their diffs."""
        return self._diff is other._diff

    def _check_count(self, other: Blob) -> None:
        if other.count != self.count:
            raise NetError(f"cannot share memory between blobs of shapes {self._shape} and {other._shape}")

    def __repr__(self) -> str:
        return f"<Blob {' '.join(map(str, self._shape))} ({self.count})>"


def _is_int(value: object) -> bool:
    return isinstance(value, (int, np.integer))


class BlobVec(list):
    """A list of blobs, as ``layer.blobs`` and ``net.params[name]``."""

    def add_blob(self, *shape: int) -> Blob:
        """Append a blob of this shape (Python layers declare their parameters so)."""
        blob = Blob(shape)
        self.append(blob)
        return blob

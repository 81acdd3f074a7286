"""What guided perturbations use of pycaffe: BVLC Caffe's nets have it, and the embedded Caffe's."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, Callable, ContextManager, Mapping, NamedTuple, Protocol, Sequence, Union

import numpy as np


class Blob(Protocol):
    """Values and their gradient, of one shape."""

    @property
    def shape(self) -> Sequence[int]:
        """Dimensions, outermost first; BVLC Caffe has a type of its own for them."""

    @property
    def data(self) -> np.ndarray:
        """float32 view of the values; writing into it writes the blob."""

    @property
    def diff(self) -> np.ndarray:
        """float32 view of the gradient, likewise."""

    def reshape(self, *shape: int) -> None:
        """Change the shape; the layers around follow at the next forward."""


class Layer(Protocol):
    """One step of a net."""

    @property
    def type(self) -> str:
        """'Convolution', 'Split', ..."""


class LayerView(NamedTuple):
    """One layer of a net, or of its description: its type and the names of the blobs it reads and makes.

    gives_diffs_to   how many of its bottoms get a diff, of those of a built net whose layer says so
    """

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    gives_diffs_to: int | None = None


class Net(Protocol):
    """A ``caffe.Net``.

    The names with an underscore are pycaffe's own: its public ``top_names`` and ``layer_dict`` lose layers
    that share a name, and are missing from older versions.
    """

    @property
    def inputs(self) -> Sequence[str]:
        """Names of the blobs that Input layers make."""

    @property
    def outputs(self) -> Sequence[str]:
        """Names of the blobs that no layer reads."""

    @property
    def blobs(self) -> Mapping[str, Blob]:
        """All blobs by name."""

    @property
    def params(self) -> Mapping[str, Sequence[Blob]]:
        """The parameters of the layers that have any."""

    @property
    def layers(self) -> Sequence[Layer]:
        """The layers in the order they run, automatic Split layers included."""

    @property
    def _layer_names(self) -> Sequence[str]:
        """Their names."""

    @property
    def _blob_names(self) -> Sequence[str]:
        """Names of the blobs, in the order that the next two count by."""

    def _bottom_ids(self, layer: int) -> Sequence[int]:
        """The blobs that a layer reads."""

    def _top_ids(self, layer: int) -> Sequence[int]:
        """The blobs that a layer makes."""

    def forward(
        self, blobs: Sequence[str] | None = None, start: str | None = None, end: str | None = None
    ) -> Mapping[str, np.ndarray]:
        """Run the layers from ``start`` to ``end``, both included, by name."""

    def backward(
        self, diffs: Sequence[str] | None = None, start: str | None = None, end: str | None = None
    ) -> Mapping[str, np.ndarray]:
        """The same backward: ``start`` is the later layer."""

    def _forward(self, start: int, end: int) -> float:
        """``forward`` by index."""

    def _backward(self, start: int, end: int) -> None:
        """``backward`` by index."""


class LoadedNet(Protocol):
    """A net with the names of its blobs: what ``engine.load_net`` returns."""

    @property
    def net(self) -> Net:
        """The net."""

    @property
    def data(self) -> str:
        """Name of the image blob."""

    @property
    def score(self) -> str:
        """Name of the class-score blob."""


AnyNet = Union[Net, LoadedNet]

# What the embedded Caffe's nets and blobs can do besides.


def read_data(blob: Blob) -> np.ndarray:
    """A blob's values, to be read at once: the embedded Caffe takes a view for one that may be written to."""
    read: Callable[[], np.ndarray] = getattr(blob, "read_data", lambda: blob.data)
    return read()


def read_diff(blob: Blob) -> np.ndarray:
    """The same for the gradient."""
    read: Callable[[], np.ndarray] = getattr(blob, "read_diff", lambda: blob.diff)
    return read()


def data_on_device(blob: Blob) -> Any:
    """A blob's values where the net computes, to be read at once; None where that is the host.

    numpy's functions and operators take them, so a formula need not know which of the two it has.
    """
    read: Callable[[], Any] = getattr(blob, "data_on_device", lambda: None)
    return read()


def diff_on_device(blob: Blob) -> Any:
    """The same for the gradient."""
    read: Callable[[], Any] = getattr(blob, "diff_on_device", lambda: None)
    return read()


def write_data(blob: Blob, values: np.ndarray) -> None:
    """Set a blob's values."""
    copy = getattr(blob, "copy_data", None)
    if copy is not None:
        copy(values)
    else:
        blob.data[...] = values


def write_diff(blob: Blob, values: np.ndarray) -> None:
    """Set a blob's gradient."""
    copy = getattr(blob, "copy_diff", None)
    if copy is not None:
        copy(values)
    else:
        blob.diff[...] = values


def clear_diff(blob: Blob) -> None:
    """Set a blob's diff to zeros."""
    zero = getattr(blob, "zero_diff", None)
    if zero is not None:
        zero()
    else:
        blob.diff[...] = 0


def only_diffs(net: Net, name: str) -> ContextManager[None]:
    """Within it no other diffs are wanted than this blob's: the passes need not make or prepare them."""
    only: Callable[..., ContextManager[None]] = getattr(net, "only_diffs", lambda name: nullcontext())
    return only(name)

"""What guided perturbations use of pycaffe: BVLC Caffe's nets have it, and the embedded Caffe's."""

from __future__ import annotations

from typing import Mapping, NamedTuple, Protocol, Sequence, Union

import numpy as np


class Blob(Protocol):
    """Values and their gradient, of one shape."""

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
    """One layer of a net, or of its description: its type and the names of the blobs it reads and makes."""

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]


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

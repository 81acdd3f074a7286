"""Layer: the base class of the built-in layers and of users' ``type: "Python"`` layers (``caffe.Layer``)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch

from caffe_gp.caffe.blob import Blob, BlobVec
from caffe_gp.caffe.fast.windows import Window
from caffe_gp.errors import NetError

log = logging.getLogger(__name__)

TRAIN, TEST = 0, 1


def scaled(values: torch.Tensor, factor: float | torch.Tensor) -> torch.Tensor:
    """``factor * values`` as a new tensor, where a factor of 0 gives 0 even for NaN and infinities.

    So does the BLAS that BVLC Caffe scales with. Its CUDA kernels multiply by a tensor, and so is done here.
    """
    if isinstance(factor, (int, float)):
        return torch.zeros_like(values) if factor == 0 else values * factor
    return cleared(values * factor, factor)


def cleared(product: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """The product of something with ``factor``, changed in place on the CPU: 0 where the factor is."""
    if not product.is_cuda:
        zero = factor == 0
        if bool(zero.any()):
            product.masked_fill_(zero, 0)
    return product


class Layer:
    """One step of a net: reads bottom blobs, writes top blobs, and backward the other way.

    The net calls ``setup`` once, ``reshape`` before every forward, ``forward``, and ``backward`` for the
    bottoms whose ``propagate_down`` is set. ``backward`` overwrites bottom diffs and adds to the diffs of
    ``self.blobs``, the latter only where ``self.param_propagate_down`` says so (Caffe's rule).

    Bounds on the number of blobs are class attributes; None means unbound.
    """

    type: str = "Python"
    not_derivative = ""  # where ``backward`` is not the derivative, as in the fork; for docs/layers.md
    exact_num_bottom: int | None = None
    min_bottom: int | None = None
    max_bottom: int | None = None
    exact_num_top: int | None = None
    min_top: int | None = None
    max_top: int | None = None
    equal_num_bottom_top = False
    auto_top_blobs = False  # missing tops are made up, unnamed (loss layers)
    shares_memory = False  # whether its tops' data are its bottom's memory
    copies = 0  # of the first bottom, that a pass makes besides the blobs (measured)
    # Whether ``forward`` and ``backward`` heed ``window`` and ``diff_window``: see ``fast.changes``.
    computes_parts = False
    pads_widely = False  # whether some of its tops see no image, whatever the image is
    idempotent_in_place = False  # whether a forward in place changes nothing more if it is done again
    keeps_places = False  # whether each value of the top depends on that at its place of bottom 0 alone
    window: Window | None = None  # of the top: what a forward has to compute; None: everything
    diff_window: Window | None = None  # of the bottom: what a backward has to compute
    # Out of memory, where they are needed in another form only: see ``Net.only_diffs``.
    weights_may_go = False
    # Whether ``reshape`` follows from the shapes of bottoms and parameters alone, and does nothing else than
    # shape the tops: it is then left out where these are as it left them.
    reshapes_by_shape = False

    # The net's own LayerParameter; typed Any because message classes are built at import.
    layer_param: Any
    phase: int
    param_str: str
    param: Any  # of a user's layer: its own parameters
    # Of a type that a user registered: the field of its parameters, '' without any.
    own_field: str | None = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Layer:
        # In __new__, so that a user's Python layer may define its own __init__ or none at all.
        layer = super().__new__(cls)
        layer.blobs = BlobVec()
        layer.param_propagate_down = []
        layer.param_str, layer.param = "", None
        layer.checked_shapes = None
        return layer

    def __init__(self, layer_param: Any, phase: int) -> None:
        self.layer_param = layer_param
        self.phase = phase

    blobs: BlobVec
    param_propagate_down: list[bool]
    # Of bottoms, tops and parameters, when memory and in-place use were last found to do.
    checked_shapes: list[tuple[int, ...]] | None

    @property
    def name(self) -> str:
        """The layer's name in the prototxt."""
        return self.layer_param.name

    # ---- what a layer implements

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Check parameters and create ``self.blobs``; bottoms have their shapes already."""

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Give the tops their shapes."""
        raise self._missing("reshape")

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Compute the tops' data."""
        raise self._missing("forward")

    def forward_rectified(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        """``forward`` where a ReLU in place comes next; whether that is done, too."""
        self.forward(bottom, top)
        return False

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Compute the bottoms' diffs from the tops' diffs."""
        raise self._missing("backward")

    def allow_force_backward(self, bottom_index: int) -> bool:
        """Whether ``force_backward`` may ask for the diff of this bottom (not for labels)."""
        return True

    def default_loss_weight(self, top_index: int) -> float:
        """Loss weight of a top when the prototxt gives none: 1 for the first top of a loss layer."""
        return 0.0

    def workspace(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """Values that a pass takes besides the blobs; shapes are known."""
        in_place = sum(blob.count for blob in top if any(blob is one for one in bottom))
        return in_place + (self.copies * bottom[0].count if self.copies else 0)

    def kept(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """Values that stay from a forward for its backward, besides the blobs."""
        return 0

    # ---- what a layer implements that computes parts

    def reached(self, window: Window, top: Blob) -> Window | None:
        """The part of the top that depends on this part of the bottom."""
        raise self._missing("reached")

    def parameter_versions(self) -> tuple[int, ...]:
        """Of each of ``self.blobs`` a number that changes when its data do."""
        return ()

    # ---- shared helpers

    def _missing(self, method: str) -> NotImplementedError:
        return NotImplementedError(f"the class {type(self).__name__} has no method {method}")

    def error(self, message: str) -> NetError:
        """A NetError that names this layer."""
        return NetError(f"layer '{self.name}' ({self.type}): {message}")

    def warn_if_in_place(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """For layers whose backward reads the bottom data, which in-place use has overwritten."""
        if bottom[0] is top[0]:
            log.warning(
                "layer '%s' (%s) works in place: Caffe's gradient for it is wrong then and is reproduced; "
                "give the top another name if you need its gradient",
                self.name,
                self.type,
            )

    def check_blob_counts(self, num_bottom: int, num_top: int) -> None:
        """Raise NetError if the numbers of bottoms and tops do not suit the layer."""
        for found, side, exact, least, most in (
            (num_bottom, "bottom", self.exact_num_bottom, self.min_bottom, self.max_bottom),
            (num_top, "top", self.exact_num_top, self.min_top, self.max_top),
        ):
            if exact is not None and found != exact:
                raise self.error(f"takes {exact} {side} blob(s), found {found}")
            if least is not None and found < least:
                raise self.error(f"takes at least {least} {side} blob(s), found {found}")
            if most is not None and found > most:
                raise self.error(f"takes at most {most} {side} blob(s), found {found}")
        if self.equal_num_bottom_top and num_bottom != num_top:
            raise self.error(f"makes one top for each bottom, found {num_bottom} bottom(s), {num_top} top(s)")

"""Layers that make their own data: Input, DummyData and MemoryData."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Sequence

import numpy as np

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.filler import fill
from caffe_gp.caffe.layers.base import Layer
from caffe_gp.caffe.layers.registry import register
from caffe_gp.proto import messages as pb


class SourceLayer(Layer):
    """A layer without bottoms: nothing to reshape to, nothing to propagate."""

    exact_num_bottom = 0
    min_top = 1

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Tops got their shapes in ``setup``; scripts may have changed them since."""

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        pass  # there is nothing below


@register("Input")
class InputLayer(SourceLayer):
    """Tops that the caller fills; ``input_param.shape`` given once, once for each top, or not at all."""

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Shape the tops. NetError for a wrong number of shapes."""
        shapes = self.layer_param.input_param.shape
        if len(shapes) not in (0, 1, len(top)):
            raise self.error(
                f"input_param.shape must be given once, once for each of the {len(top)} top(s) "
                f"or not at all; found {len(shapes)}"
            )
        for i, blob in enumerate(top[: len(top) if shapes else 0]):
            blob.reshape(*shapes[i if len(shapes) > 1 else 0].dim)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        pass  # the data are already there


@register("DummyData")
class DummyDataLayer(SourceLayer):
    """Tops made by fillers: constant ones once, when the net is built; random ones anew in every forward."""

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Shape and fill the tops. NetError where a field is not given once or once for each top."""
        param = self.layer_param.dummy_data_param
        legacy = [getattr(param, field) for field in ("num", "channels", "height", "width")]
        if any(legacy) and param.shape:
            raise self.error("dummy_data_param takes shape or num/channels/height/width, found both")
        fields = (
            {"shape": param.shape}
            if not any(legacy)
            else dict(zip(("num", "channels", "height", "width"), legacy, strict=True))
        )
        for field, values in fields.items():
            if len(values) not in (1, len(top)):
                raise self.error(
                    f"dummy_data_param.{field} must be given once or once for each of the {len(top)} top(s); "
                    f"found {len(values)}"
                )
        fillers = list(param.data_filler) or [pb.FillerParameter()]  # constant 0
        if len(fillers) not in (1, len(top)):
            raise self.error(
                f"dummy_data_param.data_filler must be given once, once for each of the {len(top)} top(s) "
                f"or not at all; found {len(fillers)}"
            )
        self._fillers = fillers if len(fillers) > 1 else fillers * len(top)
        for i, blob in enumerate(top):
            dims = [values[i if len(values) > 1 else 0] for values in fields.values()]
            blob.reshape(*(dims if any(legacy) else dims[0].dim))
            fill(blob, self._fillers[i])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Refill the tops whose filler is not constant; the others keep what is in them."""
        for blob, filler in zip(top, self._fillers, strict=True):
            if filler.type != "constant":
                fill(blob, filler)


@register("MemoryData")
class MemoryDataLayer(SourceLayer):
    """Batches out of two arrays given by ``reset`` (pycaffe's ``Net.set_input_arrays``), round and round.

    Tops: data (batch_size, channels, height, width) and label, (batch_size,) until the first forward and
    (batch_size, 1, 1, 1) from then on, as in BVLC Caffe.
    """

    exact_num_top = 2

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.layer_param.memory_data_param
        self.shape = (param.batch_size, param.channels, param.height, param.width)
        if not all(self.shape):
            raise self.error(
                "memory_data_param needs positive batch_size, channels, height and width; found "
                f"{', '.join(map(str, self.shape))}"
            )
        self.batch_size = param.batch_size
        self._data: np.ndarray | None = None
        self._labels: np.ndarray | None = None
        self._position = 0
        top[0].reshape(*self.shape)
        top[1].reshape(self.batch_size)

    def reset(self, data: np.ndarray, labels: np.ndarray) -> None:
        """Start over with these arrays; they are referenced, not copied.

        Args:
            data: float32, C-contiguous, (n, channels, height, width); n a multiple of the batch size.
            labels: float32, one for each item: (n,) or (n, 1, 1, 1).
        Raises NetError for anything else.
        """
        for array, name in ((data, "data array"), (labels, "labels array")):
            if not isinstance(array, np.ndarray) or array.dtype != np.float32:
                found = getattr(array, "dtype", type(array).__name__)
                raise self.error(f"{name} must be float32, found {found}")
            if not array.flags.c_contiguous:
                raise self.error(f"{name} must be C contiguous; numpy.ascontiguousarray makes it so")
        if data.ndim != 4 or data.shape[1:] != self.shape[1:]:
            raise self.error(
                f"data array must have shape (n, {', '.join(map(str, self.shape[1:]))}), found {data.shape}"
            )
        if labels.shape[:1] != data.shape[:1] or math.prod(labels.shape[1:]) != 1:
            raise self.error(
                "data and labels must have the same first dimension and one label an item, "
                f"found {data.shape} and {labels.shape}"
            )
        if len(data) == 0 or len(data) % self.batch_size:
            raise self.error(
                f"first dimensions of input arrays must be a multiple of batch size: found {len(data)} items "
                f"for batches of {self.batch_size}"
            )
        if self.layer_param.HasField("transform_param"):
            warnings.warn(
                f"layer '{self.name}': MemoryData does not transform the arrays it is given; "
                "transform_param has no effect",
                stacklevel=3,
            )
        self._data, self._labels, self._position = data, labels.reshape(-1), 0

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Copy the next batch into the tops. NetError before the first ``reset``."""
        if self._data is None or self._labels is None:
            raise self.error("MemoryData has no arrays yet; call net.set_input_arrays(data, labels) first")
        rows = slice(self._position, self._position + self.batch_size)
        top[0].reshape(*self.shape)
        top[1].reshape(self.batch_size, 1, 1, 1)
        for blob, values in zip(top, (self._data, self._labels), strict=True):
            blob.write_data(functools.partial(np.copyto, src=values[rows].reshape(blob.shape)))
        self._position = rows.stop % len(self._data)

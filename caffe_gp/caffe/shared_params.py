"""The parameters of a net: which ones layers share by name, and the multipliers that go with each."""

from __future__ import annotations

import logging
from typing import Any

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers import Layer
from caffe_gp.errors import NetError
from caffe_gp.proto import messages as pb

log = logging.getLogger(__name__)


class SharedParams:
    """Parameters by their ``param { name }``: owners, sharers, and the multipliers that go with them."""

    def __init__(self, source: str) -> None:
        self._source = source
        # name -> (learnable index, blob, layer name, index in the layer)
        self._owners: dict[str, tuple[int, Blob, str, int]] = {}
        self._sharers: list[tuple[Blob, Blob]] = []
        self._lr_given: list[bool] = []
        self._decay_given: list[bool] = []
        self.learnable: list[Blob] = []
        self.lr_mult: list[float] = []
        self.decay_mult: list[float] = []

    def add(self, layer: Layer, index: int, blob: Blob, spec: Any) -> None:
        """Register parameter ``index`` of ``layer``; equal names share with the first (the owner)."""
        owner = self._owners.get(spec.name) if spec.name else None
        if owner is None:
            if spec.name:
                self._owners[spec.name] = (len(self.learnable), blob, layer.name, index)
            self.learnable.append(blob)
            self.lr_mult.append(spec.lr_mult)
            self.decay_mult.append(spec.decay_mult)
            self._lr_given.append(spec.HasField("lr_mult"))
            self._decay_given.append(spec.HasField("decay_mult"))
            return
        k, owner_blob, owner_layer, owner_index = owner
        where = f"Cannot share param '{spec.name}' owned by layer '{owner_layer}' with layer '{layer.name}'"
        if spec.share_mode == pb.ParamSpec.PERMISSIVE:
            if blob.count != owner_blob.count:
                raise NetError(f"{where}; count mismatch: {owner_blob.shape} and {blob.shape}")
        elif blob.shape != owner_blob.shape:
            raise NetError(f"{where}; shape mismatch: {owner_blob.shape} and {blob.shape}")
        log.info(
            "Sharing parameters '%s' owned by layer '%s', param index %d", spec.name, owner_layer, owner_index
        )
        self._merge(spec, "lr_mult", k, self.lr_mult, self._lr_given)
        self._merge(spec, "decay_mult", k, self.decay_mult, self._decay_given)
        self._sharers.append((blob, owner_blob))

    @staticmethod
    def _merge(spec: Any, field: str, k: int, values: list[float], given: list[bool]) -> None:
        if not spec.HasField(field):
            return
        value = getattr(spec, field)
        if given[k] and values[k] != value:
            raise NetError(f"Shared param '{spec.name}' has mismatched {field}: {values[k]} and {value}")
        values[k], given[k] = value, True

    def share(self) -> None:
        """Let every sharer use its owner's memory."""
        for blob, owner in self._sharers:
            blob.share_data(owner)
            blob.share_diff(owner)

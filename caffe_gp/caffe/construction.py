"""Building a net from its description, as Caffe's Net::Init does: layers, blobs and who needs a backward."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from google.protobuf import text_format

from caffe_gp import proto
from caffe_gp.caffe import memory
from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.byte_counts import ByteCounts, own_bytes
from caffe_gp.caffe.filler import postponed
from caffe_gp.caffe.foreign_errors import FOREIGN, named, reshape_layer
from caffe_gp.caffe.layers import Layer, check_forks_fields, check_layer_types, create_layer
from caffe_gp.caffe.shared_params import SharedParams
from caffe_gp.caffe.splits import insert_splits
from caffe_gp.errors import CaffeGPError, NetError, with_source
from caffe_gp.proto import messages as pb

log = logging.getLogger(__name__)


class Construction:
    """The layers of a net, set up and reshaped, and the blobs between them.

    param              the description that is built: layers of this state only, Split layers added
    layers             in the order they run; of each:
    layer_names        its name
    bottom_index       its bottoms, as indices into ``blobs``
    top_index          its tops, likewise
    layer_losses       the loss weight of each top
    need_backward      whether backward visits it
    bottom_need_backward   for each bottom, whether it gets a diff
    blobs              in the order they are made; of each:
    blob_names         its name
    loss_weights       its loss weight, 0 for most
    inputs, outputs    indices of the blobs that Input layers make, and of those that no layer reads
    shared_params      the parameters of all layers
    byte_counts        what they and the blobs take

    Arguments: an upgraded NetParameter, the state to build it for, and a name for messages. Raises NetError
    and whatever else is wrong with a layer, with ``source`` in front.
    """

    def __init__(self, param: Any, phase: int, level: int, stages: Sequence[str], source: str) -> None:
        proto.reject_long_names(param, source)
        param = proto.filter_net(param, phase, level, tuple(stages))
        check_layer_types(param, source)
        check_forks_fields(param, source)
        if log.isEnabledFor(logging.INFO):
            log.info(
                "Initializing net from parameters: \n%s", text_format.MessageToString(param).rstrip("\n")
            )
        self.param = insert_splits(param, source)
        self.layers: list[Layer] = []
        self.layer_names: list[str] = []
        self.bottom_index: list[list[int]] = []
        self.top_index: list[list[int]] = []
        self.layer_losses: list[list[float]] = []
        self.need_backward: list[bool] = []
        self.bottom_need_backward: list[list[bool]] = []
        self.blobs: list[Blob] = []
        self.blob_names: list[str] = []
        self.loss_weights: list[float] = []
        self.inputs: list[int] = []
        self.shared_params = SharedParams(source)
        self._phase, self._source = phase, source
        self._blob_need_backward: list[bool] = []
        self._made: dict[str, tuple[int, str]] = {}  # named blobs: index, and the layer that makes it
        self._max_bytes, self._bytes = memory.max_bytes(), 0  # allowed; of parameters and tops so far
        self._values = 0  # of the tops so far
        self._fillers: list[list[Callable[[], None]]] = []  # of each layer
        self._unread: dict[str, int] = {}  # blobs that no layer has read yet: the outputs, in the end
        with torch.no_grad():
            for layer_param in self.param.layer:
                try:
                    self._add_layer(layer_param)
                except CaffeGPError as error:
                    raise with_source(error, source) from error.__cause__ or error
        self.outputs = [self._unread[name] for name in sorted(self._unread)]
        self._skip_layers_without_loss()
        if self.param.force_backward:
            self._force_backward()
        self.byte_counts = ByteCounts(self)
        self._fill_parameters()
        self.shared_params.share()
        self._check_duplicate_names()
        for blob in self.outputs:
            log.info("This network produces output %s", self.blob_names[blob])
        log.info("Network initialization done.")

    # ---- layer by layer

    def _add_layer(self, layer_param: Any) -> None:
        if not layer_param.HasField("phase"):
            layer_param.phase = self._phase
        if layer_param.propagate_down and len(layer_param.propagate_down) != len(layer_param.bottom):
            raise NetError(
                f"layer '{layer_param.name}': propagate_down param must be specified either 0 or "
                f"bottom_size times ({len(layer_param.bottom)}), found {len(layer_param.propagate_down)}"
            )
        log.info("Creating layer %s", layer_param.name)  # once by Caffe's factory, once by its net
        log.info("Creating Layer %s", layer_param.name)
        layer = create_layer(layer_param, layer_param.phase, self._source)
        # BatchNorm adds "lr_mult: 0" for its statistics in setup. In Caffe only the solver sees that: a
        # BatchNorm still asks for a backward unless the prototxt itself says lr_mult: 0.
        written = [spec.lr_mult for spec in layer_param.param]
        bottom_ids, bottom_need = self._append_bottoms(layer_param)
        # By what lies below, whatever propagate_down says: that only chooses which bottoms get a diff.
        needs = any(self._blob_need_backward[i] for i in bottom_ids)
        top_ids = self._append_tops(layer_param, layer)
        bottom, top = [self.blobs[i] for i in bottom_ids], [self.blobs[i] for i in top_ids]
        losses = self._set_up(layer, bottom, top)
        for top_id, weight in zip(top_ids, losses):
            self.loss_weights[top_id] = weight
        self._log_tops(layer, top, losses)
        needs = self._add_params(layer, written) or needs
        for top_id in top_ids:
            self._blob_need_backward[top_id] = self._blob_need_backward[top_id] or needs
        self.layers.append(layer)
        self.layer_names.append(layer_param.name)
        self.bottom_index.append(bottom_ids)
        self.top_index.append(top_ids)
        self.bottom_need_backward.append(bottom_need)
        self.need_backward.append(needs)
        self.layer_losses.append(losses)

    def _set_up(self, layer: Layer, bottom: list[Blob], top: list[Blob]) -> list[float]:
        """Set the layer up and shape its tops; returns their loss weights."""
        layer.check_blob_counts(len(bottom), len(top))
        before = [blob.shape for blob in bottom]
        try:
            with memory.left(self._max_bytes - self._bytes):
                with postponed() as fillers:
                    layer.setup(bottom, top)
                self._fillers.append(fillers)
                reshape_layer(layer, bottom, top, before)
                self._count_bytes(layer, bottom, top)
                return _set_loss_weights(layer, top)
        except FOREIGN as error:
            raise named(error, layer, bottom, top, self._source, "be set up") from error.__cause__ or error

    def _count_bytes(self, layer: Layer, bottom: list[Blob], top: list[Blob]) -> None:
        """Add what the layer's parameters and tops will take; NetError where that is more than is left."""
        taken = own_bytes(layer, bottom, top)
        memory.need(taken, f"its tops {', '.join(str(blob.shape) for blob in top)} and its parameters")
        self._bytes += taken

    def _fill_parameters(self) -> None:
        """Only now, since the whole net is known to do: that may take gigabytes, and a while."""
        memory.need(self.byte_counts.forward(), f"{self._source}: a forward")
        for i, fillers in enumerate(self._fillers):
            try:
                for filler in fillers:
                    filler()
            except FOREIGN as error:
                bottom, top = ([self.blobs[k] for k in of[i]] for of in (self.bottom_index, self.top_index))
                found = named(error, self.layers[i], bottom, top, self._source, "be set up")
                raise found from error.__cause__ or error

    def _log_tops(self, layer: Layer, top: Sequence[Blob], losses: Sequence[float]) -> None:
        log.info("Setting up %s", layer.name)
        for blob, weight in zip(top, losses):
            log.info("Top shape: %s(%d)", "".join(f"{n} " for n in blob.shape), blob.count)
            if weight:
                log.info("    with loss weight %g", weight)
            self._values += blob.count
        log.info("Memory required for data: %d", 4 * self._values)

    def _append_bottoms(self, layer_param: Any) -> tuple[list[int], list[bool]]:
        ids, needs = [], []
        for i, name in enumerate(layer_param.bottom):
            if name not in self._unread:
                raise NetError(f"Unknown bottom blob '{name}' (layer '{layer_param.name}', bottom index {i})")
            log.info("%s <- %s", layer_param.name, name)
            blob_id = self._unread.pop(name)
            ids.append(blob_id)
            needs.append(
                layer_param.propagate_down[i]
                if layer_param.propagate_down
                else self._blob_need_backward[blob_id]
            )
        return ids, needs

    def _append_tops(self, layer_param: Any, layer: Layer) -> list[int]:
        ids = []
        for i, name in enumerate(layer_param.top):
            if i < len(layer_param.bottom) and layer_param.bottom[i] == name:
                log.info("%s -> %s (in-place)", layer_param.name, name)
                blob_id = self._made[name][0]
            elif name in self._made:
                raise NetError(
                    f"Top blob '{name}' produced by multiple sources: layers '{self._made[name][1]}' and "
                    f"'{layer_param.name}'"
                )
            else:
                log.info("%s -> %s", layer_param.name, name)
                blob_id = self._new_blob(name)
                self._made[name] = blob_id, layer_param.name
                if layer_param.type == "Input":
                    self.inputs.append(blob_id)
            self._unread[name] = blob_id
            ids.append(blob_id)
        if layer.auto_top_blobs:
            while len(ids) < max(layer.min_top or 0, layer.exact_num_top or 0):
                log.info("%s -> (automatic)", layer_param.name)
                ids.append(self._new_blob("(automatic)"))
        return ids

    def _new_blob(self, name: str) -> int:
        self.blobs.append(Blob())
        self.blob_names.append(name)
        self.loss_weights.append(0.0)
        self._blob_need_backward.append(False)
        return len(self.blobs) - 1

    def _add_params(self, layer: Layer, written: Sequence[float]) -> bool:
        """Register the layer's parameters; whether one trains, by the ``lr_mult`` written in the prototxt."""
        specs, any_trains = layer.layer_param.param, False
        if len(specs) > len(layer.blobs):
            raise layer.error(f"Too many params specified: {len(specs)} for {len(layer.blobs)} blobs")
        for i, blob in enumerate(layer.blobs):
            trains = i >= len(written) or written[i] != 0
            any_trains = any_trains or trains
            _set_at(layer.param_propagate_down, i, trains)
            self.shared_params.add(layer, i, blob, specs[i] if i < len(specs) else pb.ParamSpec())
        return any_trains

    # ---- the net as a whole

    def _skip_layers_without_loss(self) -> None:
        """Drop need_backward where no loss lies downstream, or where propagate_down cuts every path."""
        under_loss: set[int] = set()
        skip: set[int] = set()
        for i in reversed(range(len(self.layers))):
            tops, bottoms = self.top_index[i], self.bottom_index[i]
            contributes = any(self.layer_losses[i]) or any(t in under_loss for t in tops)
            all_skipped = all(t in skip for t in tops)
            if self.need_backward[i] and all_skipped and tops:
                self.need_backward[i] = False
                self.bottom_need_backward[i] = [False] * len(bottoms)
            if not contributes:
                self.need_backward[i] = False
            verb = "needs" if self.need_backward[i] else "does not need"
            log.info("%s %s backward computation.", self.layer_names[i], verb)
            for k, bottom in enumerate(bottoms):
                if contributes:
                    under_loss.add(bottom)
                else:
                    self.bottom_need_backward[i][k] = False
                if not self.bottom_need_backward[i][k]:
                    skip.add(bottom)

    def _force_backward(self) -> None:
        for i, layer in enumerate(self.layers):
            self.need_backward[i] = True
            self.bottom_need_backward[i] = [
                need or layer.allow_force_backward(k) for k, need in enumerate(self.bottom_need_backward[i])
            ]
            layer.param_propagate_down = [True] * len(layer.param_propagate_down)

    def _check_duplicate_names(self) -> None:
        # Caffe accepts equal names and then loads weights into the first of them only.
        seen: set[str] = set()
        for name, layer in zip(self.layer_names, self.layers):
            if layer.blobs and name in seen:
                raise NetError(
                    f"{self._source}: two layers with parameters are named '{name}'; weights are found by "
                    "layer name, so give each its own"
                )
            if layer.blobs:
                seen.add(name)


def _set_loss_weights(layer: Layer, top: Sequence[Blob]) -> list[float]:
    weights = list(layer.layer_param.loss_weight)
    if not weights and layer.default_loss_weight(0):
        weights = [layer.default_loss_weight(0)]
        layer.layer_param.loss_weight.extend(weights)  # as Caffe, which writes it into its snapshots
    if weights and len(weights) != len(top):
        raise layer.error(
            "loss_weight must be unspecified or specified once per top blob: "
            f"{len(weights)} weight(s) for {len(top)} top(s)"
        )
    for blob, weight in zip(top, weights):
        if weight and not memory.is_shapes_only():
            # Layers read the loss weight from the top's diff, where it stays (Caffe's convention).
            blob.diff_tensor = torch.full_like(blob.diff_tensor, weight)
    return weights or [0.0] * len(top)


def _set_at(flags: list[bool], i: int, value: bool) -> None:
    flags.extend([True] * (i + 1 - len(flags)))
    flags[i] = value

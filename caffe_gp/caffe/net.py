"""Net: a list of layers over named blobs, with pycaffe's interface."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import takewhile, zip_longest
from typing import Any

import numpy as np
import torch

from caffe_gp import proto
from caffe_gp.caffe import debug_info
from caffe_gp.caffe.blob import Blob, BlobVec
from caffe_gp.caffe.layers import Layer, check_layer_types, create_layer
from caffe_gp.caffe.shared_params import SharedParams
from caffe_gp.caffe.splits import insert_splits
from caffe_gp.errors import CaffeGPError, NetError, WeightsError
from caffe_gp.proto import messages as pb

Callback = Callable[[int], None]


class Net:
    """A net built from a prototxt, ready for forward and backward.

    ``Net(prototxt, phase)`` or ``Net(prototxt, phase, level=0, stages=[...], weights=path)``; the older
    ``Net(prototxt, caffemodel, phase)`` works too. Everything keeps pycaffe's names and messages. Arrays
    that passes return are views of blob memory, overwritten by the next pass: copy what you keep.
    """

    def __init__(
        self,
        network_file: str | os.PathLike[str],
        *args: Any,
        phase: int | None = None,
        level: int = 0,
        stages: Sequence[str] | None = None,
        weights: str | os.PathLike[str] | None = None,
    ) -> None:
        positional = list(args)
        if positional and isinstance(positional[0], (str, os.PathLike)):
            weights = positional.pop(0)
        if positional:
            phase = positional.pop(0)
        if positional:
            level = positional.pop(0)
        if positional:
            stages = positional.pop(0)
        if positional and weights is None:
            weights = positional.pop(0)
        if positional or phase is None or phase not in (pb.TRAIN, pb.TEST):
            raise NetError(
                "Net(prototxt, phase, level=0, stages=None, weights=None): phase is caffe.TRAIN or caffe.TEST"
            )
        source = os.fspath(network_file)
        self._init(proto.read_net_param(source), phase, level, stages or (), source)
        if weights is not None:
            self.copy_from(weights)

    @classmethod
    def from_param(
        cls,
        param: Any,
        phase: int,
        *,
        level: int = 0,
        stages: Sequence[str] = (),
        source: str = "<NetParameter>",
    ) -> Net:
        """A net from an upgraded NetParameter in memory; ``source`` names it in messages."""
        net = cls.__new__(cls)
        net._init(param, phase, level, stages, source)
        return net

    # ---- construction (Caffe's Net::Init)

    def _init(self, param: Any, phase: int, level: int, stages: Sequence[str], source: str) -> None:
        self._source = source
        param = proto.filter_net(param, phase, level, tuple(stages))
        check_layer_types(param, source)
        self._param = insert_splits(param, source)
        self.phase = phase
        self._name = self._param.name
        self.layers: list[Layer] = []
        self._layer_names: list[str] = []
        self._blobs: list[Blob] = []
        self._blob_names: list[str] = []
        self._bottom_index: list[list[int]] = []
        self._top_index: list[list[int]] = []
        self._inputs: list[int] = []
        self._loss_weights: list[float] = []
        self._layer_losses: list[list[float]] = []
        self._bottom_need_backward: list[list[bool]] = []
        self._layer_need_backward: list[bool] = []
        self._shared_params = SharedParams(source)
        self._callbacks: dict[str, list[Callback]] = {
            "before_forward": [],
            "after_forward": [],
            "before_backward": [],
            "after_backward": [],
        }
        self._unread: dict[str, int] = {}  # blobs that no layer has read yet: the outputs, in the end
        blob_need_backward: list[bool] = []
        with torch.no_grad():
            for layer_param in self._param.layer:
                try:
                    self._add_layer(layer_param, blob_need_backward)
                except CaffeGPError as error:
                    raise _with_source(error, source) from error
        self._outputs = [self._unread[name] for name in sorted(self._unread)]
        self._skip_layers_without_loss()
        if self._param.force_backward:
            self._force_backward()
        self._shared_params.share()
        self._check_duplicate_names()
        self.debug_info = self._param.debug_info  # log mean absolute values, layer by layer

    def _add_layer(self, layer_param: Any, blob_need_backward: list[bool]) -> None:
        if not layer_param.HasField("phase"):
            layer_param.phase = self.phase
        if layer_param.propagate_down and len(layer_param.propagate_down) != len(layer_param.bottom):
            raise NetError(
                f"layer '{layer_param.name}': propagate_down param must be specified either 0 or "
                f"bottom_size times ({len(layer_param.bottom)}), found {len(layer_param.propagate_down)}"
            )
        layer = create_layer(layer_param, layer_param.phase)
        # BatchNorm adds "lr_mult: 0" for its statistics in setup. In Caffe only the solver sees that: a
        # BatchNorm still asks for a backward unless the prototxt itself says lr_mult: 0.
        written = [spec.lr_mult for spec in layer_param.param]
        index = len(self.layers)
        bottom_ids, bottom_need = self._append_bottoms(layer_param, blob_need_backward)
        top_ids = self._append_tops(layer_param, layer, index, blob_need_backward)
        bottom, top = [self._blobs[i] for i in bottom_ids], [self._blobs[i] for i in top_ids]
        layer.check_blob_counts(len(bottom), len(top))
        layer.setup(bottom, top)
        layer.reshape(bottom, top)
        losses = self._set_loss_weights(layer, top)
        for top_id, weight in zip(top_ids, losses):
            self._loss_weights[top_id] = weight
        needs = any(bottom_need)
        if len(layer_param.param) > len(layer.blobs):
            raise layer.error(
                f"Too many params specified: {len(layer_param.param)} for {len(layer.blobs)} blobs"
            )
        for i, blob in enumerate(layer.blobs):
            spec = layer_param.param[i] if i < len(layer_param.param) else pb.ParamSpec()
            trains = i >= len(written) or written[i] != 0
            needs = needs or trains
            _set_at(layer.param_propagate_down, i, trains)
            self._shared_params.add(layer, i, blob, spec)
        for top_id in top_ids:
            blob_need_backward[top_id] = blob_need_backward[top_id] or needs
        self.layers.append(layer)
        self._layer_names.append(layer_param.name)
        self._bottom_index.append(bottom_ids)
        self._top_index.append(top_ids)
        self._bottom_need_backward.append(bottom_need)
        self._layer_need_backward.append(needs)
        self._layer_losses.append(losses)

    def _append_bottoms(
        self, layer_param: Any, blob_need_backward: list[bool]
    ) -> tuple[list[int], list[bool]]:
        ids, needs = [], []
        for i, name in enumerate(layer_param.bottom):
            if name not in self._unread:
                raise NetError(f"Unknown bottom blob '{name}' (layer '{layer_param.name}', bottom index {i})")
            blob_id = self._unread.pop(name)
            ids.append(blob_id)
            needs.append(
                layer_param.propagate_down[i] if layer_param.propagate_down else blob_need_backward[blob_id]
            )
        return ids, needs

    def _append_tops(
        self, layer_param: Any, layer: Layer, index: int, blob_need_backward: list[bool]
    ) -> list[int]:
        ids = []
        for i, name in enumerate(layer_param.top):
            if i < len(layer_param.bottom) and layer_param.bottom[i] == name:
                blob_id = self._blob_names.index(name)  # in place
            elif name in self._blob_names:
                maker = self._layer_names[
                    next(k for k, tops in enumerate(self._top_index) if self._blob_names.index(name) in tops)
                ]
                raise NetError(
                    f"Top blob '{name}' produced by multiple sources: layers '{maker}' and "
                    f"'{layer_param.name}'"
                )
            else:
                blob_id = self._new_blob(name, blob_need_backward)
                if layer_param.type == "Input":
                    self._inputs.append(blob_id)
            self._unread[name] = blob_id
            ids.append(blob_id)
        if layer.auto_top_blobs:
            while len(ids) < max(layer.min_top or 0, layer.exact_num_top or 0):
                ids.append(self._new_blob("(automatic)", blob_need_backward))
        return ids

    def _new_blob(self, name: str, blob_need_backward: list[bool]) -> int:
        self._blobs.append(Blob())
        self._blob_names.append(name)
        self._loss_weights.append(0.0)
        blob_need_backward.append(False)
        return len(self._blobs) - 1

    @staticmethod
    def _set_loss_weights(layer: Layer, top: Sequence[Blob]) -> list[float]:
        weights = list(layer.layer_param.loss_weight)
        if not weights and layer.default_loss_weight(0):
            weights = [layer.default_loss_weight(0)]
        if weights and len(weights) != len(top):
            raise layer.error(
                "loss_weight must be unspecified or specified once per top blob: "
                f"{len(weights)} weight(s) for {len(top)} top(s)"
            )
        for blob, weight in zip(top, weights):
            if weight:
                # Layers read the loss weight from the top's diff, where it stays (Caffe's convention).
                blob.diff_tensor = torch.full_like(blob.diff_tensor, weight)
        return weights or [0.0] * len(top)

    def _skip_layers_without_loss(self) -> None:
        """Drop need_backward where no loss lies downstream, or where propagate_down cuts every path."""
        under_loss: set[int] = set()
        skip: set[int] = set()
        for i in reversed(range(len(self.layers))):
            tops, bottoms = self._top_index[i], self._bottom_index[i]
            contributes = any(self._layer_losses[i]) or any(t in under_loss for t in tops)
            all_skipped = all(t in skip for t in tops)
            if self._layer_need_backward[i] and all_skipped and tops:
                self._layer_need_backward[i] = False
                self._bottom_need_backward[i] = [False] * len(bottoms)
            if not contributes:
                self._layer_need_backward[i] = False
            for k, bottom in enumerate(bottoms):
                if contributes:
                    under_loss.add(bottom)
                else:
                    self._bottom_need_backward[i][k] = False
                if not self._bottom_need_backward[i][k]:
                    skip.add(bottom)

    def _force_backward(self) -> None:
        for i, layer in enumerate(self.layers):
            self._layer_need_backward[i] = True
            self._bottom_need_backward[i] = [
                need or layer.allow_force_backward(k) for k, need in enumerate(self._bottom_need_backward[i])
            ]
            layer.param_propagate_down = [True] * len(layer.param_propagate_down)

    def _check_duplicate_names(self) -> None:
        # Caffe accepts equal names and then loads weights into the first of them only.
        seen: set[str] = set()
        for name, layer in zip(self._layer_names, self.layers):
            if layer.blobs and name in seen:
                raise NetError(
                    f"{self._source}: two layers with parameters are named '{name}'; weights are found by "
                    "layer name, so give each its own"
                )
            if layer.blobs:
                seen.add(name)

    # ---- structure

    @property
    def inputs(self) -> list[str]:
        """Names of the blobs made by Input layers."""
        return [self._blob_names[i] for i in self._inputs]

    @property
    def outputs(self) -> list[str]:
        """Names of the blobs that no layer reads, alphabetically."""
        return [self._blob_names[i] for i in self._outputs]

    @cached_property
    def blobs(self) -> OrderedDict[str, Blob]:
        """Blobs by name, in order of creation."""
        return OrderedDict(zip(self._blob_names, self._blobs))

    @cached_property
    def params(self) -> OrderedDict[str, BlobVec]:
        """Parameter blobs by layer name, for the layers that have any."""
        return OrderedDict(
            (name, layer.blobs) for name, layer in zip(self._layer_names, self.layers) if layer.blobs
        )

    @cached_property
    def layer_dict(self) -> OrderedDict[str, Layer]:
        """Layers by name; of equal names the last, as in pycaffe."""
        return OrderedDict(zip(self._layer_names, self.layers))

    @cached_property
    def top_names(self) -> OrderedDict[str, list[str]]:
        """Names of each layer's tops."""
        return self._names_by_layer(self._top_index)

    @cached_property
    def bottom_names(self) -> OrderedDict[str, list[str]]:
        """Names of each layer's bottoms."""
        return self._names_by_layer(self._bottom_index)

    def _names_by_layer(self, index: list[list[int]]) -> OrderedDict[str, list[str]]:
        return OrderedDict(
            (name, [self._blob_names[i] for i in ids]) for name, ids in zip(self._layer_names, index)
        )

    @cached_property
    def blob_loss_weights(self) -> OrderedDict[str, float]:
        """Loss weight of every blob by name (0 for most)."""
        return OrderedDict(zip(self._blob_names, self._loss_weights))

    @property
    def _blob_loss_weights(self) -> list[float]:
        return self._loss_weights

    def _bottom_ids(self, layer: int) -> list[int]:
        return list(self._bottom_index[layer])

    def _top_ids(self, layer: int) -> list[int]:
        return list(self._top_index[layer])

    @property
    def name(self) -> str:
        """The net's name in the prototxt."""
        return self._name

    # ---- passes

    def reshape(self) -> None:
        """Reshape every layer to the input blobs' shapes, without computing."""
        with torch.no_grad():
            for i, layer in enumerate(self.layers):
                layer.reshape(*self._blobs_of(i))

    def _blobs_of(self, i: int) -> tuple[list[Blob], list[Blob]]:
        blobs = self._blobs
        return [blobs[k] for k in self._bottom_index[i]], [blobs[k] for k in self._top_index[i]]

    @torch.no_grad()
    def _forward(self, start: int, end: int) -> float:
        """Run layers ``start`` to ``end``, both included, reshaping each first; returns the summed loss."""
        if not 0 <= start < len(self.layers) or not 0 <= end < len(self.layers):
            raise NetError(f"{self._source}: layer range {start}..{end} is outside 0..{len(self.layers) - 1}")
        loss: Any = 0.0
        for i in range(start, end + 1):
            self._run_callbacks("before_forward", i)
            bottom, top = self._blobs_of(i)
            layer = self.layers[i]
            try:
                layer.reshape(bottom, top)
                layer.forward(bottom, top)
            except NetError as error:
                raise _with_source(error, self._source) from error
            for blob, weight in zip(top, self._layer_losses[i]):
                if weight:
                    loss = loss + (blob.data_tensor * blob.diff_tensor).sum()
            if self.debug_info:
                debug_info.log_forward(self, i)
            self._run_callbacks("after_forward", i)
        return float(loss)

    @torch.no_grad()
    def _backward(self, start: int, end: int) -> None:
        """Run backward from layer ``start`` down to layer ``end``, both included, where needed."""
        if not 0 <= start < len(self.layers) or not 0 <= end < len(self.layers):
            raise NetError(f"{self._source}: layer range {start}..{end} is outside 0..{len(self.layers) - 1}")
        for i in range(start, end - 1, -1):
            self._run_callbacks("before_backward", i)
            if self._layer_need_backward[i]:
                bottom, top = self._blobs_of(i)
                self.layers[i].backward(top, self._bottom_need_backward[i], bottom)
                if self.debug_info:
                    debug_info.log_backward(self, i)
            self._run_callbacks("after_backward", i)

    def forward(
        self,
        blobs: Sequence[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **kwargs: Any,
    ) -> dict[str, np.ndarray]:
        """Run the net, or layers ``start`` to ``end`` (names); keywords are arrays for *all* inputs.

        Returns views of the outputs (of ``end``'s tops if given) and of the blobs named in ``blobs``.
        """
        last = len(self.layers) - 1 if end is None else self._layer_index(end)
        wanted = set(self.outputs if end is None else self.top_names[end]) | set(blobs or ())
        self._fill(kwargs, self.inputs, "data", "Input blob arguments do not match net inputs.", "Input")
        self._forward(0 if start is None else self._layer_index(start), last)
        return {name: self.blobs[name].data for name in wanted}

    def backward(
        self,
        diffs: Sequence[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **kwargs: Any,
    ) -> dict[str, np.ndarray]:
        """Run backward from ``start`` down to ``end`` (names); keywords are diffs for *all* outputs.

        Without keywords the diffs that lie in the blobs are used. Returns views of the inputs' diffs (of
        ``end``'s bottoms if given) and of the diffs named in ``diffs``.
        """
        first = 0 if end is None else self._layer_index(end)
        wanted = set(self.inputs if end is None else self.bottom_names[end]) | set(diffs or ())
        self._fill(kwargs, self.outputs, "diff", "Top diff arguments do not match net outputs.", "Diff")
        self._backward(len(self.layers) - 1 if start is None else self._layer_index(start), first)
        return {name: self.blobs[name].diff for name in wanted}

    def _layer_index(self, name: str) -> int:
        try:
            return self._layer_names.index(name)
        except ValueError:
            raise ValueError(f"'{name}' is not the name of a layer of {self._source}") from None

    def _fill(
        self, arrays: dict[str, np.ndarray], names: list[str], side: str, mismatch: str, what: str
    ) -> None:
        if not arrays:
            return
        if set(arrays) != set(names):
            raise NetError(f"{mismatch} (expected {sorted(names)}, found {sorted(arrays)})")
        for name, array in arrays.items():
            blob = self.blobs[name]
            if np.shape(array)[:1] != blob.shape[:1]:
                raise NetError(
                    f"{what} is not batch sized ('{name}': expected {blob.shape}, found {np.shape(array)})"
                )
            getattr(blob, side)[...] = array

    def forward_all(self, blobs: Sequence[str] | None = None, **kwargs: Any) -> dict[str, np.ndarray]:
        """Forward any number of inputs batch by batch; returns copies, one row an input."""
        results: dict[str, list[np.ndarray]] = {name: [] for name in set(self.outputs) | set(blobs or ())}
        for batch in self._batch(kwargs):
            for name, values in self.forward(blobs=blobs, **batch).items():
                results[name].extend(values.copy())
        return _trimmed(results, kwargs)

    def forward_backward_all(
        self, blobs: Sequence[str] | None = None, diffs: Sequence[str] | None = None, **kwargs: Any
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Forward and backward batch by batch; keywords name inputs and outputs' diffs."""
        data: dict[str, list[np.ndarray]] = {name: [] for name in set(self.outputs) | set(blobs or ())}
        grads: dict[str, list[np.ndarray]] = {name: [] for name in set(self.inputs) | set(diffs or ())}
        forward_batches = self._batch({name: kwargs[name] for name in self.inputs if name in kwargs})
        backward_batches = self._batch({name: kwargs[name] for name in self.outputs if name in kwargs})
        for forward_batch, backward_batch in zip_longest(forward_batches, backward_batches):
            for name, values in self.forward(blobs=blobs, **(forward_batch or {})).items():
                data[name].extend(values.copy())
            for name, values in self.backward(diffs=diffs, **(backward_batch or {})).items():
                grads[name].extend(values.copy())
        return _trimmed(data, kwargs), _trimmed(grads, kwargs)

    def _batch(self, arrays: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Slices of the net's batch size, the last one padded with zeros."""
        if not arrays:
            return
        total = len(next(iter(arrays.values())))
        size = self._blobs[0].shape[0]
        for first in range(0, total, size):
            batch = {name: np.asarray(array[first : first + size]) for name, array in arrays.items()}
            missing = size - min(size, total - first)
            if missing:
                batch = {
                    name: np.concatenate([part, np.zeros((missing, *part.shape[1:]), part.dtype)])
                    for name, part in batch.items()
                }
            yield batch

    # ---- callbacks

    def before_forward(self, function: Callback) -> None:
        """Call ``function(layer_index)`` before each layer's forward."""
        self._callbacks["before_forward"].append(function)

    def after_forward(self, function: Callback) -> None:
        """Call ``function(layer_index)`` after each layer's forward."""
        self._callbacks["after_forward"].append(function)

    def before_backward(self, function: Callback) -> None:
        """Call ``function(layer_index)`` before each layer's turn in backward."""
        self._callbacks["before_backward"].append(function)

    def after_backward(self, function: Callback) -> None:
        """Call ``function(layer_index)`` after each layer's turn in backward."""
        self._callbacks["after_backward"].append(function)

    def _run_callbacks(self, when: str, layer: int) -> None:
        for function in self._callbacks[when]:
            function(layer)

    # ---- parameters

    def copy_from(self, path: str | os.PathLike[str]) -> None:
        """Load weights by layer name from a caffemodel or HDF5 file.

        As in Caffe: layers of the file without a namesake here are skipped, layers here without one in the
        file keep their fillers. Raises WeightsError when counts or shapes differ.
        """
        weights = proto.read_weights(os.fspath(path))
        for name, source_blobs in weights:
            if name in self._layer_names:
                self._load_layer(os.fspath(path), name, source_blobs, weights.format == "hdf5")

    def _load_layer(self, path: str, name: str, source_blobs: Sequence[Any], hdf5: bool) -> None:
        target = self.layers[self._layer_names.index(name)].blobs
        if hdf5:
            shared = takewhile(lambda blob: blob not in self.learnable_params, reversed(target))
            missing = min(len(target) - len(source_blobs), len(list(shared)))
            source_blobs = [*source_blobs, *[None] * missing]
        if len(target) != len(source_blobs):
            raise WeightsError(
                f"{path}: Incompatible number of blobs for layer '{name}': the net has {len(target)}, "
                f"the file {len(source_blobs)}"
            )
        for i, (blob, source) in enumerate(zip(target, source_blobs)):
            if source is None:  # HDF5 files hold a shared blob once, at its owner
                if blob in self.learnable_params:
                    raise WeightsError(
                        f"{path}: layer '{name}' has no data for param {i}, which no other layer owns here"
                    )
                continue
            if not source.fits(blob.shape):
                raise WeightsError(
                    f"{path}: Cannot copy param {i} weights from layer '{name}': shape mismatch, the net has "
                    f"{blob.shape}, the file {tuple(source.shape)}; to learn this layer anew, rename it"
                )
            blob.write_data(source.copy_to)

    def share_with(self, other: Net) -> None:
        """Use the parameter memory of the layers of ``other`` that have the same names."""
        for name, layer in zip(other._layer_names, other.layers):
            if name not in self._layer_names:
                continue
            target = self.layers[self._layer_names.index(name)].blobs
            if [b.shape for b in target] != [b.shape for b in layer.blobs]:
                raise WeightsError(
                    f"Cannot share params of layer '{name}': shapes {[b.shape for b in target]} and "
                    f"{[b.shape for b in layer.blobs]} differ"
                )
            for mine, theirs in zip(target, layer.blobs):
                mine.share_data(theirs)

    def save(self, path: str | os.PathLike[str], write_diff: bool = False) -> None:
        """Write the parameters as a binary caffemodel."""
        proto.write_caffemodel(
            os.fspath(path), self._param, self._param_arrays(), **self._diffs_if(write_diff)
        )

    def save_hdf5(self, path: str | os.PathLike[str], write_diff: bool = False) -> None:
        """Write the parameters in Caffe's HDF5 layout."""
        proto.write_hdf5(os.fspath(path), self._param, self._param_arrays(), **self._diffs_if(write_diff))

    def load_hdf5(self, path: str | os.PathLike[str]) -> None:
        """Load parameters from Caffe's HDF5 layout."""
        self.copy_from(path)

    def _param_arrays(self) -> dict[str, list[np.ndarray]]:
        return {name: [blob.read_data() for blob in blobs] for name, blobs in self.params.items()}

    def _diffs_if(self, write_diff: bool) -> dict[str, Any]:
        if not write_diff:
            return {}
        return {"diffs": {name: [blob.diff for blob in blobs] for name, blobs in self.params.items()}}

    def clear_param_diffs(self) -> None:
        """Zero the diffs of all parameters."""
        for blob in self.learnable_params:
            blob.zero_diff()

    @property
    def learnable_params(self) -> list[Blob]:
        """Parameter blobs, shared ones once, in order of creation."""
        return self._shared_params.learnable

    @property
    def params_lr(self) -> list[float]:
        """``lr_mult`` of each learnable parameter (1 where unset)."""
        return self._shared_params.lr_mult

    @property
    def params_weight_decay(self) -> list[float]:
        """``decay_mult`` of each learnable parameter (1 where unset)."""
        return self._shared_params.decay_mult

    # ---- MemoryData

    def set_input_arrays(self, data: np.ndarray, labels: np.ndarray) -> None:
        """Feed a net whose first layer is MemoryData.

        ``data`` is float32 (N, C, H, W), ``labels`` holds N values; N is a multiple of the batch size.
        """
        layer = self.layers[0]
        if layer.type != "MemoryData":
            raise NetError("set_input_arrays may only be called if the first layer is a MemoryDataLayer")
        layer.reset(data, labels)  # type: ignore[attr-defined]

    _set_input_arrays = set_input_arrays


def _set_at(flags: list[bool], i: int, value: bool) -> None:
    flags.extend([True] * (i + 1 - len(flags)))
    flags[i] = value


def _trimmed(results: dict[str, list[np.ndarray]], arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    total = len(next(iter(arrays.values()))) if arrays else None
    return {name: np.asarray(rows[:total]) for name, rows in results.items()}


def _with_source(error: CaffeGPError, source: str) -> CaffeGPError:
    return error if source in str(error) else type(error)(f"{source}: {error}")

"""Net: a list of layers over named blobs, with pycaffe's interface."""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import takewhile, zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from caffe_gp import proto
from caffe_gp.caffe import debug_info, device_array, fast, memory, mode
from caffe_gp.caffe.blob import Blob, BlobVec
from caffe_gp.caffe.construction import Construction
from caffe_gp.caffe.fast.changes import Changes
from caffe_gp.caffe.fast.needs import Needs
from caffe_gp.caffe.foreign_errors import FOREIGN, named, reshape_layer
from caffe_gp.caffe.layers import Layer
from caffe_gp.caffe.precision import in_own_precision, is_bf16
from caffe_gp.caffe.vectors import DtypeVec, IntVec, LayerVec, StringVec
from caffe_gp.errors import CaffeGPError, NetError, OutOfMemoryError, WeightsError
from caffe_gp.one_thread import OneThread, in_one_thread
from caffe_gp.proto import messages as pb
from caffe_gp.provenance import PRECISIONS

Callback = Callable[[int], None]
log = logging.getLogger(__name__)


class Net:
    """A net built from a prototxt, ready for forward and backward.

    ``Net(prototxt, phase)`` or ``Net(prototxt, phase, level=0, stages=[...], weights=path)``; the older
    ``Net(prototxt, caffemodel, phase)`` works too. Everything keeps pycaffe's names and messages. Arrays
    that passes return are views of blob memory, overwritten by the next pass: copy what you keep.

    One thread may use a net at a time. A pass that begins while another thread's goes on raises EngineError;
    so does one while another thread is in ``with net.one_thread:``. Different nets are independent.

    ``precision`` is one of 'float32', 'tf32' and 'bf16' (see ``caffe.precision``); None, as nets begin,
    follows ``allow_tf32``. It may be set between two passes.
    """

    _precision: str | None = None

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

    @property
    def precision(self) -> str | None:
        """What convolutions and inner products compute in; None: as ``allow_tf32`` says."""
        return self._precision

    @precision.setter
    def precision(self, precision: str | None) -> None:
        if precision not in (None, *PRECISIONS):
            raise NetError(f"precision: expected {', '.join(PRECISIONS)} or None, found {precision!r}")
        self._precision = precision

    def _init(self, param: Any, phase: int, level: int, stages: Sequence[str], source: str) -> None:
        built = Construction(param, phase, level, stages, source)
        self.phase = phase
        self.one_thread = OneThread(f"the net of {source}")
        self.layers = LayerVec(built.layers)
        self.debug_info = built.param.debug_info  # log mean absolute values, layer by layer
        self._source, self._param, self._name = source, built.param, built.param.name
        self._layer_names = StringVec(built.layer_names)
        self._bottom_index, self._top_index = built.bottom_index, built.top_index
        self._bottoms = [[built.blobs[i] for i in ids] for ids in built.bottom_index]
        self._tops = [[built.blobs[i] for i in ids] for ids in built.top_index]
        self._loss_tops = [
            [blob for blob, weight in zip(tops, weights) if weight]
            for tops, weights in zip(self._tops, built.layer_losses)
        ]
        tested = phase == pb.TEST and fast.wanted()  # training changes everything, always
        self._changes = Changes(self.layers, self._bottoms, self._tops) if tested else None
        self._only: tuple[Blob, ...] | None = None  # whose diffs a backward is asked for
        self._needs: tuple[Any, Needs] | None = None
        self._rectified = [self._next_rectifies(i) for i in range(len(self.layers))]
        self._layer_need_backward = built.need_backward
        self._bottom_need_backward = built.bottom_need_backward
        self._blobs, self._blob_names = BlobVec(built.blobs), StringVec(built.blob_names)
        self._loss_weights = DtypeVec(built.loss_weights)
        self._inputs, self._outputs = IntVec(built.inputs), IntVec(built.outputs)
        self._shared_params = built.shared_params
        self._byte_counts = built.byte_counts
        self._sized: tuple[Any, ...] = self._input_shapes()  # what memory was last found to do for
        self._diffs_sized: tuple[Any, ...] = ()  # likewise, and down to which layer
        self._callbacks: dict[str, list[Callback]] = {
            "before_forward": [],
            "after_forward": [],
            "before_backward": [],
            "after_backward": [],
        }

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

    @cached_property
    def _first_of_name(self) -> dict[str, int]:
        """Indices of layers by name; of equal names the first."""
        names = list(self._layer_names)
        return dict(zip(reversed(names), reversed(range(len(names)))))

    def _names_by_layer(self, index: list[list[int]]) -> OrderedDict[str, list[str]]:
        return OrderedDict(
            (name, [self._blob_names[i] for i in ids]) for name, ids in zip(self._layer_names, index)
        )

    @cached_property
    def blob_loss_weights(self) -> OrderedDict[str, float]:
        """Loss weight of every blob by name (0 for most)."""
        return OrderedDict(zip(self._blob_names, self._loss_weights))

    @property
    def _blob_loss_weights(self) -> DtypeVec:
        return self._loss_weights

    def _bottom_ids(self, layer: int) -> IntVec:
        return IntVec(self._bottom_index[layer])

    def _top_ids(self, layer: int) -> IntVec:
        return IntVec(self._top_index[layer])

    # pycaffe keeps the dictionaries above under these names, and some scripts read them.
    _blobs_dict = property(lambda self: self.blobs)
    _params_dict = property(lambda self: self.params)
    _layer_dict = property(lambda self: self.layer_dict)
    _blob_loss_weights_dict = property(lambda self: self.blob_loss_weights)
    _input_list = property(lambda self: self.inputs)
    _output_list = property(lambda self: self.outputs)
    _top_names = property(lambda self: self.top_names)
    _bottom_names = property(lambda self: self.bottom_names)

    @property
    def name(self) -> str:
        """The net's name in the prototxt."""
        return self._name

    # ---- passes

    @in_one_thread
    @in_own_precision
    @torch.no_grad()
    def reshape(self) -> None:
        """Reshape every layer to the input blobs' shapes, without computing.

        Raises OutOfMemoryError where the net, so shaped, may not take what it needs.
        """
        self._reshape_layers(0, len(self.layers))
        self._sized = self._input_shapes()

    def _reshape_layers(self, start: int, end: int) -> None:
        """Shape layers ``start`` up to, not including, ``end``."""
        for i in range(start, end):
            try:
                reshape_layer(self.layers[i], self._bottoms[i], self._tops[i])
            except FOREIGN as error:
                raise self._named(error, i) from error.__cause__ or error
        self._need(self._byte_counts.forward(), "a forward")

    def _input_shapes(self) -> tuple[Any, ...]:
        return tuple(self._blobs[i].shape for i in self._inputs)

    def _need(self, count: int, what: str) -> None:
        shapes = ", ".join(f"{name} {self.blobs[name].shape}" for name in self.inputs[:3])
        memory.need(count, f"{self._source}: {what} with {shapes or 'these blobs'}")

    def _named(self, error: Exception, i: int) -> CaffeGPError:
        found = named(error, self.layers[i], self._bottoms[i], self._tops[i], self._source, "compute")
        if isinstance(found, OutOfMemoryError):
            needs = self._byte_counts.forward(), self._byte_counts.diffs()
            return type(found)(
                f"{found}. With these shapes the net takes about {needs[0]:,} bytes for a forward, and up to "
                f"{needs[1]:,} more for a backward"
            )
        return found

    @in_one_thread
    @in_own_precision
    @torch.no_grad()
    def _forward(self, start: int, end: int) -> float:
        """Run layers ``start`` to ``end``, both included, reshaping each first; returns the summed loss."""
        if not 0 <= start < len(self.layers) or not 0 <= end < len(self.layers):
            raise NetError(f"{self._source}: layer range {start}..{end} is outside 0..{len(self.layers) - 1}")
        if self._input_shapes() != self._sized:
            self.reshape()  # before anything is taken
        before, after = self._callbacks["before_forward"], self._callbacks["after_forward"]
        watched = bool(before or after or self.debug_info)  # by somebody who sees blobs between two layers
        # In most nets there is nothing to leave out.
        changes = self._changes if self._changes and mode.device().type == "cpu" and not is_bf16() else None
        done = False  # this layer, with the last one
        loss: Any = 0.0
        for i in range(start, end + 1):
            if done:
                done = False
                continue
            for function in before:
                function(i)
            layer, bottom, top = self.layers[i], self._bottoms[i], self._tops[i]
            try:
                reshape_layer(layer, bottom, top)
                shapes = None if layer.reshapes_by_shape else [blob.shape for blob in top]
                if changes is not None:
                    changes.before(i, end)
                else:
                    layer.window = None  # of an earlier pass that knew what changes
                if self._rectified[i] and i < end and not watched:
                    done = layer.forward_rectified(bottom, top)
                else:
                    layer.forward(bottom, top)
                if changes is not None:
                    changes.after(i, i + done)
                for blob in self._loss_tops[i]:
                    loss = loss + (blob.data_tensor * blob.diff_tensor).sum()
            except FOREIGN as error:
                raise self._named(error, i) from error.__cause__ or error
            if shapes and [blob.shape for blob in top] != shapes:  # as many rows as were found
                self._reshape_layers(i + 1, end + 1)
            if self.debug_info:
                debug_info.log_forward(self, i)
            for function in after:
                function(i)
        return float(loss)

    @contextmanager
    def only_diffs(self, *names: str) -> Iterator[None]:
        """Within it a backward computes what the diffs of these blobs need, and keeps no others.

        No parameter's diff is computed, and a forward keeps nothing for one. Weights that are needed in
        another form only may be let go until somebody asks for them. Whoever reads another blob's
        diff after that raises NetError until a pass writes it anew. The diffs of the layer that a backward
        starts with stay. On a GPU passes return no arrays, which would be copies of all that is asked for.
        With callbacks or ``debug_info`` everything is computed: whoever looks sees all.
        """
        before, learns = self._only, [layer.param_propagate_down for layer in self.layers]
        if fast.wanted() and not any(self._callbacks.values()) and not self.debug_info:
            self._only = tuple(self.blobs[name] for name in names)
            for layer in self.layers:
                layer.param_propagate_down = [False] * len(layer.param_propagate_down)
                layer.weights_may_go = True
        try:
            yield
        finally:
            self._only = before
            for layer, learned in zip(self.layers, learns):
                layer.param_propagate_down, layer.weights_may_go = learned, before is not None

    def _needs_now(self) -> Needs | None:
        if self._only is None:
            return None
        key = self._only, self._sized
        if self._needs is None or self._needs[0] != key:
            self._needs = key, Needs(self.layers, self._bottoms, self._tops, self._only)
        return self._needs[1]

    def _next_rectifies(self, i: int) -> bool:
        """Whether the next layer is a plain ReLU in place on the only top of layer ``i``."""
        if i + 1 == len(self.layers) or self.layers[i + 1].type != "ReLU" or self._loss_tops[i]:
            return False
        param = self.layers[i + 1].layer_param.relu_param
        in_place = len(self._tops[i]) == 1 and self._tops[i] == self._bottoms[i + 1] == self._tops[i + 1]
        return in_place and not param.negative_slope and not self._loss_tops[i + 1]

    @in_one_thread
    @in_own_precision
    @torch.no_grad()
    def _backward(self, start: int, end: int) -> None:
        """Run backward from layer ``start`` down to layer ``end``, both included, where needed."""
        if not 0 <= start < len(self.layers) or not 0 <= end < len(self.layers):
            raise NetError(f"{self._source}: layer range {start}..{end} is outside 0..{len(self.layers) - 1}")
        if self._diffs_sized != (end, self._sized):
            self._need(self._byte_counts.forward() + self._byte_counts.diffs(end), "a forward and a backward")
            self._diffs_sized = end, self._sized
        before, after = self._callbacks["before_backward"], self._callbacks["after_backward"]
        needs = None if before or after or self.debug_info else self._needs_now()  # whoever looks sees all
        for i in range(start, end - 1, -1):
            for function in before:
                function(i)
            if self._layer_need_backward[i]:
                layer, bottom, top = self.layers[i], self._bottoms[i], self._tops[i]
                try:
                    layer.diff_window = needs.part(layer, bottom) if needs else None
                    layer.backward(top, self._bottom_need_backward[i], bottom)
                except FOREIGN as error:
                    raise self._named(error, i) from error.__cause__ or error
                finally:
                    layer.diff_window = None
                if self.debug_info:
                    debug_info.log_backward(self, i)
                if needs and i != start and not self._loss_tops[i]:  # their diffs are the losses' weights
                    needs.release(layer, bottom, top)
            for function in after:
                function(i)

    @in_one_thread
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
        if self._leaves_arrays():
            return {}
        return {name: self.blobs[name].data for name in wanted}

    @in_one_thread
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
        if self._leaves_arrays():
            return {}
        kept = self._only if self._only is not None and fast.wanted() else None  # others may be gone
        return {name: self.blobs[name].diff for name in wanted if kept is None or self.blobs[name] in kept}

    def _leaves_arrays(self) -> bool:
        """Whether a pass has left its results on the device, where whoever wants some asks for them."""
        if self._only is None or not device_array.is_wanted():
            return False
        device_array.wait()
        return True

    def _layer_index(self, name: str) -> int:
        try:
            return self._first_of_name[name]
        except KeyError:
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

    @in_one_thread
    def forward_all(self, blobs: Sequence[str] | None = None, **kwargs: Any) -> dict[str, np.ndarray]:
        """Forward any number of inputs batch by batch; returns copies, one row an input."""
        results: dict[str, list[np.ndarray]] = {name: [] for name in set(self.outputs) | set(blobs or ())}
        for batch in self._batch(kwargs):
            for name, values in self.forward(blobs=blobs, **batch).items():
                results[name].extend(values.copy())
        return _trimmed(results, kwargs)

    @in_one_thread
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

    # ---- parameters

    def copy_from(self, path: str | os.PathLike[str]) -> None:
        """Load weights by layer name from a caffemodel or HDF5 file.

        As in Caffe: layers of the file without a namesake here are skipped, layers here without one in the
        file keep their fillers. Raises WeightsError when counts or shapes differ.
        """
        with proto.read_weights(os.fspath(path)) as weights:
            for name, source_blobs in weights:
                if name in self._first_of_name:
                    self._load_layer(os.fspath(path), name, source_blobs, weights.format == "hdf5")
                else:
                    log.info("Ignoring source layer %s", name)

    def _load_layer(self, path: str, name: str, source_blobs: Sequence[Any], hdf5: bool) -> None:
        target = self.layers[self._first_of_name[name]].blobs
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
            blob.fill_from(source)

    def share_with(self, other: Net) -> None:
        """Use the parameter memory of the layers of ``other`` that have the same names."""
        for name, layer in zip(other._layer_names, other.layers):
            if name not in self._first_of_name:
                continue
            target = self.layers[self._first_of_name[name]].blobs
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
        """Write the parameters in Caffe's HDF5 layout: shared ones once, at their owner; diffs always."""
        owned = {id(blob) for blob in self.learnable_params}
        arrays = {
            name: [blob.read_data() if id(blob) in owned else None for blob in blobs]
            for name, blobs in self.params.items()
        }
        proto.write_hdf5(os.fspath(path), self._param, arrays, **self._diffs_if(write_diff))

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
        layer.reset(data, labels)

    _set_input_arrays = set_input_arrays


def _trimmed(results: dict[str, list[np.ndarray]], arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    total = len(next(iter(arrays.values()))) if arrays else None
    return {name: np.asarray(rows[:total]) for name, rows in results.items()}


if TYPE_CHECKING:
    from caffe_gp.gp import pycaffe

    def _has_what_guided_perturbations_use(net: Net) -> pycaffe.Net:
        return net

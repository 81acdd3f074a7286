"""A net, and the one blob of it that is moved: images in, an error signal back, the rest of the net again."""

from __future__ import annotations

from typing import Any, Mapping, NoReturn, Sequence, cast

import numpy as np

from caffe_gp.errors import DataError, NetError, UsageError, check_array
from caffe_gp.gp.passes import TruncatedPass, view_layers
from caffe_gp.gp.pycaffe import (
    AnyNet,
    Blob,
    Net,
    diff_on_device,
    read_data,
    read_diff,
    write_data,
    write_diff,
)
from caffe_gp.gp.softmaxes import finals, probabilities
from caffe_gp.one_thread import OneThread


class PerturbedNet:
    """What every guided perturbation needs of a net.

    net     a ``caffe.Net`` of either engine, or what ``load_net``, ``load_model`` or ``wrap_module`` return
    score   blob of class scores, (N, C, H, W) or (N, C); default: the bottom of the net's last Softmax, or
            its only output
    blob    the blob to perturb: the input ('data', whatever its name is) or an inner one ('pool3')

    Attributes: ``net``, ``input``, ``blob``, ``score`` (names), ``found_score`` (it was not given) and
    ``restart``, the passes between blob and score. Raises NetError when the blobs do not suit.
    """

    def __init__(self, net: AnyNet, *, score: str | None = None, blob: str = "data") -> None:
        for what, name in (("blob", blob), ("score", score)):
            if name is not None and not isinstance(name, str) or name == "":
                raise DataError(f"{what} must be the name of a blob, found {name!r}")
        loaded: Any = getattr(net, "net", None)
        net = loaded if hasattr(loaded, "net") else net  # a LoadedModel holds a loaded net
        score, image_blob = score or getattr(net, "score", None), getattr(net, "data", None)
        self._other_inputs: Mapping[str, np.ndarray] = getattr(net, "other_inputs", {})
        self.net: Net = getattr(net, "net", cast(Net, net))
        # The embedded Caffe's nets have one; of BVLC Caffe's, each method looks after itself.
        self.one_thread = getattr(self.net, "one_thread", OneThread("this net"))
        if not self.net.inputs:
            raise NetError(
                "the net has no Input layer to put images in; load it with engine.load_net, which adds one"
            )
        self.input = image_blob or self.net.inputs[0]
        self.blob = self.input if blob == "data" and blob not in self.net.blobs else blob
        self.found_score = score is None
        self.score = score or find_score(self.net)
        self.restart = TruncatedPass(self.net, self.blob, self.score)
        if tuple(self.net.blobs[self.score].shape)[1:2] == (1,):
            raise NetError(
                f"the score blob '{self.score}' has one channel: the Softmax of one class is 1 everywhere "
                "and sends nothing back; guided perturbations need a channel for every class"
            )

    def __reduce__(self) -> NoReturn:
        refuse_pickle(f"a {type(self).__name__}", "load_net (load_model, wrap_module)")

    def set_images(self, images: np.ndarray) -> None:
        """Put preprocessed images (N, C, H, W) into the input; the net is reshaped if need be.

        DataError for images that do not fit the input's axes and channels, are no floating-point numbers, are
        empty or not finite.
        """
        blob = self.net.blobs[self.input]
        shape = tuple(blob.shape)
        if images.ndim != len(shape) or images.shape[1:2] != shape[1:2]:
            raise DataError(
                f"images of shape {images.shape}: the input blob '{self.input}' is {tuple(shape)}, and only "
                "the number of images and their size may differ"
            )
        if images.dtype.kind != "f":
            raise DataError(
                f"images of type {images.dtype}: expected float32, preprocessed as the net expects "
                "(Preprocess.batch does that)"
            )
        if 0 in images.shape:
            raise DataError(f"images of shape {images.shape} hold no values")
        images = images.astype(np.float32, copy=False)
        # NaN in a max pooling's window makes BVLC Caffe's backward write outside the blob.
        if not np.isfinite(images).all():
            raise DataError("the images hold NaN or infinite values")
        if images.shape != shape:
            blob.reshape(*images.shape)
        write_data(blob, images)
        for name, values in self._other_inputs.items():
            _put(self.net.blobs[name], values, shape, images.shape)

    def set_signal(self, signal: np.ndarray) -> None:
        """Write an error signal, in the score's shape, to its diff.

        DataError for another shape or type, NetError if it is not finite.
        """
        check_array(
            signal, f"the error signal at '{self.score}'", "f", tuple(self.net.blobs[self.score].shape)
        )
        if not np.isfinite(signal).all():
            raise NetError(f"the scores '{self.score}' are not finite: check the weights and the scale")
        write_diff(self.net.blobs[self.score], signal)

    def diff(self, on_device: bool = False) -> np.ndarray:
        """The blob's diff after ``restart.backward()``, to be read at once. NetError for NaN.

        on_device   on a GPU it may stay there, for formulas that can do with that
        """
        blob = self.net.blobs[self.blob]
        diff = diff_on_device(blob) if on_device else None
        if diff is None:
            diff = np.ascontiguousarray(read_diff(blob))
        if np.isnan(diff).any():
            raise NetError(f"the diff of blob '{self.blob}' holds NaN: gradients overflow in this net")
        return diff

    def why_no_gradient(self, no_signal: str) -> str:
        """The message for a diff that is zero everywhere; ``no_signal``: why the signal may be, or ''."""
        where = f"the diff of blob '{self.blob}' is zero everywhere"
        if no_signal:
            return f"{where} because {no_signal}"
        params = [read_data(blob) for blobs in self.net.params.values() for blob in blobs]
        if params and not any(param.any() for param in params):
            return (
                f"{where}: all weights are zero; no caffemodel was loaded, or none of its layer names match"
            )
        return (
            f"{where} although the signal at '{self.score}' is not. Likely causes: the net backpropagates "
            "nothing (no loss weight and no 'force_backward: true' in the prototxt: load it with "
            "engine.load_net, which prepares it); a layer between them passes no gradient (dead ReLUs, "
            "'propagate_down: false', ArgMax); the weights were not loaded or do not belong to this net"
        )


def refuse_pickle(what: str, opened_by: str) -> NoReturn:
    """UsageError: a pickle would carry the weights, hundreds of megabytes, to each process and each time.

    Nor could files be opened again in its place: values that were changed in memory would be lost unseen.
    """
    raise UsageError(
        f"{what} is not pickled or copied, since its weights would be too: have each process open its own. "
        f"Give joblib or multiprocessing a function that calls {opened_by}, and its files' names"
    )


def _put(other: Blob, values: np.ndarray, before: Sequence[int], images: Sequence[int]) -> None:
    """Fill another input for each of the images; constants as large as the image, if it was so before."""
    shape = tuple(other.shape)
    size = values.shape[2:]
    if set(size) <= {1}:
        size = tuple(images[2:]) if shape[2:] == tuple(before[2:]) else shape[2:]
    wanted = (images[0], *shape[1:2], *size)
    if wanted != shape:
        other.reshape(*wanted)
    write_data(other, np.broadcast_to(values, tuple(other.shape)))


def find_score(net: Net) -> str:
    """Name of the class-score blob of a net: the bottom of its Softmax, else its only output.

    A Softmax in the middle of the net, like attention's, does not count. Raises NetError, listing the
    candidates, when that leaves a choice, and for an output of probabilities.
    """
    layers = view_layers(net)
    split_of = {top: layer.bottoms[0] for layer in layers if layer.type == "Split" for top in layer.tops}
    silenced = {bottom for layer in layers if layer.type == "Silence" for bottom in layer.bottoms}
    found = [
        split_of.get(layer.bottoms[0], layer.bottoms[0])
        for layer, final in zip(layers, finals(layers))
        if layer.type in ("Softmax", "SoftmaxWithLoss")
        and layer.bottoms[0] != layer.tops[0]
        and not silenced.intersection(layer.tops)
        and final
    ]
    candidates = list(dict.fromkeys(found)) or list(net.outputs)
    if len(candidates) == 1 and candidates[0] not in probabilities(layers):
        return candidates[0]
    raise NetError(
        f"which blob holds the class scores? Candidates: {', '.join(candidates)}; name it with score="
    )

"""Guided perturbations of whole images by their nearest training images (section 5, "Image Classification").

    method = NeighbourPerturbation(loaded)                 # a net from engine.load_net
    base, features = method.look(images)                    # one forward pass
    rows, _ = Neighbours(bank).nearest(features["ip1"], 3)   # bank: the training images' features
    signs = directions[rows].sum(axis=1)                    # of method.directions(training images, labels)
    labels = method.after(signs, eps / 3)                   # X + eps * sum_i w_i sign(grad_i), w_i = 1/3

The paper prints the gradient of the loss J. Descending J and ascending the class's probability are one
direction: eq. (5) for a one-hot label is y_k (l - y), and the gradient of the cross-entropy is y - l. They
differ by the sign and by a positive factor for each image, which sign() removes. As everywhere here ``+eps``
goes towards the label, as in the paper's Figures 8 and 9; ``-eps`` is the adversary.
"""

from __future__ import annotations

from typing import Sequence

import numpy as np

from caffe_gp.errors import DataError, NetError, ZeroGradientError, check_array, did_you_mean
from caffe_gp.gp import steps
from caffe_gp.gp.passes import view_layers
from caffe_gp.gp.perturbed_net import PerturbedNet
from caffe_gp.gp.pycaffe import AnyNet, Net, read_data, write_data
from caffe_gp.one_thread import in_one_thread


class NeighbourPerturbation(PerturbedNet):
    """Moves one blob of a classification net towards classes that the caller names.

    net        a ``caffe.Net`` of either engine, or what ``engines.load_net`` returns
    score      blob of class scores, (N, C) or (N, C, 1, 1); default: found as in ``PerturbedNet``
    blob       the blob to perturb: 'data' or an inner one
    features   blobs to hand out for the search of neighbours; default: ``find_features``

    Raises NetError when the blobs do not suit.
    """

    def __init__(
        self,
        net: AnyNet,
        *,
        score: str | None = None,
        blob: str = "data",
        features: Sequence[str] | None = None,
    ) -> None:
        super().__init__(net, score=score, blob=blob)
        shape = tuple(self.net.blobs[self.score].shape)
        if len(shape) < 2 or any(size != 1 for size in shape[2:]):
            raise NetError(
                f"the score blob '{self.score}' has shape {tuple(shape)}: nearest neighbours are for nets "
                "that label whole images, (N, C) or (N, C, 1, 1)"
            )
        self.classes = int(shape[1])
        features = features or getattr(net, "features", None)  # a wrapped module says which
        self.features = list(features) if features else [find_features(self.net, self.score)]
        for name in self.features:
            if name not in self.net.blobs:
                hint = did_you_mean(name, (blob for blob in self.net.blobs if "_split_" not in blob))
                raise NetError(f"the net has no blob '{name}' to take features from{hint}")
        self._start: np.ndarray | None = None
        self._has_gradient = False

    @in_one_thread
    def look(self, images: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Forward: labels (N,) int64 and the features of each blob, (N, D) float32.

        images   (N, C, H, W) float32, what the net's input expects
        A tie between scores goes to the smaller class. Raises DataError for images that do not fit.
        """
        self.set_images(np.asarray(images))
        self.restart.whole()
        self._start = None
        return self._labels(), {name: self._features(name, len(images)) for name in self.features}

    @in_one_thread
    def toward(self, classes: np.ndarray) -> np.ndarray:
        """Backward: the sign of the gradient of p(class) at the blob, int8 in its shape.

        classes   (N,) integers, one for each image of the last ``look``
        Raises DataError for classes that the net lacks, ZeroGradientError if no image so far had one.
        """
        self._move_back()
        score = read_data(self.net.blobs[self.score])
        signal = class_signal(score.reshape(len(score), -1), np.asarray(classes))
        self.set_signal(signal.reshape(score.shape))
        self.restart.backward()
        direction = steps.direction("sign", self.diff())
        # One image may well lie where every ReLU is dead; a net without any gradient is a mistake.
        self._has_gradient = self._has_gradient or bool(direction.any())
        if not self._has_gradient:
            raise ZeroGradientError(self.why_no_gradient(""))
        return direction

    def directions(self, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """``look`` and ``toward`` at once: for a training image and its own class, the paper's gradient."""
        self.look(images)
        return self.toward(classes)

    @in_one_thread
    def after(self, steps: np.ndarray, eps: float) -> np.ndarray:
        """Labels (N,) int64 of the images of the last ``look`` with the blob moved by ``eps * steps``.

        steps   like the blob, for example a sum of ``toward``'s signs with ``eps`` divided by their number
        DataError for steps of another shape and for an ``eps`` that is no finite number.
        """
        blob = self.net.blobs[self.blob]
        check_array(steps, f"steps of blob '{self.blob}'", "iuf", tuple(blob.shape))
        if not isinstance(eps, (int, float, np.number)) or not np.isfinite(eps):
            raise DataError(f"eps must be a finite number, found {eps!r}")
        if self._start is None:
            self._start = np.array(read_data(blob), order="C")
        moved = steps.astype(np.float32)
        moved *= np.float32(eps)
        moved += self._start
        write_data(blob, moved)
        self.restart.forward()
        return self._labels()

    def _labels(self) -> np.ndarray:
        score = read_data(self.net.blobs[self.score])
        return score.reshape(len(score), -1).argmax(axis=1)

    def _features(self, name: str, images: int) -> np.ndarray:
        data = read_data(self.net.blobs[name])
        if data.shape[:1] != (images,):
            raise NetError(f"blob '{name}' has shape {data.shape}: features need one row for each image")
        return data.reshape(images, -1).astype(np.float32)

    def _move_back(self) -> None:
        """Undo the last ``after``."""
        if self._start is not None:
            write_data(self.net.blobs[self.blob], self._start)
            self.restart.forward()
            self._start = None


def class_signal(scores: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Eq. (5) for one-hot labels, up to a positive factor for each image: (N, C) float32.

    scores    (N, C), before the Softmax
    classes   (N,) integers: the label of each image
    Nets are so sure of their training images that 1 - y_k is 0 in float32 for many of them: y_k (l - y) would
    then push the other classes down and nothing up. Divided by y_k and by the largest other probability it is
    -exp(z_j - max z_other) and, at k, minus the sum of these, without any cancellation. Raises
    DataError for labels that are no classes of the scores.
    """
    _check_classes(scores, classes)
    z = np.array(scores, dtype=np.float64)
    images = np.arange(len(z))
    z[images, classes] = -np.inf
    signal = -np.exp(z - z.max(axis=1, keepdims=True))
    signal[images, classes] = -signal.sum(axis=1)
    return signal.astype(np.float32)


def find_features(net: Net, score: str) -> str:
    """The blob that the class scores are computed from: the bottom of the layer with weights that makes them.

    Layers without weights between that layer and the score (pooling, Flatten, ReLU) are passed over. In-place
    layers on the blob (ReLU, Dropout) belong to its value. Raises NetError if there is no such layer.
    """
    layers = view_layers(net)
    original = {top: layer.bottoms[0] for layer in layers if layer.type == "Split" for top in layer.tops}
    wanted = score
    for layer in reversed(layers):
        if wanted not in layer.tops or not layer.bottoms:
            continue
        below = original.get(layer.bottoms[0], layer.bottoms[0])
        if layer.name in net.params and below != wanted:
            return below
        wanted = below
    raise NetError(f"no layer with weights makes the scores '{score}': name the feature blob (--features)")


def _check_classes(scores: np.ndarray, classes: np.ndarray) -> None:
    if classes.shape != scores.shape[:1] or classes.dtype.kind not in "iu":
        raise DataError(
            f"one integer class for each of {len(scores)} images expected, found {classes.dtype} in shape "
            f"{classes.shape}"
        )
    wrong = (classes < 0) | (classes >= scores.shape[1])
    if wrong.any():
        raise DataError(
            f"class {classes[wrong][0]}: the net has {scores.shape[1]} classes (0..{scores.shape[1] - 1})"
        )

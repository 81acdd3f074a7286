"""What an engine computes for a net and a batch of images."""

from __future__ import annotations

from typing import Callable

import numpy as np

from caffe_gp.engines import GPNet
from caffe_gp.gp import GuidedPerturbation, encodings
from caffe_gp.gp.passes import TruncatedPass

Signal = Callable[[np.ndarray], np.ndarray]


def observe(loaded: GPNet, images: np.ndarray, eps: float) -> dict[str, np.ndarray]:
    """One guided perturbation of ``images`` at the input, step ``eps``.

    score   class scores of the first pass, float32
    diff    what the one-hot error signal at the scores has become at the input, float32
    base, moved   label maps before and after the step
    A score of one channel, of foreground, has no Softmax: its label is 1 where it is positive, and the signal
    is +1 there and -1 elsewhere.
    """
    net = loaded.net
    data, score = net.blobs[loaded.data], net.blobs[loaded.score]
    found = {}
    if score.data.shape[1] > 1:

        def keep_scores(done: int, total: int, what: str) -> None:
            if done == 1:
                found["score"] = score.data.copy()

        result = GuidedPerturbation(loaded, on_progress=keep_scores)(images, eps)
        found["diff"] = data.diff.copy()
        found["base"], found["moved"] = result.base_labels, result.labels
        return found
    data.reshape(*images.shape)
    data.data[...] = images
    net.forward()
    found = {"score": score.data.copy(), "base": (score.data[:, 0] > 0).astype(np.int32)}
    score.diff[...] = _signal(score.data)
    TruncatedPass(net, loaded.data, loaded.score).backward()
    found["diff"] = data.diff.copy()
    data.data[...] = images + np.float32(eps) * np.sign(found["diff"])
    net.forward()
    found["moved"] = (score.data[:, 0] > 0).astype(np.int32)
    return found


# ---- the gradient apart from its jumps
#
# The gradient of ReLU, Clip and MAX pooling jumps where their input crosses a kink or two inputs tie. Scores
# that agree to 1e-6 therefore come with gradients that differ visibly at a few pixels of a deep net, on any
# two programs. To compare the backward passes themselves, one engine is given the other's activations.

_LINEAR = ("Input", "Convolution", "Deconvolution", "InnerProduct", "BatchNorm", "Scale", "Bias", "Crop",
           "Concat", "Tile", "Dropout", "Reshape", "Flatten", "BN", "DepthwiseConvolution", "Interp",
           "Upsample", "Unpooling", "UnPooling", "LRN", "ShuffleChannel", "CropCenter", "Axpy",
           "ConvolutionDepthwise")  # fmt: skip


def activations(loaded: GPNet, image: np.ndarray, signal: Signal | None = None) -> dict[str, np.ndarray]:
    """Every blob of the net for one image (1, C, H, W) and, as 'diff', the diff at the input over them.

    signal   the scores' diff, of the scores; None for the error signal of their own labels
    Blobs that Split layers make are left out: they are copies. Of layers in place that remember what they
    overwrite, that is here as 'input NAME'.
    """
    net = loaded.net
    data, score = net.blobs[loaded.data], net.blobs[loaded.score]
    data.reshape(*image.shape)
    data.data[...] = image
    inputs: dict[str, np.ndarray] = {}
    names, done = list(net._layer_names), False

    def keep(i: int) -> None:
        name = names[i]
        bottoms, kind = net.bottom_names[name], net.layers[i].type
        if not done and kind not in (*_LINEAR, "ReLU") and bottoms == net.top_names[name]:
            inputs[f"input {name}"] = net.blobs[bottoms[0]].data.copy()

    net.before_forward(keep)
    net.forward()
    done = True  # nothing takes a callback away
    score.diff[...] = (signal or _signal)(score.data)
    blobs = {name: blob.data.copy() for name, blob in net.blobs.items() if "_split_" not in name}
    TruncatedPass(net, loaded.data, loaded.score).backward()
    return {"diff": data.diff.copy(), **inputs, **{f"blob {name}": values for name, values in blobs.items()}}


def score_on(loaded: GPNet, theirs: dict[str, np.ndarray]) -> np.ndarray:
    """The scores for another engine's image, with the places that its MAX pooling chose.

    Unpooling puts values where pooling found them, so a tie that falls the other way moves whole values.
    """
    net = loaded.net
    net.blobs[loaded.data].reshape(*theirs[f"blob {loaded.data}"].shape)
    net.blobs[loaded.data].data[...] = theirs[f"blob {loaded.data}"]
    for i, (name, layer) in enumerate(zip(net._layer_names, net.layers)):
        net._forward(i, i)
        if layer.type == "Pooling":
            for mask in net.top_names[name][1:]:
                net.blobs[mask].data[...] = theirs[f"blob {mask}"]
    return net.blobs[loaded.score].data.copy()


def score_from(loaded: GPNet, theirs: dict[str, np.ndarray], blob: str) -> tuple[np.ndarray, np.ndarray]:
    """Our value of ``blob``, and the scores that the layers after it make of another engine's value of it."""
    net = loaded.net
    net.blobs[loaded.data].data[...] = theirs[f"blob {loaded.data}"]
    net.forward()
    ours = net.blobs[blob].data.copy()
    net.blobs[blob].data[...] = theirs[f"blob {blob}"]
    names = list(net._layer_names)
    maker = max(i for i, name in enumerate(names) if blob in net.top_names[name])
    net._forward(maker + 1, len(names) - 1)
    return ours, net.blobs[loaded.score].data.copy()


def diff_on(loaded: GPNet, theirs: dict[str, np.ndarray], signal: Signal | None = None) -> np.ndarray:
    """The diff at the input of a backward pass over another engine's activations; ``signal`` as there."""
    net = loaded.net
    blobs = {key[len("blob ") :]: values for key, values in theirs.items() if key.startswith("blob ")}
    net.blobs[loaded.data].reshape(*blobs[loaded.data].shape)
    net.blobs[loaded.data].data[...] = blobs[loaded.data]
    net.forward()

    def put(names: list[str]) -> None:
        for name in names:
            if name in blobs:
                net.blobs[name].data[...] = blobs[name]

    put(list(blobs))
    for i, (name, layer) in enumerate(zip(net._layer_names, net.layers)):
        if layer.type not in _LINEAR:  # let it see their input, for what it remembers until its backward
            if f"input {name}" in theirs:
                net.blobs[net.bottom_names[name][0]].data[...] = theirs[f"input {name}"]
            net._forward(i, i)
            put(net.top_names[name])
    put(list(blobs))
    net.blobs[loaded.score].diff[...] = (signal or _signal)(blobs[loaded.score])
    TruncatedPass(net, loaded.data, loaded.score).backward()
    return net.blobs[loaded.data].diff.copy()


def labels_after(loaded: GPNet, image: np.ndarray, diff: np.ndarray, eps: float) -> np.ndarray:
    """The label map after one step of ``eps`` along the sign of ``diff``."""
    net = loaded.net
    net.blobs[loaded.data].data[...] = image + np.float32(eps) * np.sign(diff)
    net.forward()
    return net.blobs[loaded.score].data.argmax(1)


def _signal(scores: np.ndarray) -> np.ndarray:
    """The error signal of the scores' own labels."""
    if scores.shape[1] == 1:
        return np.where(scores > 0, 1, -1)
    probabilities = encodings.softmax(scores)
    return encodings.error_signal(probabilities, encodings.label_distribution("onehot", probabilities))

"""What the files of other frameworks look like: their keys, and how their arrays become Caffe's blobs.

Caffe's own layout: a convolution's weights are (out, in, h, w), correlated with the image, not flipped; a
deconvolution's (in, out, h, w), for which it is the same operation backwards; MultiStageMeanfield has the
spatial, the bilateral and the compatibility matrix, (1, 1, L, L) each. Images are blue, green, red.
"""

from __future__ import annotations

from typing import Any, Iterable, Sequence

import numpy as np

from caffe_gp.errors import WeightsError
from caffe_gp.models.convert.archives import KERAS, MATLAB, NUMPY, TORCH, Archive

_CRF = ("spatial_ker_weights", "bilateral_ker_weights", "compatibility_matrix")


class Format:
    """One layout. ``container`` is the kind of Archive; the defaults below are what most formats do."""

    name = ""
    container = ""

    def looks_like(self, keys: Iterable[str]) -> bool:
        """Whether a file with these keys has this layout."""
        raise NotImplementedError

    def key(self, layer: Any, blob: int) -> str:
        """Where parameter blob ``blob`` of ``layer`` (a LayerParameter) is."""
        raise NotImplementedError

    def arrange(self, array: np.ndarray, layer: Any, blob: int) -> np.ndarray:
        """The file's array as Caffe's blob. ValueError if it has another number of axes."""
        if layer.type == "MultiStageMeanfield":
            return array.reshape(1, 1, *array.shape)
        return array

    def default(self, layer: Any) -> float | None:
        """The value that fills a blob which these files lack; None where they have it."""
        return None

    def ignores(self, key: str, net: Any) -> bool:
        """Whether ``key`` may be there although ``net`` has no use for it."""
        return False

    def check_ignored(self, key: str, archive: Archive) -> None:
        """Raise WeightsError if it matters after all that ``key`` is left out."""


def _part(names: Sequence[str], blob: int) -> str:
    """The name of a layer's parameter; layers with more than two of them are in none of these files."""
    return names[blob] if blob < len(names) else f"blob{blob}"


def _without_crf(net: Any) -> bool:
    return not any(layer.type == "MultiStageMeanfield" for layer in net.layer)


class KerasCRFasRNN(Format):
    """``crfrnn_keras_model.h5`` of sadeepj/crfasrnn_keras.

    Read there: src/crfrnn_model.py (layers are named as in Caffe, the CRF 'crfrnn'; score2 has a bias, score4
    and upsample have none), src/crfrnn_layer.py (three L x L matrices multiply from the left and the pairwise
    term is subtracted, as in Caffe: no transpose, no sign), src/util.py (images are blue, green, red).

    Keras keeps kernels as (h, w, in, out), of transposed convolutions as (h, w, out, in), and flips neither.
    """

    name = "keras-crfasrnn"
    container = KERAS

    def looks_like(self, keys: Iterable[str]) -> bool:
        return "score-fr/kernel" in keys

    def key(self, layer: Any, blob: int) -> str:
        if layer.type == "MultiStageMeanfield":
            return f"crfrnn/{_CRF[blob]}"
        return f"{layer.name}/{_part(('kernel', 'bias'), blob)}"

    def arrange(self, array: np.ndarray, layer: Any, blob: int) -> np.ndarray:
        if array.ndim == 4:
            return array.transpose(3, 2, 0, 1)
        return super().arrange(array, layer, blob)

    def ignores(self, key: str, net: Any) -> bool:
        return key.startswith("crfrnn/") and _without_crf(net)


class TorchCRFasRNN(Format):
    """``crfasrnn_weights.pth`` of sadeepj/crfasrnn_pytorch, a state dict.

    Read there: crfasrnn/fcn8s.py (the names of wkentaro's FCN-8s for the layers of CRF-RNN; upscore2 has a
    bias), crfasrnn/crfrnn.py (matrices multiply from the left; the pairwise term is ADDED and the
    compatibility matrix starts as +I, where Caffe subtracts and starts at -I: so its sign changes),
    crfasrnn/util.py (images are blue, green, red). PyTorch's kernels are laid out as Caffe's, transposed
    convolutions included.

    Assumed: that the released file goes with this code, the only version there is. Conversion refuses a
    compatibility matrix whose sign says otherwise.
    """

    name = "torch-crfasrnn"
    container = TORCH
    NAMES = {
        "score-fr": "score_fr",
        "score2": "upscore2",
        "score-pool4": "score_pool4",
        "score4": "upscore_pool4",
        "score-pool3": "score_pool3",
        "upsample": "upscore8",
    }

    def looks_like(self, keys: Iterable[str]) -> bool:
        return "upscore2.bias" in keys

    def key(self, layer: Any, blob: int) -> str:
        if layer.type == "MultiStageMeanfield":
            return f"crfrnn.{_CRF[blob]}"
        return f"{self.NAMES.get(layer.name, layer.name)}.{_part(('weight', 'bias'), blob)}"

    def arrange(self, array: np.ndarray, layer: Any, blob: int) -> np.ndarray:
        if layer.type == "MultiStageMeanfield" and blob == 2:
            array = -array
        return super().arrange(array, layer, blob)

    def ignores(self, key: str, net: Any) -> bool:
        return key.startswith("crfrnn.") and _without_crf(net)


class _WithoutScales(Format):
    """wkentaro's ports have the two factors of FCN-8s-atonce in their code, not in their files."""

    def default(self, layer: Any) -> float | None:
        return layer.scale_param.filler.value if layer.type == "Scale" else None


class TorchFCN(_WithoutScales):
    """``fcn*_from_caffe.pth`` of wkentaro/pytorch-fcn, state dicts.

    Read there: torchfcn/models/fcn32s.py, fcn16s.py, fcn8s.py (layers named as in Caffe, no bias in the
    upsampling) and examples/voc/model_caffe_to_pytorch.py, which copied Caffe's blobs as they are, image
    channels included. It left scale_pool4 and scale_pool3 of FCN-8s-atonce out; they are filled from the
    net's description. The files of FCN-8s and FCN-8s-atonce cannot be told apart.
    """

    name = "torch-fcn"
    container = TORCH

    def looks_like(self, keys: Iterable[str]) -> bool:
        return "score_fr.weight" in keys and "upscore2.bias" not in keys

    def key(self, layer: Any, blob: int) -> str:
        return f"{layer.name}.{_part(('weight', 'bias'), blob)}"


class ChainerFCN(_WithoutScales):
    """``fcn*_from_caffe.npz`` of wkentaro/fcn, as Chainer's save_npz writes a Chain.

    Read there: fcn/models/fcn32s.py, fcn8s.py, fcn8s_atonce.py (layers named as in Caffe) and
    examples/voc/caffe_to_chainermodel.py, which copied Caffe's blobs as they are. Older versions of the
    models gave the upsampling a bias that Caffe's has not; it stayed zero, and is left out here if it is.
    """

    name = "chainer-fcn"
    container = NUMPY

    def looks_like(self, keys: Iterable[str]) -> bool:
        return "score_fr/W" in keys

    def key(self, layer: Any, blob: int) -> str:
        return f"{layer.name}/{_part('Wb', blob)}"

    def ignores(self, key: str, net: Any) -> bool:
        return any(layer.type == "Deconvolution" and key == self.key(layer, 1) for layer in net.layer)

    def check_ignored(self, key: str, archive: Archive) -> None:
        if archive.array(key).any():
            raise WeightsError(f"{archive.path}: '{key}' is not zero, but the net's layer has no bias")


class MatConvNetFCN(Format):
    """``pascal-fcn8s-tvg-dag.mat`` of MatConvNet: CRF-RNN's net without the CRF, for fcn-8s-coco.

    Read in vlfeat/matconvnet: utils/import-caffe.py and utils/layers.py, which made the file. All axes of a
    Caffe blob are reversed and the two of the image swapped back, so kernels are (h, w, in, out), transposed
    convolutions (h, w, out, in), as matlab/vl_nnconvt.m says, not flipped; the first convolution's input
    channels are reversed, since images are red, green, blue there (vlfeat/matconvnet-fcn, fcnTest.m). Hyphens
    in names become underscores. Parameters are named conv1_1f and conv1_1b in this file, conv1_1_filter and
    conv1_1_bias in later ones: two public loaders of both (Keras, Lasagne) agree on that and on the axes.

    Assumed: that the file was imported with the default options (transposed, blue-green-red network).
    The older pascal-fcn8s-dag.mat are not the "heavy" weights of FCN.
    """

    name = "matconvnet-fcn"
    container = MATLAB

    def looks_like(self, keys: Iterable[str]) -> bool:
        return "score_fr/filter" in keys

    def key(self, layer: Any, blob: int) -> str:
        return f"{layer.name.replace('-', '_')}/{_part(('filter', 'bias'), blob)}"

    def arrange(self, array: np.ndarray, layer: Any, blob: int) -> np.ndarray:
        if layer.type == "MultiStageMeanfield" or blob == 1:
            return array.reshape(-1)
        array = array.transpose(3, 2, 0, 1)
        return array[:, ::-1] if "data" in layer.bottom else array


FORMATS: dict[str, Format] = {
    format.name: format
    for format in (KerasCRFasRNN(), TorchCRFasRNN(), TorchFCN(), ChainerFCN(), MatConvNetFCN())
}

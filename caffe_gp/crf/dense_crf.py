"""The dense CRF that is put behind a segmentation net (Kraehenbuehl & Koltun, NIPS 2011; DeepLab's "+CRF").

    crf = DenseCRF(image, PRESETS["deeplab"])       # image: the photograph, not the preprocessed blob
    labels = crf.labels(scores)                     # scores: (L, H, W), a net's output before any softmax

Potts model, a spatial and a bilateral Gaussian kernel, mean-field inference without damping.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from caffe_gp.crf.meanfield import Steps
from caffe_gp.crf.rows import NumpyRows, Rows


@dataclass(frozen=True)
class CRFSettings:
    """A dense CRF's parameters, by DeepLab's names.

    bi_w, bi_xy_std, bi_rgb_std   bilateral kernel: weight, standard deviations in pixels and in grey levels
    pos_w, pos_xy_std             spatial kernel: weight, standard deviation in pixels
    max_iter                      mean-field iterations
    normalization                 of both kernels, see ``Kernel``
    """

    bi_w: float
    bi_xy_std: float
    bi_rgb_std: float
    pos_w: float
    pos_xy_std: float
    max_iter: int = 10
    normalization: str = "after"


PRESETS = {
    # DeepLab v2's script for VOC val, on score files.
    "deeplab": CRFSettings(bi_w=4, bi_xy_std=49, bi_rgb_std=5, pos_w=3, pos_xy_std=3),
    # Where DeepLab v2's grid search starts.
    "deeplab-grid-search": CRFSettings(bi_w=5, bi_xy_std=50, bi_rgb_std=10, pos_w=3, pos_xy_std=3),
    # Defaults of DeepLab's two programs, for score files and for probability files.
    "deeplab-mat": CRFSettings(bi_w=5, bi_xy_std=70, bi_rgb_std=5, pos_w=3, pos_xy_std=3),
    "deeplab-bin": CRFSettings(bi_w=10, bi_xy_std=60, bi_rgb_std=20, pos_w=3, pos_xy_std=3),
    # Used with a retrained DeepLab-ResNet101 (kazuto1011/deeplab-pytorch).
    "deeplab-pytorch": CRFSettings(bi_w=4, bi_xy_std=67, bi_rgb_std=3, pos_w=3, pos_xy_std=1),
    # CRF-RNN before training.
    "crfrnn": CRFSettings(bi_w=5, bi_xy_std=160, bi_rgb_std=3, pos_w=3, pos_xy_std=3),
}


class DenseCRF:
    """A dense CRF over one image; its kernels are built once, for any number of score maps.

    image     (H, W, 3) or (H, W), grey levels 0..255, the order of channels does not matter. DeepLab takes
              the photograph itself, also after guided perturbations.
    settings  see CRFSettings and PRESETS
    arrays    where to compute, see Rows (arguments and results are numpy's in any case)
    """

    def __init__(self, image: np.ndarray, settings: CRFSettings, arrays: Rows = NumpyRows) -> None:
        if image.ndim not in (2, 3):
            raise ValueError(f"an image has shape (H, W) or (H, W, channels), found {image.shape}")
        self.settings = settings
        height, width = image.shape[:2]
        self.size = height, width
        self._arrays = arrays
        channels = arrays.array(np.ascontiguousarray(np.atleast_3d(image).transpose(2, 0, 1)))
        s = settings
        self._weights = s.pos_w, s.bi_w
        self._kernels = (
            arrays.spatial_kernel(height, width, s.pos_xy_std, s.normalization),
            arrays.bilateral_kernel(channels, s.bi_xy_std, s.bi_rgb_std, s.normalization),
        )

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Scores (L, H, W) -> probabilities (L, H, W) float32 after inference.

        Unary energies are the negative scores; a constant a pixel makes no difference, so logarithms of
        probabilities give the same. ValueError for another size than the image's.
        """
        if scores.ndim != 3 or scores.shape[1:] != self.size:
            raise ValueError(f"scores have shape (L, {self.size[0]}, {self.size[1]}), found {scores.shape}")
        arrays, classes = self._arrays, len(scores)
        # Potts: equal labels gain the kernel's weight.
        unit = np.eye(classes, dtype=np.float32)
        gains = [arrays.matrix(arrays.array(weight * unit)) for weight in self._weights]
        unary = arrays.rows(arrays.array(scores.astype(np.float32)))
        q = Steps(arrays).forward(self._kernels, gains, unary, unary, classes, self.settings.max_iter)
        arrays.softmax(q, classes, q)
        return arrays.numpy(arrays.maps(q, scores.shape))

    def labels(self, scores: np.ndarray) -> np.ndarray:
        """Scores (L, H, W) -> the most probable label of every pixel, (H, W) int64."""
        return self.probabilities(scores).argmax(axis=0)

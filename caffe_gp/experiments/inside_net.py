"""Looking inside a net for figures 3 and 6: its scores before upsampling, and where they lie in the image."""

from __future__ import annotations

import numpy as np

from caffe_gp.errors import NetError
from caffe_gp.evaluation.labeller import Labeller
from caffe_gp.gp import GuidedPerturbation
from caffe_gp.gp.passes import TruncatedPass, view_layers
from caffe_gp.images.preprocess import Canvas

_UPSAMPLING = ("Crop", "Deconvolution", "Interp", "Split")


def before_upsampling(gp: GuidedPerturbation) -> str:
    """The blob that the net's scores are upsampled from: 'score_fr' of FCN-32s; the scores if none are."""
    blob = gp.score
    for layer in reversed(view_layers(gp.net)):
        if blob in layer.tops:
            if layer.type not in _UPSAMPLING:
                break
            blob = layer.bottoms[0]
    return blob


def grid(gp: GuidedPerturbation, coarse: str) -> tuple[np.ndarray, np.ndarray]:
    """Where the pixels of the score blob lie in ``coarse``: (rows of each y, columns of each x), float.

    Whatever crops and paddings lie between: ramps put into ``coarse`` come out of the upsampling layers as
    those coordinates. Changes the blobs from ``coarse`` on. NetError if no interpolation lies between.
    """
    high, wide = gp.net.blobs[gp.score].data.shape[2:]
    if coarse == gp.score:
        return np.arange(high, dtype=np.float64), np.arange(wide, dtype=np.float64)
    upsampling = TruncatedPass(gp.net, coarse, gp.score)
    rows, columns = np.indices(gp.net.blobs[coarse].data.shape[2:])
    outputs = []
    for ramp in (np.ones_like(rows), rows, columns):
        gp.net.blobs[coarse].data[...] = 0
        gp.net.blobs[coarse].data[0, 0] = ramp
        upsampling.forward()
        outputs.append(gp.net.blobs[gp.score].data[0, 0].astype(np.float64))
    ones, y, x = outputs
    with np.errstate(divide="ignore", invalid="ignore"):
        found = (y / ones)[:, wide // 2], (x / ones)[high // 2]
    for values in found:
        if not np.isfinite(values).all() or (np.diff(values) < -1e-3).any():
            raise NetError(f"the layers between '{coarse}' and '{gp.score}' do not interpolate")
    return found


def crop(picture: np.ndarray, canvas: Canvas) -> np.ndarray:
    """The part of a picture of the canvas that holds image."""
    return picture[: canvas.valid[0], : canvas.valid[1]]


def pixels(labeller: Labeller, canvas: Canvas, added: np.ndarray | float = 0.0) -> np.ndarray:
    """What the net is fed, as a picture (h, w, 3) uint8 BGR without padding; ``added`` (C, H, W) to it."""
    preprocess = labeller.preprocess
    data = (canvas.data + np.float32(1) * added) / np.float32(preprocess.scale)
    if preprocess.channel_order == "rgb" and preprocess.channels == 3:
        data = data[::-1]
    picture = data.transpose(1, 2, 0) + np.asarray(preprocess.mean, np.float32)
    picture = np.clip(np.round(np.broadcast_to(picture, (*picture.shape[:2], 3))), 0, 255)
    return crop(picture.astype(np.uint8), canvas)

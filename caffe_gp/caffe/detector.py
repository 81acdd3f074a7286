"""Detector: a net that classifies windows of images (pycaffe's ``caffe.Detector``; R-CNN)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from caffe_gp.caffe import io
from caffe_gp.caffe.classifier import input_transformer
from caffe_gp.caffe.layers.base import TEST
from caffe_gp.caffe.net import Net
from caffe_gp.errors import DataError


class Detector(Net):
    """``Detector(model_file, pretrained_file).detect_windows([(filename, windows)])``.

    ``context_pad``: width of the border of each warped window that shows the window's surroundings, in
    pixels of the net's input; what lies outside the image is the mean. Other options are the Transformer's.
    """

    def __init__(
        self,
        model_file: str | os.PathLike[str],
        pretrained_file: str | os.PathLike[str],
        mean: np.ndarray | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
        context_pad: int | None = None,
    ) -> None:
        super().__init__(model_file, TEST, weights=pretrained_file)
        self.transformer = input_transformer(self, mean, input_scale, raw_scale, channel_swap)
        self.configure_crop(context_pad)

    def detect_windows(self, images_windows: Iterable[tuple[str, np.ndarray]]) -> list[dict[str, Any]]:
        """Predictions for windows (ymin, xmin, ymax, xmax) of image files.

        Returns a dict ``{"window", "prediction", "filename"}`` for each, in the order given.
        """
        windows = [(name, window) for name, of_image in images_windows for window in of_image]
        if not windows:
            return []
        in_ = self.inputs[0]
        batch = np.empty((len(windows), *self.blobs[in_].shape[1:]), np.float32)
        loaded, image = None, np.empty(0)
        for i, (name, window) in enumerate(windows):
            if name != loaded:
                loaded, image = name, io.load_image(name)
            batch[i] = self.transformer.preprocess(in_, self.crop(image, window))
        predictions = self.forward_all(None, **{in_: batch})[self.outputs[0]]
        return [
            {"window": window, "prediction": prediction, "filename": name}
            for (name, window), prediction in zip(windows, predictions, strict=True)
        ]

    def detect_selective_search(self, image_fnames: Sequence[str]) -> list[dict[str, Any]]:
        """Not offered: selective search is MATLAB code. Always raises DataError with what to do instead."""
        raise DataError(
            "detect_selective_search needs the MATLAB code of selective search, which is not part of this "
            "program. Make the windows yourself (cv2.ximgproc has a selective search) and call detect_windows"
        )

    def crop(self, im: np.ndarray, window: Sequence[int]) -> np.ndarray:
        """The window (ymin, xmin, ymax, xmax) of an (H, W, C) image, with context if that was asked for."""
        box = np.asarray(window).astype(int)
        if not self.context_pad:
            return im[box[0] : box[2], box[1] : box[3]]
        side = int(self.crop_dims[0])  # nets of this kind take squares
        half = (box[2:] - box[:2] + 1) / 2.0
        center = box[:2] + half
        grown = half * (side / (side - 2.0 * self.context_pad))
        first, last = np.round(center - grown), np.round(center + grown)
        scale = side / (last - first + 1)
        pad = np.round(np.maximum(0, -first) * scale).astype(int)
        limits = np.array(im.shape[:2])
        first, last = np.clip(first, 0, limits).astype(int), np.clip(last, 0, limits).astype(int)
        size = np.minimum(np.round((last - first + 1) * scale).astype(int), side - pad)
        if (last <= first).any() or (size < 1).any():
            raise DataError(f"the window {box.tolist()} does not lie in the image of {limits.tolist()}")
        context = io.resize_image(im[first[0] : last[0], first[1] : last[1]], size)
        out = np.ones(self.crop_dims, np.float32) * self.crop_mean
        out[pad[0] : pad[0] + size[0], pad[1] : pad[1] + size[1]] = context
        return out

    def configure_crop(self, context_pad: int | None) -> None:
        """Set the amount of context; prepares the mean, as the image that preprocessing would make zero."""
        in_ = self.inputs[0]
        shape = self.blobs[in_].shape[1:]
        self.crop_dims = np.array([shape[1], shape[2], shape[0]])
        self.context_pad = context_pad
        if not context_pad:
            return
        if 2 * context_pad >= shape[2]:
            raise DataError(f"context_pad {context_pad} leaves nothing of an input {shape[2]} wide")
        self.crop_mean = np.zeros(self.crop_dims, np.float32)
        mean = self.transformer.mean.get(in_)
        if mean is not None:
            swap = self.transformer.channel_swap.get(in_)
            image = np.broadcast_to(mean, shape).transpose(1, 2, 0)
            if swap is not None:
                image = image[:, :, np.argsort(swap)]
            self.crop_mean = image / self.transformer.raw_scale.get(in_, 1.0)

"""How images are fed to a net: as told, else as its data layer says, else as assumed; and in which words."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Union

import numpy as np

from caffe_gp import proto
from caffe_gp.errors import DataError, NetError, UsageError
from caffe_gp.images.inputs import read_array
from caffe_gp.images.preprocess import FCN_MEAN, Preprocess
from caffe_gp.surgery.layers import by
from caffe_gp.surgery.prepare import Prepared

MEAN_SUFFIXES = (".binaryproto", ".npy")
Mean = Union[None, str, "tuple[float, ...]"]


@dataclass(frozen=True)
class _Mean:
    """What is subtracted: values for the channels, or an image (C, H, W) as well; ``source`` says whence."""

    values: tuple[float, ...]
    image: np.ndarray | None
    source: str

    def __str__(self) -> str:
        words = ",".join(f"{value:.9g}" for value in self.values)
        if self.image is None:
            return f"mean {words} ({self.source})"
        height, width = self.image.shape[1:]
        return (
            f"the mean image of {width} x {height} ({self.source}), from images of another size its mean of "
            f"each channel {words}"
        )


def preprocess(settings: Any, prepared: Prepared) -> Preprocess:
    """How ``settings`` (``NetSettings``) feed images to a net; adds a sentence to ``prepared.changes``.

    What is given wins over the transform_param of the data layer that was replaced, and that over FCN's mean
    (0 for grey nets) and scale 1. DataError for a mean file that is missing, or none.
    """
    channels = _image_channels(settings.prototxt, prepared)
    resize = settings.resize
    if prepared.fixed and resize is None and settings.pad_to is None:
        resize = tuple(reversed(prepared.input_shape.dim[2:]))
        prepared.changes.append(
            f"images are resized to {resize[0]} x {resize[1]}, the net's own size: {prepared.fixed} "
            "(--resize or --pad-to change how)"
        )
    told = prepared.transform
    if settings.std is not None:
        fed = _by_std(settings, channels, resize)
        replaced = "" if told is None else f"; as given, in place of what {told.source} says"
        prepared.changes.append(f"{_words_of_std(fed)}{replaced}")
        return fed
    mean = _given_mean(settings.mean) or _told_mean(settings, prepared) or _assumed_mean(channels)
    scale, of_scale = settings.scale, "given"
    if scale is None:
        scale, of_scale = (told.scale, told.source) if told is not None else (1.0, "assumed")
    _check_channels(mean, channels)
    fed = Preprocess(
        mean.values, scale, settings.channel_order or "bgr", channels, resize, settings.pad_to, mean.image
    )
    fed_as = f"images: pixels 0..255, minus {mean}, times {scale:.9g} ({of_scale})"
    if told is None and settings.mean is None:
        fed_as += "; nothing says how this net was fed, so give --mean and --scale where that is wrong"
    prepared.changes.append(fed_as)
    if told is not None and settings.mean is not None:
        said = told.mean_file or ",".join(f"{value:.9g}" for value in told.mean) or "0"
        prepared.changes.append(f"--mean, as given, replaces the mean of {told.source}: {said}")
    if told is not None and settings.scale not in (None, told.scale):
        prepared.changes.append(f"--scale, as given, replaces the scale of {told.source}: {told.scale:.9g}")
    if told is not None and told.left_out:
        prepared.changes.append(f"{told.left_out} of {told.source}: for training, not done here")
    return fed


def module_preprocess(settings: Any, channels: int) -> Preprocess:
    """How ``settings`` feed images of so many channels to a PyTorch module: they say it, nothing else does.

    UsageError where they do not say it.
    """
    if settings.mean is None or (settings.std is None) == (settings.scale is None):
        raise UsageError(
            f"--module {settings.module}: say how it is fed, as nothing in a module does: --mean R,G,B with "
            "--std R,G,B for images of 0..1 (torchvision's nets: --mean 0.485,0.456,0.406 --std "
            "0.229,0.224,0.225), or --mean B,G,R with --scale F for grey levels 0..255 (Caffe's way; --scale "
            "1 leaves them)"
        )
    if settings.std is not None:
        return _by_std(settings, channels, settings.resize)
    mean = _given_mean(settings.mean)
    assert mean is not None
    _check_channels(mean, channels)
    order = settings.channel_order or "bgr"
    return Preprocess(
        mean.values, settings.scale, order, channels, settings.resize, settings.pad_to, mean.image
    )


def module_words(fed: Preprocess) -> str:
    """How a module is fed, as a sentence."""
    if fed.std is not None:
        return _words_of_std(fed)
    mean = _Mean(fed.mean, fed.mean_image, "given")
    order = f"{fed.channel_order}, " if fed.channels == 3 else "grey, "
    return f"images: {order}pixels 0..255, minus {mean}, times {fed.scale:.9g} (given)"


def _by_std(settings: Any, channels: int, resize: Any) -> Preprocess:
    """Torchvision's way."""
    if settings.mean is None or isinstance(settings.mean, str) or settings.scale is not None:
        raise UsageError(
            "--std goes with --mean of values 0..1, red, green, blue, and without --scale: "
            "x = (pixel / 255 - mean) / std"
        )
    return Preprocess(
        tuple(settings.mean),
        1.0,
        settings.channel_order or "rgb",
        channels,
        resize,
        settings.pad_to,
        std=tuple(settings.std),
    )


def _words_of_std(fed: Preprocess) -> str:
    assert fed.std is not None
    mean, std = (",".join(f"{value:.9g}" for value in values) for values in (fed.mean, fed.std))
    order = f"{fed.channel_order}, " if fed.channels == 3 else "grey, "
    return f"images: {order}pixels / 255, minus mean {mean}, over std {std} (given)"


def _image_channels(prototxt: str, prepared: Prepared) -> int:
    """Channels of the images; NetError for an input that no image file fills."""
    shape, data = tuple(prepared.input_shape.dim), prepared.data
    layer = next(layer for layer in prepared.net.layer if data in layer.top)
    where = f"{prototxt}: input '{data}' of layer '{layer.name}' has the shape {by(shape)}"
    if len(shape) != 4:
        raise NetError(
            f"{where}; an image is N x C x H x W: nets of volumes, sequences or vectors do not take images"
        )
    if shape[1] not in (1, 3):
        raise NetError(
            f"{where}, {shape[1]} channels; image files have 1 (grey) or 3 (colour). From Python "
            "GuidedPerturbation takes arrays of any number of channels"
        )
    return shape[1]


def read_mean(path: str) -> np.ndarray:
    """A mean image (C, H, W), or values of the channels (C,), float32, of a .binaryproto or .npy file."""
    if not os.path.isfile(path):
        raise DataError(f"{path}: no such mean file")
    values = read_array(path) if path.endswith(".npy") else proto.read_blob(path)
    values = np.asarray(values, dtype=np.float32)
    if values.ndim == 4 and values.shape[0] == 1:
        values = values[0]
    if values.ndim == 3 and values.shape[1:] == (1, 1):
        values = values[:, 0, 0]
    if values.ndim not in (1, 3) or not values.size or not np.isfinite(values).all():
        raise DataError(
            f"{path}: a mean of shape {values.shape}; expected an image, (1, C, H, W) or (C, H, W), or a "
            "value for each of C channels"
        )
    return values


def _of_file(path: str, source: str) -> _Mean:
    values = read_mean(path)
    if values.ndim == 1:
        return _Mean(tuple(values.tolist()), None, source)
    return _Mean(tuple(values.mean(axis=(1, 2), dtype=np.float64).tolist()), values, source)


def _given_mean(mean: Mean) -> _Mean | None:
    if isinstance(mean, str):
        return _of_file(mean, mean)
    return None if mean is None else _Mean(tuple(mean), None, "given")


def _told_mean(settings: Any, prepared: Prepared) -> _Mean | None:
    told = prepared.transform
    if told is None:
        return None
    if not told.mean_file:
        return _Mean(told.mean or (0.0,), None, told.source)
    folder = os.path.dirname(os.path.abspath(settings.prototxt))
    beside = [os.path.join(folder, name) for name in (told.mean_file, os.path.basename(told.mean_file))]
    for path in (told.mean_file, *beside):
        if os.path.isfile(path):
            return _of_file(path, f"{path}, of {told.source}")
    raise DataError(
        f"{settings.prototxt}: {told.source} subtracts the mean of {told.mean_file}, which is neither there "
        "nor beside the prototxt: put it there, or give --mean FILE or --mean B,G,R"
    )


def _assumed_mean(channels: int) -> _Mean:
    if channels == 3:
        return _Mean(FCN_MEAN, None, "assumed: FCN's, blue, green, red")
    return _Mean((0.0,), None, "assumed")


def _check_channels(mean: _Mean, channels: int) -> None:
    if len(mean.values) not in (1, channels):
        raise UsageError(
            f"the mean ({mean.source}) has {len(mean.values)} values, the net's input has {channels} "
            f"channel(s): expected 1 value or {channels}{' (blue, green, red)' if channels == 3 else ''}"
        )

"""Images and message conversions: pycaffe's ``caffe.io``, without its scikit-image dependency.

Images are float32 (H, W, C) arrays in [0, 1], RGB, as ``load_image`` gives them; a Transformer turns them
into a net's (C, H, W).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.ndimage
from scipy.ndimage import zoom

from caffe_gp.caffe.proto import caffe_pb2
from caffe_gp.errors import DataError
from caffe_gp.images.reading import bits_of, opened
from caffe_gp.proto.wire import raw_values

__all__ = [
    "ShapeError", "Transformer", "array_to_blobproto", "array_to_datum", "arraylist_to_blobprotovector_str",
    "blobproto_to_array", "blobprotovector_str_to_arraylist", "caffe_pb2", "datum_to_array", "load_image",
    "np", "oversample", "resize_image", "zoom",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """``skimage`` and its ``resize``, which scripts use from here; imported when they do."""
    if name not in ("skimage", "resize"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        import skimage.io
        import skimage.transform
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"caffe.io.{name} is scikit-image's, which is not installed: pip install scikit-image",
            name=error.name,
        ) from error
    return skimage if name == "skimage" else skimage.transform.resize


class ShapeError(DataError, ValueError):
    """An array or message of the wrong shape. Also a ValueError, which is what pycaffe raises."""


# ---- messages and arrays


def blobproto_to_array(blob: Any, return_diff: bool = False) -> np.ndarray:
    """The data (or diff) of a BlobProto, float64, in its shape; legacy ones are 4-D.

    Of a file of NVIDIA Caffe or OpenCV its raw values. ShapeError where they do not fit its shape,
    WeightsError for raw values of a type that is not read.
    """
    legacy = [name for name in ("num", "channels", "height", "width") if blob.HasField(name)]
    shape = (blob.num, blob.channels, blob.height, blob.width) if legacy else tuple(blob.shape.dim)
    side = "diff" if return_diff else "data"
    values, raw, kind = np.array(getattr(blob, side), np.float64), f"raw_{side}", f"raw_{side}_type"
    if not values.size and blob.HasField(raw):
        found = getattr(blob, kind) if blob.HasField(kind) else None
        values = raw_values(getattr(blob, raw), found, shape).astype(np.float64)
    if values.size != np.prod(shape, dtype=np.int64):
        raise ShapeError(f"a BlobProto of shape {shape} holds {values.size} {side} values")
    return values.reshape(shape)


def array_to_blobproto(arr: np.ndarray, diff: np.ndarray | None = None) -> Any:
    """A BlobProto of the array's shape and values, with ``diff`` if given."""
    blob = caffe_pb2.BlobProto()
    blob.shape.dim.extend(arr.shape)
    blob.data.extend(np.asarray(arr, np.float64).ravel())
    if diff is not None:
        blob.diff.extend(np.asarray(diff, np.float64).ravel())
    return blob


def arraylist_to_blobprotovector_str(arraylist: Iterable[np.ndarray]) -> bytes:
    """A serialized BlobProtoVector of the arrays."""
    blobs = [array_to_blobproto(array) for array in arraylist]
    return caffe_pb2.BlobProtoVector(blobs=blobs).SerializeToString()


def blobprotovector_str_to_arraylist(str: bytes) -> list[np.ndarray]:
    """The arrays of a serialized BlobProtoVector."""
    return [blobproto_to_array(blob) for blob in caffe_pb2.BlobProtoVector.FromString(str).blobs]


def array_to_datum(arr: np.ndarray, label: int | None = None) -> Any:
    """A Datum of a (C, H, W) array: uint8 as bytes, everything else as floats."""
    if arr.ndim != 3:
        raise ShapeError(f"Incorrect array shape: expected (channels, height, width), found {arr.shape}")
    datum = caffe_pb2.Datum()
    datum.channels, datum.height, datum.width = arr.shape
    if arr.dtype == np.uint8:
        datum.data = arr.tobytes()
    else:
        datum.float_data.extend(arr.astype(np.float64).ravel())
    if label is not None:
        datum.label = int(label)
    return datum


def datum_to_array(datum: Any) -> np.ndarray:
    """The (C, H, W) array of a Datum: uint8, or float64 where it holds floats. Not for encoded images."""
    if datum.encoded:
        raise DataError("the Datum holds an encoded image; decode it with cv2.imdecode or PIL")
    if len(datum.data):
        values = np.frombuffer(datum.data, np.uint8).copy()
    else:
        values = np.array(datum.float_data, np.float64)
    shape = (datum.channels, datum.height, datum.width)
    if values.size != np.prod(shape, dtype=np.int64):
        raise ShapeError(f"a Datum of shape {shape} holds {values.size} values")
    return values.reshape(shape)


# ---- a net's input


class Transformer:
    """Turns images into net inputs and back.

    ``inputs`` maps input names to blob shapes (N, C, H, W). ``preprocess`` does, as far as set: resize to
    (H, W), transpose, channel swap, times raw_scale, minus mean, times input_scale. ``deprocess`` undoes
    all but the resizing. Raises DataError for an unknown input or a setting that does not fit.
    """

    def __init__(self, inputs: Mapping[str, Sequence[int]]) -> None:
        self.inputs = inputs
        self.transpose: dict[str, Sequence[int]] = {}
        self.channel_swap: dict[str, Sequence[int]] = {}
        self.raw_scale: dict[str, float] = {}
        self.mean: dict[str, np.ndarray] = {}
        self.input_scale: dict[str, float] = {}

    def _shape(self, in_: str) -> tuple[int, ...]:
        if in_ not in self.inputs:
            raise DataError(f"{in_} is not one of the net inputs: {', '.join(self.inputs)}")
        return tuple(self.inputs[in_])

    def preprocess(self, in_: str, data: np.ndarray) -> np.ndarray:
        """A new float32 (C, H, W) array for input ``in_`` from an (H', W', C) image."""
        size = self._shape(in_)[2:]
        image = np.array(data, np.float32)
        if image.shape[:2] != size:
            image = resize_image(image, size)
        if in_ in self.transpose:
            image = image.transpose(self.transpose[in_])
        if in_ in self.channel_swap:
            image = image[list(self.channel_swap[in_])]
        if in_ in self.raw_scale:
            image = image * np.float32(self.raw_scale[in_])
        if in_ in self.mean:
            image = (image - self.mean[in_]).astype(np.float32)
        if in_ in self.input_scale:
            image = image * np.float32(self.input_scale[in_])
        return image

    def deprocess(self, in_: str, data: np.ndarray) -> np.ndarray:
        """The image that ``preprocess`` would turn into ``data`` (its size apart), of the same dtype."""
        self._shape(in_)
        image = np.array(data).squeeze()
        computed = any(in_ in each for each in (self.input_scale, self.mean, self.raw_scale))
        if computed and image.dtype.kind != "f":
            raise DataError(f"deprocess needs floats where a mean or a scale is set, found {image.dtype}")
        # In place, so that the type stays: white must not come out above 1 in float64.
        if in_ in self.input_scale:
            image /= self.input_scale[in_]
        if in_ in self.mean:
            image += self.mean[in_]
        if in_ in self.raw_scale:
            image /= self.raw_scale[in_]
        if in_ in self.channel_swap:
            image = image[np.argsort(self.channel_swap[in_])]
        if in_ in self.transpose:
            image = image.transpose(np.argsort(self.transpose[in_]))
        return image

    def set_transpose(self, in_: str, order: Sequence[int]) -> None:
        """Order of the dimensions: (2, 0, 1) makes (C, H, W) of (H, W, C)."""
        if len(order) != len(self._shape(in_)) - 1:
            raise DataError("Transpose order needs to have the same number of dimensions as the input.")
        self.transpose[in_] = order

    def set_channel_swap(self, in_: str, order: Sequence[int]) -> None:
        """Order of the channels, counted after the transpose: (2, 1, 0) makes BGR of RGB."""
        if len(order) != self._shape(in_)[1]:
            raise DataError("Channel swap needs to have the same number of dimensions as the input channels.")
        self.channel_swap[in_] = order

    def set_raw_scale(self, in_: str, scale: float) -> None:
        """Factor before the mean is subtracted: 255 for nets trained on 0..255."""
        self._shape(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_: str, mean: np.ndarray) -> None:
        """What to subtract: one value a channel, or an image (C, H', W') or (H', W'), resized if need be."""
        channels, *size = self._shape(in_)[1:]
        if mean.ndim == 1:
            if len(mean) != channels:
                raise ShapeError(f"Mean channels incompatible with input: {len(mean)} for {channels}")
            self.mean[in_] = mean[:, np.newaxis, np.newaxis]
            return
        if mean.ndim not in (2, 3):
            raise ShapeError(f"Mean shape invalid: {mean.shape}")
        image = mean[np.newaxis] if mean.ndim == 2 else mean
        if image.shape != (channels, *size):
            image = resize_image(image.transpose(1, 2, 0), tuple(size)).transpose(2, 0, 1)
        self.mean[in_] = image

    def set_input_scale(self, in_: str, scale: float) -> None:
        """Factor after the mean was subtracted."""
        self._shape(in_)
        self.input_scale[in_] = scale


# ---- images


def load_image(filename: str | os.PathLike[str], color: bool = True) -> np.ndarray:
    """An image file as float32 in [0, 1]: (H, W, 3) RGB, or (H, W, 1) grey with ``color=False``.

    Grey is 0.2125 R + 0.7154 G + 0.0721 B, as scikit-image's; an alpha channel is dropped. The file's
    rotation mark (EXIF) is not applied. Whole numbers of 16 and 32 bits are divided by their range,
    floating-point numbers stay as they are. Raises DataError for a file that is no image.
    """
    stored, in_range = _stored(filename)
    out = np.empty((*stored.shape[:2], 3 if color else 1), np.float32)
    many = max(1, _PIXELS // stored.shape[1])
    for first in range(0, len(stored), many):  # float64 takes eight times the memory of the file's bytes
        rows = slice(first, first + many)
        values = in_range(stored[rows])
        if values.ndim == 2:
            values = values[:, :, np.newaxis]
        elif not color:
            values = (values @ np.array([0.2125, 0.7154, 0.0721]))[:, :, np.newaxis]
        out[rows] = values
    return out


_PIXELS = 1 << 16  # that are converted at once, in whole rows


def _stored(filename: str | os.PathLike[str]) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """The pixels as they are stored, (H, W) or (H, W, 3), and what makes float64 in [0, 1] of them."""
    with opened(filename) as image:
        bits, mode = bits_of(image), image.mode
        if bits > 8:
            stored = np.array(image)
        else:
            wanted = "L" if mode in ("1", "L", "LA") else "RGB"
            stored = np.array(image if mode == wanted else image.convert(wanted))
    if mode == "F":
        return stored, lambda values: values.astype(np.float64)
    if bits > 16:
        return stored, lambda values: (values.astype(np.float64) + 0.5) * 2 / (2**32 - 1)
    return stored, lambda values: values / (65535.0 if bits > 8 else 255.0)


def resize_image(im: np.ndarray, new_dims: Sequence[int], interp_order: int = 1) -> np.ndarray:
    """The (H, W, C) image at (height, width) ``new_dims``, float32.

    ``interp_order`` 0 is nearest, 1 linear, 3 cubic (Catmull-Rom); 2, 4 and 5 are splines. With 1 or 3
    channels, what scikit-image's ``resize(mode="constant")`` gave when pycaffe was written: pixel centres at
    half integers, no smoothing before shrinking, and the image's minimum beyond its border (so enlarged
    borders darken a little, with splines to the minimum itself). Other numbers of channels use
    ``scipy.ndimage.zoom``, which aligns the corner pixels: pycaffe's rule too.
    """
    height, width = (int(n) for n in new_dims)
    if im.ndim != 3 or 0 in im.shape or min(height, width) < 1:
        raise DataError(f"cannot resize an array of shape {im.shape} to {height}x{width}; expected (H, W, C)")
    if im.shape[-1] not in (1, 3):
        scale = (height / im.shape[0], width / im.shape[1], 1)
        return scipy.ndimage.zoom(im, scale, order=interp_order).astype(np.float32)
    low, high = float(im.min()), float(im.max())
    if high <= low:
        return np.full((height, width, im.shape[-1]), low, np.float32)
    above = im.astype(np.float64) - low  # 0 beyond the border is then the minimum
    if interp_order in (2, 4, 5):
        resized = _resize_by_spline(above, height, width, interp_order)
    else:
        resized = _resize_axis(_resize_axis(above, height, 0, interp_order), width, 1, interp_order)
    return (np.clip(resized, 0, high - low) + low).astype(np.float32)


def _resize_axis(image: np.ndarray, size: int, axis: int, order: int) -> np.ndarray:
    """Interpolate along one axis with pixel centres at half integers and zeros outside."""
    old = image.shape[axis]
    position = _positions(size, old)
    first = np.floor(position).astype(int)
    shape = [1, 1, 1]
    shape[axis] = size
    total: Any = 0.0
    for offset, weight in _weights(position - first, order):
        index = first + offset
        weight = np.where((index >= 0) & (index < old), weight, 0).reshape(shape)
        total = total + np.take(image, index.clip(0, old - 1), axis) * weight
    return total


def _positions(size: int, old: int) -> np.ndarray:
    """Where the centres of ``size`` pixels lie among ``old`` ones."""
    return (np.arange(size) + 0.5) * old / size - 0.5


def _resize_by_spline(image: np.ndarray, height: int, width: int, order: int) -> np.ndarray:
    """SciPy's splines, as scikit-image uses them; pixels outside the old centres are 0."""
    rows, columns = _positions(height, image.shape[0]), _positions(width, image.shape[1])
    places = np.meshgrid(rows, columns, indexing="ij")
    planes = [scipy.ndimage.map_coordinates(plane, places, order=order) for plane in np.moveaxis(image, 2, 0)]
    return np.stack(planes, 2)


def _weights(x: np.ndarray, order: int) -> list[tuple[int, np.ndarray]]:
    """Pixels to weigh, counted from the one before the position, and weights; ``x`` in [0, 1) is the rest."""
    if order == 0:
        return [(0, x < 0.5), (1, x >= 0.5)]
    if order == 1:
        return [(0, 1 - x), (1, x)]
    if order == 3:  # Catmull-Rom
        return [
            (-1, ((2 - x) * x - 1) * x / 2),
            (0, ((3 * x - 5) * x * x + 2) / 2),
            (1, ((4 - 3 * x) * x + 1) * x / 2),
            (2, (x - 1) * x * x / 2),
        ]
    raise DataError(
        f"interp_order must be 0 (nearest), 1 (linear), 3 (cubic) or 2, 4, 5 (splines), found {order}"
    )


def oversample(images: Sequence[np.ndarray], crop_dims: Sequence[int]) -> np.ndarray:
    """Four corners and the centre of each (H, W, C) image, then the same mirrored: (10 N, h, w, C)."""
    crop_height, crop_width = (int(n) for n in crop_dims)
    height, width, channels = images[0].shape
    if crop_height > height or crop_width > width:
        raise DataError(f"crops of {crop_height}x{crop_width} do not fit into images of {height}x{width}")
    bottom, right = height - crop_height, width - crop_width
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]
    crops = np.empty((10 * len(images), crop_height, crop_width, channels), np.float32)
    for i, image in enumerate(images):
        for k, (y, x) in enumerate(corners):
            crop = image[y : y + crop_height, x : x + crop_width]
            crops[10 * i + k], crops[10 * i + 5 + k] = crop, crop[:, ::-1]
    return crops

"""Digit scenes: real handwritten digits on real photographs, made on the spot.

A small segmentation task with the look of the paper's: natural background, objects of 44-70 px in a 96x96
image, occlusion, blur and noise, and classes that are told apart by their shape alone. Everything comes from
files inside the scikit-learn and scikit-image packages, so nothing is downloaded.

Training, validation and test use different digits; training uses the left 60 % of each photograph, validation
and test the rest. Scene ``i`` of a split is a function of (seed, split, i) alone.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Iterable, Tuple

import numpy as np

from caffe_gp.errors import DataError

SIZE = 96
# RGB colours of the classes in pictures, easier to tell apart than VOC's first eleven.
PALETTE = (
    (0, 0, 0), (31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189),
    (140, 86, 75), (247, 130, 210), (235, 225, 60), (0, 60, 140), (23, 210, 220),
)  # fmt: skip

# First and one-after-last of scikit-learn's 1797 digits. Its order goes by writer, so the splits also have
# different writers but for the two at the seams.
DIGIT_SPLITS = {"train": (0, 1200), "val": (1200, 1400), "test": (1400, 1797)}

# Photographs that ship inside the packages (scikit-image downloads its others).
PHOTOGRAPHS = (
    ("sklearn", "datasets/images/china.jpg"),
    ("sklearn", "datasets/images/flower.jpg"),
    ("skimage", "data/astronaut.png"),
    ("skimage", "data/brick.png"),
    ("skimage", "data/camera.png"),
    ("skimage", "data/chelsea.png"),
    ("skimage", "data/coffee.png"),
    ("skimage", "data/coins.png"),
    ("skimage", "data/grass.png"),
    ("skimage", "data/gravel.png"),
    ("skimage", "data/hubble_deep_field.jpg"),
    ("skimage", "data/ihc.png"),
    ("skimage", "data/motorcycle_left.png"),
    ("skimage", "data/rocket.jpg"),
)
TRAIN_SHARE = 0.6
MAX_OVERLAP = 0.08

# How many scenes of a split the sets 'digit-scenes-val' and 'digit-scenes-test' have.
NUMBERS = {"val": 200, "test": 400}

Scene = Tuple[np.ndarray, np.ndarray]


class DigitScenes:
    """A split of the digit scenes: ``scene(i)`` for any i >= 0, or ``batch(indices)``.

    split  'train', 'val' or 'test'
    seed   another seed is another data set of the same kind
    size   height and width in pixels
    Raises DataError for an unknown split or when scikit-learn or scikit-image are missing.
    """

    def __init__(self, split: str, seed: int = 0, size: int = SIZE) -> None:
        if split not in DIGIT_SPLITS:
            raise DataError(f"digit scenes: split must be one of {', '.join(DIGIT_SPLITS)}, found {split!r}")
        self.split, self.seed, self.size = split, seed, size
        first, last = DIGIT_SPLITS[split]
        images, classes = _digits()
        self.digits, self.digit_classes = images[first:last], classes[first:last]
        self.photographs = [_side(photo, split == "train") for photo in _photographs()]
        self._noise = np.random.RandomState([seed, 7]).standard_normal(1 << 18).astype(np.float32)

    def __repr__(self) -> str:
        return f"DigitScenes(split={self.split!r}, seed={self.seed}, size={self.size})"

    def batch(self, indices: Iterable[int]) -> Scene:
        """Several scenes: images (N, H, W, 3) uint8 BGR and labels (N, H, W) uint8."""
        scenes = [self.scene(index) for index in indices]
        return np.stack([image for image, _ in scenes]), np.stack([labels for _, labels in scenes])

    def scene(self, index: int) -> Scene:
        """One scene: image (H, W, 3) uint8 BGR, labels (H, W) uint8 with 0 background and 1 + digit."""
        import cv2

        random = np.random.RandomState([self.seed, list(DIGIT_SPLITS).index(self.split), index])
        size = self.size
        image = self._photo_crop(random, size, size, contrast=random.uniform(0.3, 0.8))
        image += random.uniform(70, 185) + random.normal(0, 12, 3).astype(np.float32)
        labels = np.zeros((size, size), np.uint8)
        for _ in range(random.randint(1, 4)):
            self._add_digit(random, image, labels)
        if random.uniform() < 0.5:
            self._add_line(random, image)
        sigma = random.uniform(0.4, 1.0)
        image[...] = cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
        start = random.randint(0, self._noise.size - image.size)
        image += random.uniform(2, 12) * self._noise[start : start + image.size].reshape(image.shape)
        return np.clip(image + 0.5, 0, 255).astype(np.uint8), labels

    def _photo_crop(
        self, random: np.random.RandomState, height: int, width: int, contrast: float
    ) -> np.ndarray:
        """A random piece of a random photograph, enlarged or reduced, mirrored half the time.

        (height, width, 3) float32 with mean 0, its deviations multiplied by ``contrast``.
        """
        import cv2

        photo = self.photographs[random.randint(len(self.photographs))]
        scale = random.uniform(0.6, 1.6)
        tall = min(int(round(height * scale)), photo.shape[0])
        wide = min(int(round(width * scale)), photo.shape[1])
        top = random.randint(0, photo.shape[0] - tall + 1)
        left = random.randint(0, photo.shape[1] - wide + 1)
        crop = photo[top : top + tall, left : left + wide]
        if random.uniform() < 0.5:
            crop = crop[:, ::-1]
        crop = cv2.resize(crop, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32)
        return (crop - cv2.mean(crop)[:3]).astype(np.float32) * np.float32(contrast)

    def _add_digit(self, random: np.random.RandomState, image: np.ndarray, labels: np.ndarray) -> None:
        """Paint a digit where it overlaps the others little; leave the scene alone if no place is found."""
        which = random.randint(len(self.digits))
        for _ in range(10):
            mask = self._digit_mask(random, self.digits[which])
            pixels = int(mask.sum())
            if pixels and np.count_nonzero(labels[mask]) <= MAX_OVERLAP * pixels:
                break
        else:
            return
        # A low-contrast texture that stands off the background behind it by 55-120 grey levels.
        local = float(image[mask].mean())
        offset = random.uniform(55, 120) * (1 if random.uniform() < 0.5 else -1)
        if not 0 <= local + offset <= 255:
            offset = -offset
        colour = local + offset + random.normal(0, 10, 3).astype(np.float32)
        height, width = image.shape[:2]
        texture = self._photo_crop(random, height, width, random.uniform(0.1, 0.3)) + colour
        image[mask] = texture[mask]
        labels[mask] = 1 + self.digit_classes[which]

    def _digit_mask(self, random: np.random.RandomState, digit: np.ndarray) -> np.ndarray:
        """Where a digit's ink lies after a random affine map, (H, W) bool."""
        extent = random.uniform(44, 70)
        angle = np.deg2rad(random.uniform(-20, 20))
        shear = random.uniform(-0.15, 0.15)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        linear = turn @ np.array([[1, shear], [0, 1]]) * (extent / 8)
        centre = random.uniform(0.4 * extent, self.size - 0.4 * extent, 2)
        shift = centre - linear @ (3.5, 3.5)
        places = np.indices((self.size, self.size))[::-1].reshape(2, -1).T  # x and y of every pixel
        ink = _sampled(digit, (places - shift) @ np.linalg.inv(linear).T)
        return ink.reshape(self.size, self.size) > 0.3

    def _add_line(self, random: np.random.RandomState, image: np.ndarray) -> None:
        """An occluding line of 2-4 px across the scene; what lies behind it keeps its label."""
        import cv2

        size = self.size
        ends = random.randint(0, size, 4)
        start, end = ((0, int(ends[0])), (size, int(ends[1])))
        if random.uniform() < 0.5:
            start, end = start[::-1], end[::-1]
        colour = [float(value) for value in random.uniform(0, 255) + random.normal(0, 20, 3)]
        cv2.line(image, start, end, colour, int(random.randint(2, 5)), cv2.LINE_8)


def write(folder: Path, split: str) -> None:
    """Draw a split's NUMBERS of scenes, seed 0, into ``folder``: images/0000.png, labels/0000.png, ..."""
    import cv2

    scenes = DigitScenes(split)
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for index in range(NUMBERS[split]):
        for part, pixels in zip(("images", "labels"), scenes.scene(index)):
            path = folder / part / f"{index:04d}.png"
            if not cv2.imwrite(str(path), pixels):
                raise DataError(f"{path}: could not be written")


def _sampled(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Bicubic interpolation of an image (H, W), 0 around it, at points (P, 2) of x and y: (P,) float32.

    With Keys' kernel and OpenCV's constant. cv2.warpAffine takes the nearest 1/32 of a pixel before OpenCV 5,
    so scenes would depend on its version.
    """
    x, y = points.astype(np.float32).T
    height, width = image.shape
    rows = _keys(y[:, np.newaxis] - np.arange(height, dtype=np.float32))
    columns = _keys(x[:, np.newaxis] - np.arange(width, dtype=np.float32))
    return np.einsum("pj,pj->p", rows @ image, columns)


def _keys(distance: np.ndarray, a: float = -0.75) -> np.ndarray:
    """The weight of a sample at some distance (Keys 1981, eq. 4, where a is -1/2)."""
    d = np.minimum(np.abs(distance), 2)  # it is 0 from there on
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = (((d - 5) * d + 8) * d - 4) * a
    return np.where(d <= 1, near, far)


def _package_file(package: str, name: str) -> Path:
    """A file inside an installed package, found without importing the package."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        distribution = {"sklearn": "scikit-learn", "skimage": "scikit-image"}[package]
        raise DataError(f"digit scenes need {distribution}: pip install 'caffe_gp[demo]'")
    return Path(list(spec.submodule_search_locations)[0]) / name


@lru_cache(maxsize=None)
def _photographs() -> tuple[np.ndarray, ...]:
    """The bundled photographs, (H, W, 3) uint8 BGR each, none larger than 640 px.

    Larger ones are halved: in their original size a 96 px piece of them shows hardly any structure.
    """
    import cv2

    photos = []
    for package, name in PHOTOGRAPHS:
        path = _package_file(package, name)
        photo = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if photo is None:
            raise DataError(f"{path}: a photograph that should ship with {package} is missing or damaged")
        while max(photo.shape) > 640:
            photo = cv2.resize(photo, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        photo.flags.writeable = False
        photos.append(photo)
    return tuple(photos)


def _side(photo: np.ndarray, train: bool) -> np.ndarray:
    """The left 60 % of a photograph for training, the rest otherwise."""
    cut = int(photo.shape[1] * TRAIN_SHARE)
    return photo[:, :cut] if train else photo[:, cut:]


@lru_cache(maxsize=None)
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's digits: images (1797, 8, 8) float32 in 0..1 and classes (1797,) uint8."""
    _package_file("sklearn", "")
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = (bunch.images / 16.0).astype(np.float32)
    if images.shape != (1797, 8, 8):
        raise DataError(f"scikit-learn's digits: expected 1797 images of 8x8, found shape {images.shape}")
    return images, bunch.target.astype(np.uint8)

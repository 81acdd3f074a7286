"""The released files below shared/data: which net goes with which weights and images, and how it is run.

``record.py`` runs them on BVLC Caffe, ``compare.py`` on the embedded one. Images are read
once, by the latter, and handed to both: decoders and resizers of other versions differ by a grey level.
"""

from __future__ import annotations

import gzip
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import cv2
import numpy as np
from PIL import Image

from caffe_gp import engines, proto
from caffe_gp.images.preprocess import Preprocess
from conformance import observe
from conformance.closeness import FORWARD_LIMIT
from conformance.moves import Mover
from conformance.released import stock

ENETS = "caffemodels/enet_cityscapes_wanggao/caffe-app/caffe-enet/model"
TIMO = "caffemodels/enet_timosaemann"
CIFAR = "caffemodels/cifar10_everpeace/examples/cifar10"
SIMSHANG = "caffemodels/cifar10_simshang"
MNIST = "caffemodels/cifar10_everpeace/examples/mnist"
ETHEREON = "caffemodels/lenet_ethereon/examples/mnist"
SQUEEZENET = "caffemodels/squeezenet_dc"
LANE = "caffemodels/lane_tusimple_eric612/models/tusimple"
SAMPLES = "foolbox_samples/foolbox/data"


@dataclass(frozen=True)
class Released:
    """A net as released.

    prototxt, weights   files below shared/data
    images   makes the batch of input values, (N, C, H, W) float32, from the folder of shared data
    eps      step at the input
    truth    labels of the images where they are classified, told by their file names
    input_shape   for train/val files whose data is not here
    as_it_is   whether caffe.Net(prototxt, weights) works without any preparation
    score   blob of class scores; found if not given
    forward_limit   relative error of the scores that is allowed; more where the net's own scores change by
                    more when its image and weights are moved by a rounding error's size
    same_as   name of a net before it that computes the same: no activations are kept of this one
    """

    prototxt: str
    weights: str
    images: Callable[[Path], np.ndarray]
    eps: float
    truth: str = ""
    input_shape: tuple | None = None
    as_it_is: bool = True
    score: str | None = None
    forward_limit: float = FORWARD_LIMIT
    same_as: str = ""

    @property
    def name(self) -> str:
        """Of recordings and tests."""
        return f"{self.prototxt} + {os.path.basename(self.weights)}"


# ---- images


def samples(shared: Path, kind: str) -> list[Path]:
    """Foolbox's twenty images of a data set; names end with _<label>.<png or jpg>."""
    return sorted((shared / SAMPLES).glob(f"{kind}_[0-9][0-9]_*"))


def truth(shared: Path, kind: str) -> np.ndarray:
    """The labels of ``samples``, or of the digits of ``mnist``."""
    if kind == "mnist":
        with gzip.open(str(shared / "mnist/t10k-labels-idx1-ubyte.gz")) as file:
            return np.frombuffer(file.read(8 + 64), np.uint8, offset=8)
    return np.array([int(path.stem.rsplit("_", 1)[1]) for path in samples(shared, kind)])


def _loaded(paths: list, **settings: Any) -> np.ndarray:
    preprocess = Preprocess(**settings)
    return np.stack([preprocess.load(path).data for path in paths])


def mnist(shared: Path) -> np.ndarray:
    """The first 64 digits of MNIST's test set, 0..1."""
    with gzip.open(str(shared / "mnist/t10k-images-idx3-ubyte.gz")) as file:
        pixels = np.frombuffer(file.read(16 + 64 * 784), np.uint8, offset=16)
    return pixels.reshape(64, 1, 28, 28).astype(np.float32) / 256


def cifar(shared: Path) -> np.ndarray:
    """Twenty CIFAR-10 images, RGB, minus the released mean image."""
    rgb = _loaded(samples(shared, "cifar10"), mean=(0.0,), channel_order="rgb")
    return rgb - proto.read_blob(shared / SIMSHANG / "mean.binaryproto").reshape(1, 3, 32, 32)


def imagenet(shared: Path) -> np.ndarray:
    """Twenty ImageNet images at 227 x 227."""
    return _loaded(samples(shared, "imagenet"), mean=(104.0, 117.0, 123.0), resize=(227, 227))


def voc(shared: Path, count: int, **settings: Any) -> np.ndarray:
    """The first VOC photographs of the list, preprocessed so."""
    names = (shared / "voc2012/lists/available_of_346.txt").read_text().split()[:count]
    folder = shared / "voc2012/VOCdevkit/VOC2012/JPEGImages"
    return _loaded([folder / f"{name}.jpg" for name in names], **settings)


def voc257(shared: Path) -> np.ndarray:
    """Four VOC photographs stretched to 257 x 257."""
    return voc(shared, 4, mean=(127.5,), resize=(257, 257))


def voc513(shared: Path) -> np.ndarray:
    """Two VOC photographs, longer side 513, padded to 513 x 513."""
    return voc(shared, 2, mean=(128.0,), resize=513, pad_to=(513, 513))


def street_of(shared: Path, width: int, height: int) -> np.ndarray:
    """The Cityscapes photograph that comes with ENet, of another size."""
    path = shared / TIMO / "example_image/munich_000000_000019_leftImg8bit.png"
    image = cv2.imread(str(path))
    assert image is not None, path
    image = cv2.resize(image, (width, height))
    return image.transpose(2, 0, 1)[np.newaxis].astype(np.float32)


def street(shared: Path) -> np.ndarray:
    """The Cityscapes photograph that comes with ENet, resized as its demo does it."""
    return street_of(shared, 1024, 512)


def street512(shared: Path) -> np.ndarray:
    """The same for the lane net, whose train file tells mean and scale."""
    return (street_of(shared, 512, 512) - 127.5) * np.float32(0.007843)


# ---- nets


def _pairs() -> list[Released]:
    found = [
        Released(
            f"caffe_voc/{name}/deploy.prototxt",
            f"caffe_voc/{name}/weights.caffemodel",
            images,
            eps,
            forward_limit=limit,
        )
        for name, images, eps, limit in (
            ("mnv2_dm05_257", voc257, 0.05, FORWARD_LIMIT),
            ("mnv2_dm10_513", voc513, 0.03, 2e-5),
        )
    ]

    def add(folder: str, prototxt: str, weights: str, *rest: Any, **options: Any) -> None:
        found.append(Released(f"{folder}/{prototxt}", f"{folder}/{weights}", *rest, **options))

    cifar10 = {"truth": "cifar10"}
    full, quick = "cifar10_full_iter_70000.caffemodel", "cifar10_quick_iter_5000.caffemodel"
    for iteration in (10000, 60000, 70000):
        weights = f"cifar10_full_iter_{iteration}.caffemodel"
        add(CIFAR, "cifar10_full.prototxt", weights, cifar, -4.0, **cifar10)
    for folder in (CIFAR, SIMSHANG):
        for iteration in (4000, 5000):
            weights = f"cifar10_quick_iter_{iteration}.caffemodel"
            add(folder, "cifar10_quick.prototxt", weights, cifar, -4.0, **cifar10)
    trained: dict[str, Any] = {"as_it_is": False, "input_shape": (None, 3, 32, 32), **cifar10}
    add(CIFAR, "cifar10_full_train_test.prototxt", full, cifar, -4.0, **trained)
    add(CIFAR, "cifar10_quick_train_test.prototxt", quick, cifar, -4.0, **trained)
    for iteration in (5000, 10000):
        add(MNIST, "lenet.prototxt", f"lenet_iter_{iteration}.caffemodel", mnist, -0.08, truth="mnist")
    trained = {"as_it_is": False, "input_shape": (None, 1, 28, 28), "truth": "mnist"}
    add(MNIST, "lenet_train_test.prototxt", "lenet_iter_10000.caffemodel", mnist, -0.08, **trained)
    add(ETHEREON, "lenet.prototxt", "lenet_iter_10000.caffemodel", mnist, -0.08, truth="mnist")
    squeezed = ("squeezenet_decoded.caffemodel", imagenet, -1.0)
    add(SQUEEZENET, "SqueezeNet_deploy.prototxt", *squeezed, truth="imagenet")
    add(SQUEEZENET, "SqueezeNet_trainval.prototxt", *squeezed, truth="imagenet", as_it_is=False)
    add(ENETS, "enet_deploy_final.prototxt", "cityscapes_weights.caffemodel", street, 0.5)
    first = found[-1].name
    for prototxt in (
        f"{ENETS}/enet_deploy_final.prototxt.origin",
        f"{TIMO}/prototxts/enet_deploy_final.prototxt",
    ):
        found.append(Released(prototxt, f"{ENETS}/cityscapes_weights.caffemodel", street, 0.5, same_as=first))
    lane = "mobilenet_yolov3_lite_deploy"
    weights = f"{lane}_iter_50000.caffemodel"
    add(LANE, f"{lane}.prototxt", weights, street512, 0.002, score="conv16", forward_limit=5e-5)
    return found


NETS = {net.name: net for net in _pairs()}


def run(
    net: Released,
    engine: str,
    shared: Path,
    images: np.ndarray,
    theirs: Any = None,
    mover: Mover | None = None,
) -> dict[str, Any]:
    """What ``engine`` computes: see ``observe.observe``. ``mover`` moves images and weights.

    Besides
    as_it_is      scores of caffe.Net(prototxt, weights), without preparation
    replaced      layer types that stood in for a fork's (BVLC Caffe only)
    activations   of the first image, unless ``theirs`` is given (BVLC Caffe only)
    diff_on       the diff at the input on the activations of ``theirs``, another engine's result
    score_on      the scores with the pooling masks of ``theirs``, if the net has unpooling
    """
    prototxt, weights = str(shared / net.prototxt), str(shared / net.weights)
    caffe = engines.load_caffe(engine)
    with tempfile.TemporaryDirectory() as folder:
        replaced: list[str] = []
        if engine == "bvlc":
            types = {layer.type for layer in proto.read_net_param(prototxt).layer}
            if types.intersection(stock.REPLACED):
                prototxt, weights, replaced = stock.rewrite(prototxt, weights, folder)
        loaded = engines.load_net(
            prototxt, weights, engine=engine, input_shape=net.input_shape, score=net.score
        )
        plain = caffe.Net(prototxt, weights, caffe.TEST) if net.as_it_is else None
    if mover is not None:
        mover.move_params(loaded.net)
        images = mover(images)
    found: dict[str, Any] = observe.observe(loaded, images, net.eps)
    found["replaced"] = replaced
    if plain is not None:
        plain.blobs[loaded.data].reshape(*images.shape)
        plain.blobs[loaded.data].data[...] = images
        plain.forward()
        found["as_it_is"] = plain.blobs[loaded.score].data.copy()
    if engine == "bvlc" and theirs is None and not net.same_as:
        found["activations"] = observe.activations(loaded, images[:1])
    if theirs is not None and "activations" in theirs:
        found["diff_on"] = observe.diff_on(loaded, theirs["activations"])
        if "Upsample" in theirs["replaced"]:
            found["score_on"] = observe.score_on(loaded, theirs["activations"])
    return found


def published_agreement(shared: Path, labels: np.ndarray) -> float:
    """Share of pixels on which labels of ENet (512, 1024) are those of the picture released with it."""
    folder = shared / TIMO / "example_image"
    with Image.open(str(folder / "munich_000000_000019_leftImg8bit_enet.png")) as picture:
        published = np.asarray(picture.convert("RGB"))
    with Image.open(str(shared / ENETS / "cityscapes19.png")) as picture:
        palette = np.asarray(picture.convert("RGB"))[0, :19, ::-1]
    return float((palette[labels] == published).all(-1).mean())

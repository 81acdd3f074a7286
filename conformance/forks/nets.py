"""The nets: released ones, and net descriptions without weights, which get random ones."""

from __future__ import annotations

import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

import cv2
import numpy as np

from caffe_gp import engines, proto
from caffe_gp.gp.passes import TruncatedPass
from caffe_gp.images.preprocess import Preprocess
from caffe_gp.surgery.forks import REPLACED
from conformance import observe
from conformance.closeness import FORWARD_LIMIT
from conformance.moves import Mover
from conformance.released import nets as released

LANES = "released/zbzb00zbzb+vision_lane_detection"
WAIFU2X = "released/lltcggie+waifu2x-caffe"
YOLOFACE = "released/dog-qiuqiu+MobileNet-Yolo"


@dataclass(frozen=True)
class ForkNet:
    """A net of a fork.

    prototxt   below shared data
    weights    below shared data; '' for random ones
    score      the blob that is looked at
    images     makes the batch of input values, (N, C, H, W) float32, from the folder of shared data
    eps        step at the input; 0 where the scores are no classes, which then get random diffs
    whole      whether all blobs are recorded, so that backward passes are compared over the same ones
    edit       what is written otherwise in the prototxt, and how
    forward_limit   relative error of the scores that is allowed
    """

    prototxt: str
    weights: str
    score: str
    images: Callable[[Path], np.ndarray]
    eps: float = 0.0
    whole: bool = True
    edit: tuple[str, str] | None = None
    forward_limit: float = FORWARD_LIMIT

    def replaced_layers(self, shared: Path) -> dict[str, int]:
        """Types that something takes the place of on BVLC Caffe, and how many layers of each."""
        kinds = [layer.type for layer in proto.read_net_param(str(shared / self.prototxt)).layer]
        return {kind: kinds.count(kind) for kind in sorted(REPLACED.intersection(kinds))}


# ---- images


def road(shared: Path) -> np.ndarray:
    """A photograph of CamVid."""
    path = sorted((shared / "camvid/test").iterdir())[5]
    image = cv2.imread(str(path))
    assert image is not None, path
    return cv2.resize(image, (448, 448)).transpose(2, 0, 1)[np.newaxis].astype(np.float32)


def small_picture(shared: Path) -> np.ndarray:
    """A part of it for super-resolution, 0..1."""
    return released.street_of(shared, 1024, 512)[:, ::-1, 200:290, 400:490] / np.float32(255)


def faces(shared: Path) -> np.ndarray:
    """Two VOC photographs, 0..1."""
    return released.voc(shared, 2, mean=(0.0,), resize=(352, 288)) / np.float32(255)


def four_of_imagenet(shared: Path) -> np.ndarray:
    """Of ImageNet."""
    paths = released.samples(shared, "imagenet")[:4]
    preprocess = Preprocess(mean=(104.0, 117.0, 123.0), resize=(224, 224))
    return np.stack([preprocess.load(path).data for path in paths])


def scaled_imagenet(shared: Path) -> np.ndarray:
    """The same as ShuffleNet takes them."""
    return four_of_imagenet(shared) * np.float32(0.017)


def street473(shared: Path) -> np.ndarray:
    """The photograph for PSPNet."""
    return released.street_of(shared, 473, 473) - np.float32(115)


def street1025(shared: Path) -> np.ndarray:
    """The photograph for ICNet."""
    return released.street_of(shared, 2049, 1025) - np.float32(115)


# ---- nets

NETS = {
    "ENet, Cityscapes": ForkNet(
        f"{released.ENETS}/enet_deploy_final.prototxt",
        f"{released.ENETS}/cityscapes_weights.caffemodel",
        "deconv6_0_0",
        released.street,
        0.5,
    ),
    # The file says INFERENCE, but its weights are of training, before statistics were folded in: all labels
    # are the same then, and with LEARN there are lanes.
    "lanes, three classes": ForkNet(
        f"{LANES}/deploy_three_class.prototxt",
        f"{LANES}/_iter_60000.caffemodel",
        "enet6_0",
        road,
        0.5,
        edit=("bn_mode: INFERENCE", "bn_mode: LEARN"),
    ),
    "waifu2x upresnet10": ForkNet(
        f"{WAIFU2X}/scale2.0x_model.prototxt",
        f"{WAIFU2X}/noise0_scale2.0x_model.json.caffemodel",
        "/conv_post",
        small_picture,
    ),
    "yoloface-500k-v2": ForkNet(
        f"{YOLOFACE}/yoloface-500k-v2.prototxt",
        f"{YOLOFACE}/yoloface-500k-v2.caffemodel",
        "layer95-conv",
        faces,
    ),
    "tusimple lanes": ForkNet(
        f"{released.LANE}/mobilenet_yolov3_lite_deploy.prototxt",
        f"{released.LANE}/mobilenet_yolov3_lite_deploy_iter_50000.caffemodel",
        "conv16",
        released.street512,
        0.002,
        forward_limit=5e-5,
    ),
    "ShuffleNet 1x g3": ForkNet(
        "released_prototxts/farmingyard+ShuffleNet/shufflenet_1x_g3_deploy.prototxt",
        "",
        "fc1000",
        scaled_imagenet,
        0.01,
    ),
    "SE-ResNet-50": ForkNet(
        "released_prototxts/hujie-frank+SENet/models__SE-ResNet-50.prototxt",
        "",
        "classifier",
        four_of_imagenet,
        1.0,
    ),
    "PSPNet50, ADE20K": ForkNet(
        "released_prototxts/hszhao+PSPNet/evaluation__prototxt__pspnet50_ADE20K_473.prototxt",
        "",
        "conv6_interp",
        street473,
        1.0,
        whole=False,
    ),
    "ICNet, Cityscapes": ForkNet(
        "released_prototxts/hszhao+ICNet/evaluation__prototxt__icnet_cityscapes.prototxt",
        "",
        "conv6_interp",
        street1025,
        1.0,
        whole=False,
    ),
}


# ---- random weights


def _fill(loaded: engines.GPNet, types: Mapping[str, str], size: float) -> None:
    """Of a size that keeps activations alive, the same on every engine.

    types   of the layers, by name
    size    of the images' values, by which the layers are divided that read them
    """
    readers = {layer.name for layer in loaded.prepared.net.layer if loaded.data in layer.bottom}
    for name, blobs in loaded.net.params.items():
        if name != loaded.prepared.probe:
            random = np.random.RandomState(zlib.crc32(name.encode()))
            shapes = [tuple(blob.data.shape) for blob in blobs]
            for blob, values in zip(blobs, random_values(types[name], shapes, random)):
                blob.data[...] = np.asarray(values) / (size if name in readers else 1)


def random_values(kind: str, shapes: Sequence[tuple], random: np.random.RandomState) -> list[Any]:
    noise = [0.1 * random.standard_normal(shape) for shape in shapes]
    if kind == "BatchNorm":
        return [noise[0], random.uniform(0.7, 1.4, shapes[1]), 1]
    if kind == "BN" and len(shapes) == 4:  # PSPNet's: slope, bias, mean, variance
        return [random.uniform(0.8, 1.2, shapes[0]), *noise[1:3], random.uniform(0.7, 1.4, shapes[3])]
    if kind in ("Scale", "BN"):
        return [random.uniform(0.8, 1.2, shapes[0]), *noise[1:]]
    # Half of what ReLU asks for: short-cuts add up.
    deviation = np.sqrt(1 / np.prod(shapes[0][1:]))
    return [deviation * random.standard_normal(shapes[0]), *noise[1:]]


# ---- running


def run(
    net: ForkNet,
    engine: str,
    shared: Path,
    images: np.ndarray,
    theirs: Any = None,
    mover: Mover | None = None,
) -> dict[str, Any]:
    """What ``engine`` computes: score and diff, and base and moved where there are classes (``observe``).

    Besides, as for the other released nets (``conformance.released.nets``)
    activations   of the first image, unless ``theirs`` is given
    diff_on       the diff at the input on the activations of ``theirs``, another engine's result
    score_on      the scores with the pooling masks of ``theirs``
    """
    loaded = load(net, engine, shared, images)
    if mover is not None:
        mover.move_params(loaded.net)
        images = mover(images)
    signal = None if net.eps else _random_signal
    found: dict[str, Any]
    if net.eps:
        found = dict(observe.observe(loaded, images, net.eps))
    else:
        found = _passes(loaded, images)
    if net.whole and theirs is None:
        found["activations"] = observe.activations(loaded, images[:1], signal)
    elif net.whole:
        found["diff_on"] = observe.diff_on(loaded, theirs["activations"], signal)
        found["score_on"] = observe.score_on(loaded, theirs["activations"])
    return found


def load(net: ForkNet, engine: str, shared: Path, images: np.ndarray) -> engines.GPNet:
    """The net with its weights, or random ones that suit the images."""
    text = (shared / net.prototxt).read_text()
    if net.edit:
        text = text.replace(*net.edit)
    weights = str(shared / net.weights) if net.weights else None
    with tempfile.TemporaryDirectory() as folder:
        prototxt = Path(folder, "net.prototxt")
        prototxt.write_text(text)
        loaded = engines.load_net(prototxt, weights, engine=engine, score=net.score)
    if weights is None:
        types = {layer.name: layer.type for layer in proto.parse_net_param(text).layer}
        _fill(loaded, types, float(images.std()))
    return loaded


def _random_signal(scores: np.ndarray) -> np.ndarray:
    return np.random.RandomState(0).standard_normal(scores.shape)


def _passes(loaded: engines.GPNet, images: np.ndarray) -> dict[str, Any]:
    """One forward, and one backward of random diffs; ``base`` and ``moved`` are empty, without labels."""
    net = loaded.net
    data, score = net.blobs[loaded.data], net.blobs[loaded.score]
    data.reshape(*images.shape)
    data.data[...] = images
    net.forward()
    found = {"score": score.data.copy(), "base": np.zeros(0, np.int32), "moved": np.zeros(0, np.int32)}
    score.diff[...] = _random_signal(score.data)
    TruncatedPass(net, loaded.data, loaded.score).backward()
    found["diff"] = data.diff.copy()
    return found

"""The nets of the paper and their family: what each is called, how it is fed and what its scores mean.

For example:

    model = zoo.get("fcn-32s")
    model.net()           # its deploy NetParameter
    model.prototxt()      # the file written from it
    model.feed, model.score, model.classes, model.eps
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable

from caffe_gp.datasets.class_names import CAMVID, CIFAR10, DIGIT_SCENES, DIGITS, PASCAL_CONTEXT, VOC
from caffe_gp.errors import UsageError, did_you_mean
from caffe_gp.files import places
from caffe_gp.images.preprocess import Preprocess
from caffe_gp.models import camvid, classifiers, crfasrnn, deeplab, digits, fcn, mobilenet

# Mean grey levels in the order blue, green, red, as each net was trained with.
CONTEXT_MEAN = (104.007, 116.669, 122.679)
# CRF-RNN's README has FCN's mean, and its demo swapped the channels of this one in 2017, after the paper.
TVG_MEAN = (103.939, 116.779, 123.68)
TVG_DEMO_MEAN = TVG_MEAN[::-1]
DEEPLAB_MEAN = (104.008, 116.669, 122.675)

# Where the paper is silent, a step size has to be found by a sweep on validation images.
UNTUNED = "not stated in the paper; to be tuned on validation images"
PAPER_EPS = "paper, section 5"


@dataclass(frozen=True)
class Model:
    """One net.

    name        as given to ``--model``; also its folder in prototxt/
    title       for people
    net         writes its deploy NetParameter; layer, blob and parameter names are the released caffemodel's
    score       blob of class scores
    classes     names of the scores' channels; label i is classes[i]
    parameters  number of float32 values, shared ones counted once
    weights     file of the manifest that holds the released weights; None: trained here, in models/NAME
    eps         step at ``data``, in units of that blob; None where it has to be tuned
    eps_source  where eps comes from
    feed        how an image becomes ``data``
    recipe_of   the model of MODELS that this is with another ``feed``; None: it is one of MODELS
    """

    name: str
    title: str
    net: Callable[[], Any]
    score: str
    classes: tuple[str, ...]
    parameters: int
    weights: str | None
    eps: float | None
    eps_source: str
    feed: Preprocess = Preprocess()
    recipe_of: str | None = None

    def prototxt(self) -> Path:
        """The file written from ``net``."""
        return places.shipped("prototxt", self.recipe_of or self.name, "deploy.prototxt")

    def feed_options(self) -> dict[str, Any]:
        """``feed`` as options of a run: mean, scale, channel_order, resize, pad_to."""
        return {
            name: value for name, value in vars(self.feed).items() if name not in ("channels", "mean_image")
        }


_TVG_WEIGHTS = "TVG_CRFRNN_COCO_VOC.caffemodel"
_TVG_FEED = Preprocess(mean=TVG_MEAN, pad_to=(500, 500))
_DEEPLAB_FEED = Preprocess(mean=DEEPLAB_MEAN, pad_to=(513, 513))

_ALL = (
    Model(
        name="fcn-32s",
        title="FCN-32s",
        net=fcn.fcn32s,
        score="score",
        classes=VOC,
        parameters=136_152_917,
        weights="fcn32s-heavy-pascal.caffemodel",
        eps=0.55,
        eps_source=PAPER_EPS,
    ),
    Model(
        name="fcn-16s",
        title="FCN-16s",
        net=fcn.fcn16s,
        score="score",
        classes=VOC,
        parameters=134_815_994,
        weights="fcn16s-heavy-pascal.caffemodel",
        eps=None,
        eps_source=UNTUNED,
    ),
    Model(
        name="fcn-8s",
        title="FCN-8s",
        net=fcn.fcn8s,
        score="score",
        classes=VOC,
        parameters=134_489_759,
        weights="fcn8s-heavy-pascal.caffemodel",
        eps=0.7,
        eps_source=PAPER_EPS,
    ),
    Model(
        name="fcn-8s-atonce",
        title="FCN-8s, trained at once",
        net=fcn.fcn8s_atonce,
        score="score",
        classes=VOC,
        parameters=134_490_527,
        weights="fcn8s-atonce-pascal.caffemodel",
        eps=None,
        eps_source=UNTUNED,
    ),
    Model(
        name="fcn-alexnet",
        title="FCN-AlexNet",
        net=fcn.fcn_alexnet,
        score="score",
        classes=VOC,
        parameters=58_704_590,
        weights="fcn-alexnet-pascal.caffemodel",
        eps=None,
        eps_source=UNTUNED,
    ),
    Model(
        name="fcn-8s-context",
        title="FCN-8s, PASCAL-Context",
        net=fcn.fcn8s_context,
        score="score",
        classes=PASCAL_CONTEXT,
        parameters=135_589_364,
        weights="pascalcontext-fcn8s-heavy.caffemodel",
        eps=0.7,
        eps_source="paper, section 4.3: not tuned, the best of table 1, that is FCN-8s's",
        feed=Preprocess(mean=CONTEXT_MEAN),
    ),
    Model(
        name="fcn-8s-coco",
        title="FCN-8s-coco, CRF-RNN without its CRF",
        net=crfasrnn.fcn8s_coco,
        score="coarse",
        classes=VOC,
        parameters=134_489_780,
        weights=_TVG_WEIGHTS,
        eps=None,
        eps_source=UNTUNED,
        feed=_TVG_FEED,
    ),
    Model(
        name="crfasrnn-coco",
        title="CRFasRNN-coco",
        net=crfasrnn.crfasrnn_coco,
        score="pred",
        classes=VOC,
        parameters=134_491_103,
        weights=_TVG_WEIGHTS,
        eps=0.22,
        eps_source=PAPER_EPS,
        feed=_TVG_FEED,
    ),
    Model(
        name="deeplab-vgg16",
        title="DeepLab v2, VGG-16, ASPP-L",
        net=deeplab.deeplab_vgg16,
        score="fc8_interp",
        classes=VOC,
        parameters=37_877_652,
        weights="deeplab_aspp_vgg16_train_iter_20000.caffemodel",
        eps=None,
        eps_source=UNTUNED,
        feed=_DEEPLAB_FEED,
    ),
    Model(
        name="deeplab-coco-largefov",
        title="DeepLab v1, VGG-16, COCO-LargeFOV",
        net=deeplab.deeplab_coco_largefov,
        score="fc8_interp",
        classes=VOC,
        parameters=20_505_429,
        weights="vgg16_20M_coco.caffemodel",
        eps=None,
        eps_source=UNTUNED,
        feed=_DEEPLAB_FEED,
    ),
    Model(
        name="deeplab-resnet101",
        title="DeepLab v2, ResNet-101, three scales",
        net=deeplab.deeplab_resnet101,
        score="fc1_interp",
        classes=VOC,
        parameters=44_153_980,
        weights="deeplab_aspp_resnet101_train_iter_20000.caffemodel",
        eps=None,
        eps_source=UNTUNED,
        feed=_DEEPLAB_FEED,
    ),
    Model(
        name="mnv2-dm05-257",
        title="DeepLabv3, MobileNetV2 0.5, 257 x 257",
        net=mobilenet.mnv2_dm05_257,
        score="score",
        classes=VOC,
        parameters=693_082,
        weights="mnv2_dm05_257.caffemodel",
        eps=None,
        eps_source=UNTUNED,
        feed=Preprocess(mean=(127.5,) * 3, resize=(257, 257)),
    ),
    Model(
        name="mnv2-dm10-513",
        title="DeepLabv3, MobileNetV2 1.0, 513 x 513",
        net=mobilenet.mnv2_dm10_513,
        score="score",
        classes=VOC,
        parameters=2_117_194,
        weights="mnv2_dm10_513.caffemodel",
        eps=None,
        eps_source=UNTUNED,
        feed=Preprocess(mean=(128.0,) * 3, resize=513, pad_to=(513, 513)),
    ),
    Model(
        name="camvid",
        title="FCN trained on CamVid",
        net=camvid.camvid,
        score="score",
        classes=CAMVID,
        parameters=1_372_939,
        weights=None,
        eps=0.25,
        eps_source="chosen on CamVid's 101 validation images",
        feed=Preprocess(mean=camvid.MEAN),
    ),
    Model(
        name="camvid-bn",
        title="FCN trained on CamVid, batch normalisation kept",
        net=camvid.camvid_bn,
        score="score",
        classes=CAMVID,
        parameters=1_376_552,
        weights=None,
        eps=0.25,
        eps_source="camvid's: on global statistics both compute the same",
        feed=Preprocess(mean=camvid.MEAN),
    ),
    Model(
        name="digits",
        title="FCN trained on digit scenes",
        net=digits.digits,
        score="score",
        classes=DIGIT_SCENES,
        parameters=342_870,
        weights=None,
        eps=4.0,
        eps_source="chosen on 200 validation scenes",
        feed=Preprocess(mean=digits.MEAN),
    ),
    Model(
        name="lenet",
        title="LeNet, MNIST",
        net=classifiers.lenet,
        score="ip2",
        classes=DIGITS,
        parameters=431_080,
        weights=None,
        eps=None,
        eps_source=UNTUNED,
        feed=Preprocess(mean=(0.0,), scale=1 / 256, channels=1, resize=(28, 28)),
    ),
    Model(
        name="cifar10",
        title="CNN 64-64-128-128-128-128-10, CIFAR-10",
        net=classifiers.cifar10,
        score="ip2",
        classes=CIFAR10,
        parameters=474_698,
        weights=None,
        eps=None,
        eps_source=UNTUNED,
        feed=Preprocess(mean=classifiers.CIFAR10_MEAN, scale=1 / 256, resize=(32, 32)),
    ),
)

MODELS: dict[str, Model] = {model.name: model for model in _ALL}


def _with_demo_mean(model: Model) -> Model:
    """CRF-RNN's net as its public demo feeds it since 2017: the mean's blue and red are exchanged."""
    return replace(
        model,
        name=f"{model.name}-demo-mean",
        title=f"{model.title}, with the mean of its demo since 2017",
        feed=replace(model.feed, mean=TVG_DEMO_MEAN),
        recipe_of=model.name,
    )


#: Second recipes: a model's net and weights, fed otherwise. A result says by the name which was used.
RECIPES: dict[str, Model] = {
    recipe.name: recipe
    for recipe in (_with_demo_mean(MODELS["fcn-8s-coco"]), _with_demo_mean(MODELS["crfasrnn-coco"]))
}


def named() -> dict[str, Model]:
    """MODELS and RECIPES by name."""
    return {**MODELS, **RECIPES}


def get(name: str) -> Model:
    """The model or recipe of this name; UsageError with the nearest names and the whole list otherwise."""
    known = named()
    if name not in known:
        raise UsageError(f"unknown model '{name}'{did_you_mean(name, known)} (known: {', '.join(known)})")
    return known[name]

"""What the tables and figures are made of: which nets, on which images, with which eps.

    suite = suites.get("paper")           # the paper's nets on the reduced VOC2012 validation set
    suites.get("voc-small")               # two small real VOC nets, where the paper's cannot be had
    suites.get("camvid")                  # a net that was trained here, on street scenes
    suites.get("digits")                  # the demo's net, on digit scenes

Every experiment runs on every suite; only "paper" has the paper's numbers beside it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

from caffe_gp.errors import CaffeGPError, DataError
from caffe_gp.files import places
from caffe_gp.models import weights, zoo

# Grey levels at the input. The paper's steps lie inside; its figure 10 shows a broad optimum there.
VGG_GRID = (0.05, 0.1, 0.15, 0.22, 0.35, 0.55, 0.7, 1.0, 1.5, 2.5)
# Nets with folded batch normalisation answer to steps twenty times smaller.
MOBILENET_GRID = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
# Shares of an inner blob's standard deviation.
INNER_GRID = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)


@dataclass(frozen=True)
class Net:
    """A net as the experiments see it.

    name, title   ``name`` is also its folder in reports
    prototxt, caffemodel   called when the files are needed: the path, or an error that says how to get it
    score         blob of class scores
    feed          how images are fed: mean, scale, channel_order, resize, pad_to of ``Evaluation``
    eps           step at the input if the paper states one; None: to be tuned
    grid          values tried at the input where eps is tuned, and by figure 10
    inner         blobs of table 4 and figure 3, from the input up
    model         name in the zoo, or None
    deeper        further blobs of figure 3, up to the scores before upsampling (not included)
    span          figures 6 and 8 look at steps from -span to span
    """

    name: str
    title: str
    prototxt: Callable[[], Path]
    caffemodel: Callable[[], Path]
    score: str
    feed: Mapping[str, Any]
    grid: tuple[float, ...]
    inner: tuple[str, ...]
    eps: float | None = None
    model: str | None = None
    deeper: tuple[str, ...] = ()
    span: float = 1.0


@dataclass(frozen=True)
class Suite:
    """Nets that belong together.

    data      name of the set that everything is measured on (``datasets.get``)
    tuning    name of the set that eps is tuned on; None: 5-fold cross-validation inside ``data``
    beside    a set whose choice of eps table 1 reports beside the cross-validation's
    nets      by name, in the order of the tables
    ablation  the net of the paper's section 5: tables 3 and 4, figures 3 to 6, 8
    crf       the nets of table 5, with a preset of ``caffe_gp.crf``
    paper     whether the paper's numbers belong beside these
    """

    name: str
    title: str
    data: str
    tuning: str | None
    nets: tuple[Net, ...]
    ablation: str
    crf: Mapping[str, str] = field(default_factory=dict)
    paper: bool = False
    beside: str | None = None

    def net(self, name: str) -> Net:
        """The net of this name; CaffeGPError with the list otherwise."""
        for net in self.nets:
            if net.name == name:
                return net
        names = ", ".join(net.name for net in self.nets)
        raise CaffeGPError(f"suite '{self.name}' has no net '{name}' (it has {names})")


_POOLS = ("pool2", "pool3", "pool4")
_RES = ("res2c", "res3b3", "res4b22")


def ablation_only(suite: Suite) -> Sequence[Net]:
    """The ``nets`` of an experiment that takes the suite's net for ablations alone."""
    return (suite.net(suite.ablation),)


def of_zoo(
    name: str,
    grid: tuple[float, ...] = VGG_GRID,
    inner: tuple[str, ...] = _POOLS,
    deeper: tuple[str, ...] = (),
) -> Net:
    """A net of the zoo with its released weights, or stand-ins for them, which its title then says."""
    model = zoo.get(name)
    title = f"{model.title} (stand-in weights)" if weights.find(name).stand_in else model.title
    return Net(
        name=name,
        title=title,
        prototxt=model.prototxt,
        caffemodel=lambda: weights.require(name),
        score=model.score,
        feed=vars(model.feed),
        grid=grid,
        inner=inner,
        eps=model.eps,
        model=name,
        deeper=deeper,
    )


def _paper() -> Suite:
    ablation = of_zoo("fcn-32s", deeper=("pool5", "fc7"))
    others = ("fcn-8s", "fcn-8s-coco", "crfasrnn-coco", "deeplab-vgg16")
    nets = [ablation, *map(of_zoo, others), of_zoo("deeplab-resnet101", inner=_RES)]
    return Suite(
        name="paper",
        title="the paper's nets",
        data="voc2012-reduced346",
        tuning="voc2012-tuning",
        nets=tuple(nets),
        ablation=ablation.name,
        crf={"fcn-8s-coco": "deeplab", "deeplab-resnet101": "deeplab"},
        paper=True,
    )


def _shared_net(folder: str, file: str) -> Callable[[], Path]:
    def path() -> Path:
        shared = os.environ.get("CAFFE_GP_SHARED_DATA", "")
        found = Path(shared) / "caffe_voc" / folder / file
        if not shared or not found.is_file():
            raise DataError(
                f"caffe_voc/{folder}/{file} is not here: set CAFFE_GP_SHARED_DATA to the folder that holds it"
            )
        return found

    return path


def _voc_small() -> Suite:
    """DeepLabv3 on MobileNetV2, two widths and sizes: real VOC nets small enough for any machine.

    They are not released with this project; the folder that CAFFE_GP_SHARED_DATA names holds them.
    """
    nets = []
    for folder, width, feed in (
        ("mnv2_dm05_257", "0.5, 257 x 257", {"mean": (127.5,) * 3, "resize": (257, 257)}),
        ("mnv2_dm10_513", "1.0, 513 x 513", {"mean": (128.0,) * 3, "resize": 513, "pad_to": (513, 513)}),
    ):
        nets.append(
            Net(
                name=folder,
                title=f"DeepLabv3, MobileNetV2 {width}",
                prototxt=_shared_net(folder, "deploy.prototxt"),
                caffemodel=_shared_net(folder, "weights.caffemodel"),
                score="score",
                feed=feed,
                grid=MOBILENET_GRID,
                inner=("block2_add", "block5_add", "block12_add"),
                deeper=("block16_project", "concat_projection"),
                span=0.1,
            )
        )
    return Suite(
        name="voc-small",
        title="two small VOC nets",
        data="voc2012-reduced346",
        tuning=None,
        nets=tuple(nets),
        ablation="mnv2_dm10_513",
        crf={net.name: "deeplab" for net in nets},
        beside="voc2012-tuning",
    )


def _trained_here(name: str, target: str, **net: Any) -> Net:
    """A net whose files are part of the project; ``make target`` trains it again."""

    def caffemodel() -> Path:
        path = places.shipped("models", name, f"{name}.caffemodel")
        if not path.is_file():
            raise DataError(f"{path}: not there; 'make {target}' trains it")
        return path

    return Net(
        name=name,
        prototxt=lambda: places.shipped("prototxt", name, "deploy.prototxt"),
        caffemodel=caffemodel,
        score="score",
        feed={"mean": (104.0, 117.0, 123.0)},
        **net,
    )


def _camvid() -> Suite:
    """A net of FCN's kind, on CamVid's street scenes."""
    net = _trained_here(
        "camvid_fcn",
        "train-camvid",
        title="FCN trained on CamVid",
        grid=(0.01, 0.03, 0.1, 0.25, 0.5, 1.0, 2.0),
        inner=("pool1", "pool2", "pool3"),
        deeper=("conv4_4", "join8", "join2"),
    )
    return Suite(
        name="camvid",
        title="a net trained on CamVid",
        data="camvid-test",
        tuning="camvid-val",
        nets=(net,),
        ablation=net.name,
        crf={net.name: "deeplab"},
    )


def _digits() -> Suite:
    """The demo's net, on the demo's scenes."""
    net = _trained_here(
        "digit_fcn",
        "train-demo",
        title="the demo's FCN",
        grid=(0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0),
        inner=("pool1", "pool2", "pool3", "pool4"),
        deeper=("fc7", "score_fr"),
        span=6.0,
    )
    return Suite(
        name="digits",
        title="a net trained on digit scenes",
        data="digit-scenes-test",
        tuning="digit-scenes-val",
        nets=(net,),
        ablation=net.name,
        crf={net.name: "deeplab"},
    )


_SUITES = {"paper": _paper, "voc-small": _voc_small, "camvid": _camvid, "digits": _digits}
NAMES = tuple(_SUITES)


def get(name: str) -> Suite:
    """The suite of this name; CaffeGPError with the list otherwise."""
    if name not in _SUITES:
        raise CaffeGPError(f"unknown suite '{name}' (known: {', '.join(_SUITES)})")
    return _SUITES[name]()

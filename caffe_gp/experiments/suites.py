"""What the tables and figures are made of: which nets, on which images, with which eps.

    suite = suites.get("paper")           # the paper's nets on the reduced VOC2012 validation set
    suites.get("voc-small")               # two small real VOC nets, where the paper's cannot be had
    suites.get("camvid")                  # a net that was trained here, on street scenes
    suites.get("digits")                  # another, on digit scenes

Every experiment runs on every suite; only "paper" has the paper's numbers beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping, Sequence

from caffe_gp.errors import UsageError, did_you_mean
from caffe_gp.models import weights, zoo

# Grey levels at the input. The paper's steps lie inside; its figure 10 shows a broad optimum there.
VGG_GRID = (0.05, 0.1, 0.15, 0.22, 0.35, 0.55, 0.7, 1.0, 1.5, 2.5)
# Nets with folded batch normalisation answer to steps twenty times smaller.
MOBILENET_GRID = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
# Shares of an inner blob's standard deviation.
INNER_GRID = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)

_POOLS = ("pool2", "pool3", "pool4")
_RES = ("res2c", "res3b3", "res4b22")


@dataclass(frozen=True)
class Net:
    """A net of the zoo, and what the experiments try on it.

    model   its entry; the net is called by its name, which is also its folder in reports
    grid    values tried at the input where eps is tuned, and by figure 10
    inner   blobs of table 4 and figure 3, from the input up
    eps     step at the input, the paper's; None: to be tuned
    deeper  further blobs of figure 3, up to the scores before upsampling (not included)
    span    figures 6 and 8 look at steps from -span to span
    """

    model: zoo.Model
    grid: tuple[float, ...] = VGG_GRID
    inner: tuple[str, ...] = _POOLS
    eps: float | None = None
    deeper: tuple[str, ...] = ()
    span: float = 1.0

    @property
    def name(self) -> str:
        """The model's."""
        return self.model.name

    @property
    def title(self) -> str:
        """For people: the model's, which says so where weights stand in for the released ones."""
        return f"{self.model.title} (stand-in weights)" if self.stand_in else self.model.title

    @property
    def stand_in(self) -> bool:
        """Whether other weights are in the place of the released ones."""
        return self.model.weights is not None and weights.find(self.name).stand_in

    def caffemodel(self) -> Path:
        """Its weights. WeightsError, with how to get them, where they are not there."""
        return weights.require(self.name)


@dataclass(frozen=True)
class Suite:
    """Nets that belong together.

    data      name of the set that everything is measured on (``datasets.segmentation.get``)
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
        """The net of this name; UsageError with the list otherwise."""
        for net in self.nets:
            if net.name == name:
                return net
        names = ", ".join(net.name for net in self.nets)
        raise UsageError(f"suite '{self.name}' has no net '{name}' (it has {names})")


def ablation_only(suite: Suite) -> Sequence[Net]:
    """The ``nets`` of an experiment that takes the suite's net for ablations alone."""
    return (suite.net(suite.ablation),)


def of_paper(name: str, **more: Any) -> Net:
    """A net of the paper with its eps, where the paper states one; ``more``: fields of ``Net``."""
    model = zoo.get(name)
    return Net(model, eps=model.eps, **more)


def _paper() -> Suite:
    ablation = of_paper("fcn-32s", deeper=("pool5", "fc7"))
    others = ("fcn-8s", "fcn-8s-coco", "crfasrnn-coco", "deeplab-vgg16")
    nets = [ablation, *map(of_paper, others), of_paper("deeplab-resnet101", inner=_RES)]
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


def _voc_small() -> Suite:
    """DeepLabv3 on MobileNetV2, two widths and sizes: real VOC nets small enough for any machine."""
    nets = [
        Net(
            zoo.get(name),
            grid=MOBILENET_GRID,
            inner=("block2_add", "block5_add", "block12_add"),
            deeper=("block16_project", "concat_projection"),
            span=0.1,
        )
        for name in ("mnv2-dm05-257", "mnv2-dm10-513")
    ]
    return Suite(
        name="voc-small",
        title="two small VOC nets",
        data="voc2012-reduced346",
        tuning=None,
        nets=tuple(nets),
        ablation="mnv2-dm10-513",
        crf={net.name: "deeplab" for net in nets},
        beside="voc2012-tuning",
    )


def _camvid() -> Suite:
    """A net of FCN's kind, on CamVid's street scenes."""
    net = Net(
        zoo.get("camvid"),
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
    """The digits net, on digit scenes."""
    net = Net(
        zoo.get("digits"),
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
    """The suite of this name; UsageError with the list otherwise."""
    if name not in _SUITES:
        hint = did_you_mean(name, _SUITES)
        raise UsageError(f"unknown suite '{name}'{hint} (known: {', '.join(_SUITES)})")
    return _SUITES[name]()

"""The list, and one pass of a net forward and back."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

import caffe_gp.caffe as caffe
from caffe_gp import proto
from caffe_gp.proto import messages as pb
from conformance.folders import ROOT
from conformance.forks.nets import random_values

LIST = ROOT / "conformance/every/files.tsv"
# Their output is a list of what was found, or labels; what they read is compared.
DECIDING = ("DetectionOutput", "ArgMax", "Silence")


class Row(NamedTuple):
    """A line of the list; an empty string for what there is not."""

    repository: str
    commit: str
    prototxt: str
    caffemodel: str
    prototxt_sha256: str
    caffemodel_sha256: str
    remark: str

    @property
    def name(self) -> str:
        """Of its files in .cache."""
        return f"{Path(self.prototxt).stem}_{zlib.crc32(f'{self.prototxt} {self.caffemodel}'.encode()):08x}"


def rows() -> list[Row]:
    """The list."""
    lines = LIST.read_text(encoding="utf-8").splitlines()
    assert tuple(lines[0].split("\t")) == Row._fields
    return [Row(*line.split("\t")) for line in lines[1:]]


class Pass:
    """A net on the embedded Caffe, with an image in it.

    net        and its ``text`` for other Caffes
    inputs     the values of its inputs
    compared   names of the blobs that are
    ends       those of them that diffs are given to
    start      the layer where a backward pass begins
    """

    def __init__(self, param: pb.NetParameter, caffemodel: str, shared: Path) -> None:
        param.force_backward = True
        self.net: Any = caffe.Net.from_param(param, caffe.TEST)
        self.text = proto.to_text(param)
        if caffemodel:
            self.net.copy_from(caffemodel)
        else:
            _fill(self.net, param)
        for name in self.net.inputs:
            blob = self.net.blobs[name]
            if len(blob.shape) == 4:
                blob.reshape(1, *blob.shape[1:])
                blob.data[...] = photograph(shared, *blob.shape[1:])
        for name in self.net.inputs:
            if len(self.net.blobs[name].shape) != 4:  # im_info: height, width, scale
                self.net.blobs[name].data[...] = [[*self.net.blobs[self.net.inputs[0]].shape[2:], 1]]
        self.inputs = {name: self.net.blobs[name].data.copy() for name in self.net.inputs}
        makers = {top: name for name, tops in self.net.top_names.items() for top in tops}
        types = {layer.name: layer.type for layer in param.layer}
        self.compared: list[str] = []
        for name in self.net.outputs:
            maker = makers[name]
            if types.get(maker) in DECIDING:
                self.compared += self.net.bottom_names[maker]
            else:
                self.compared.append(name)
        priors = [self.net.bottom_names[name][2] for name in types if types[name] == "DetectionOutput"]
        self.ends = [name for name in self.compared if name not in priors]
        order = list(self.net.top_names)
        self.start = max((makers[name] for name in self.ends), key=order.index)

    def forward(self) -> dict[str, np.ndarray]:
        """The blobs that are compared."""
        self.net.forward()
        return {name: self.net.blobs[name].data.copy() for name in self.compared}

    def signals(self) -> dict[str, np.ndarray]:
        """Random diffs at the ends, for every engine."""
        random = np.random.RandomState(0)
        return {
            name: random.standard_normal(self.net.blobs[name].data.shape).astype(np.float32)
            for name in self.ends
        }

    def backward(self) -> np.ndarray:
        """The diff at the image."""
        for name, signal in self.signals().items():
            self.net.blobs[name].diff[...] = signal
        self.net.backward(start=self.start)
        diff: np.ndarray = self.net.blobs[self.net.inputs[0]].diff.copy()
        return diff


def photograph(shared: Path, channels: int, height: int, width: int) -> np.ndarray:
    """A VOC photograph with faces, -1..1."""
    image = cv2.imread(str(shared / "voc2012/VOCdevkit/VOC2012/JPEGImages/2007_000323.jpg"))
    assert image is not None
    image = cv2.resize(image, (width, height)).transpose(2, 0, 1)
    grey = image.mean(0, keepdims=True)
    chosen = image if channels == 3 else np.repeat(grey, channels, 0)
    return ((chosen - 127.5) / 127.5).astype(np.float32)


def _fill(net: Any, param: pb.NetParameter) -> None:
    """Random weights, the same on every machine."""
    types = {layer.name: layer.type for layer in param.layer}
    for name, blobs in net.params.items():
        random = np.random.RandomState(zlib.crc32(name.encode()))
        values = random_values(types[name], [tuple(blob.data.shape) for blob in blobs], random)
        for blob, array in zip(blobs, values):
            blob.data[...] = array

"""Exports of small nets given as prototxt text, for the tests here."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from caffe_gp.export import Exported, export_net

INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { %s } } }\n'


def net_text(layers: str, shape: tuple[int, ...] = (2, 6, 13, 17)) -> str:
    """The layers behind an input ``data``."""
    return INPUT % " ".join(f"dim: {n}" for n in shape) + layers


def saved(folder: Path, text: str) -> tuple[str, str]:
    """Files of a net with random parameters of every layer: (prototxt, caffemodel)."""
    import caffe_gp.caffe as caffe

    prototxt, weights = folder / "in.prototxt", folder / "in.caffemodel"
    prototxt.write_text(text)
    net = caffe.Net(str(prototxt), caffe.TEST)
    random = np.random.RandomState(0)
    for blobs in net.params.values():
        for blob in blobs:  # positive: they may be variances
            blob.data[...] = random.uniform(0.1, 1, blob.data.shape)
    net.save(str(weights))
    return str(prototxt), str(weights)


def exported(folder: Path, text: str, **options: Any) -> Exported:
    """The net with random parameters, exported into ``folder`` as net.py."""
    prototxt, weights = saved(folder, text)
    return export_net(prototxt, weights, torch_file=folder / "net.py", **options)


def imported(path: Path) -> Any:
    """The module that an exported file is."""
    spec = importlib.util.spec_from_file_location("exported_net", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

"""What comes out, what is left when it fails, names that mean harm, guided perturbations of the module."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from caffe_gp import engines
from caffe_gp.engines.module import wrap_module
from caffe_gp.errors import CaffeGPError, NetError, UsageError
from caffe_gp.export import check, export_net
from caffe_gp.gp import GuidedPerturbation
from caffe_gp.models import zoo
from conformance.networks import nets
from tests.export.exported import exported, imported, net_text

pytest.importorskip("safetensors")

pytestmark = pytest.mark.skipif(engines.resolve() == "bvlc", reason="of the embedded Caffe")

CONV = (
    "layer {{ name: {0} type: 'Convolution' bottom: {1} top: {2} "
    "convolution_param {{ num_output: 4 kernel_size: 3 }} }}"
)
SOFTMAX = "layer { name: 'prob' type: 'Softmax' bottom: 'c' top: 'prob' }\n"
PLAIN = CONV.format("'c'", "'data'", "'c'") + "\n" + SOFTMAX
HOSTILE = [
    "import os; os.system('touch hit')",
    "x\\n        import os\\n        open('hit', 'w')",
    '\\"\\"\\"\\nopen(\'hit\', \'w\')\\n\\"\\"\\"',
    "__class__",
    "self",
    "forward",
    "eval",
    "None",
    "{0.__class__}",
    "{m}",
    "torch",
    "1x1",
    "-",
    "ｃlass",
    "a" * 200,
    "\\u202e",
]


def test_files(tmp_path):
    done = exported(tmp_path, net_text(PLAIN), onnx_file=None)
    assert [path.name for path in done.files] == ["net.safetensors", "net.py"]
    assert {path.name for path in tmp_path.iterdir()} == {
        "in.prototxt",
        "in.caffemodel",
        "net.py",
        "net.safetensors",
    }
    text = (tmp_path / "net.py").read_text()
    assert "self.c = nn.Conv2d(6, 4, (3, 3))" in text and "import caffe_gp" not in text
    module = imported(tmp_path / "net.py")
    assert module.OUTPUTS == ["prob"] and module.INPUTS == {"data": (2, 6, 13, 17)}
    assert set(module.load().state_dict()) == {"c.weight", "c.bias"}


def test_it_runs_without_caffe_gp(tmp_path):
    exported(tmp_path, net_text(PLAIN))
    code = (
        "import net, torch, sys; y = net.load()(torch.zeros(1, 6, 9, 9)); "
        "print(tuple(y.shape), 'caffe_gp' in sys.modules)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.stdout == "(1, 4, 7, 7) False\n", done.stderr


def test_ends(tmp_path):
    done = exported(tmp_path, net_text(PLAIN), ends=["c", "prob"])
    found = imported(tmp_path / "net.py").load()(torch.zeros(1, 6, 9, 9))
    assert list(found) == done.outputs == ["c", "prob"]
    with pytest.raises(NetError, match="no blob 'probe'; did you mean prob"):
        exported(tmp_path, net_text(PLAIN), ends=["probe"])


def test_boxes_are_left_out(tmp_path):
    boxes = (
        "layer { name: 'f' type: 'Flatten' bottom: 'c' top: 'f' }\n"
        "layer { name: 'p' type: 'PriorBox' bottom: 'c' bottom: 'data' top: 'p' prior_box_param "
        "{ min_size: 4 variance: 0.1 } }\n"
        "layer { name: 'out' type: 'DetectionOutput' bottom: 'f' bottom: 'f' bottom: 'p' top: 'out' "
        "detection_output_param { num_classes: 4 nms_param { nms_threshold: 0.5 } } }"
    )
    done = exported(tmp_path, net_text(PLAIN.replace(SOFTMAX, boxes)))
    assert done.outputs == ["f", "p"] and any("out (DetectionOutput)" in change for change in done.changes)
    assert done.shapes == {"data": (None, 6, 13, 17)}  # the boxes are those of this size


def test_losses_are_left_out(tmp_path):
    shape = "input_param { shape { dim: 2 dim: 1 dim: 11 dim: 15 } }"
    label = f"layer {{ name: 'l' type: 'Input' top: 'label' {shape} }}\n"
    loss = "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'c' bottom: 'label' top: 'loss' }"
    assert exported(tmp_path, net_text(PLAIN.replace(SOFTMAX, label + loss))).outputs == ["c"]


def test_shared_parameters_are_written_once(tmp_path):
    shared = "param { name: 'w' } param { name: 'b' } }"
    first = CONV.format("'c'", "'data'", "'c'")[:-1] + shared
    second = CONV.format("'d'", "'data'", "'d'")[:-1] + shared
    other = (
        CONV.format("'e'", "'data'", "'e'").replace("kernel_size: 3", "kernel_size: 3 stride: 2")[:-1]
        + shared
    )
    exported(tmp_path, net_text("\n".join([first, second, other])))
    state = imported(tmp_path / "net.py").load().state_dict()
    assert set(state) == {"c.weight", "c.bias", "e.weight", "e.bias"}
    assert torch.equal(state["c.weight"], state["e.weight"])


def test_nothing_is_left_where_results_differ(tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text("old")
    before = check.examples_of

    def moved(*args):
        found = before(*args)
        found.expected[-1][0][0, 0] += 1e-3
        return found

    monkeypatch.setattr("caffe_gp.export.write.examples_of", moved)
    with pytest.raises(CaffeGPError, match=r"blob 'prob' .*differs .* by 0\.00.*expected at most 0.0001"):
        exported(tmp_path, net_text(PLAIN))
    assert {path.name for path in tmp_path.iterdir()} == {"in.prototxt", "in.caffemodel", "net.py"}
    assert (tmp_path / "net.py").read_text() == "old"


def test_hostile_names(tmp_path, monkeypatch):
    """Of the net, layers, blobs and the input: neither run nor in each other's way."""
    given = f"{HOSTILE[1]}!"
    monkeypatch.chdir(tmp_path)
    layers = [f'name: "{HOSTILE[0]}"']
    for name in HOSTILE:
        layers.append(CONV.format(f'"{name}"', f'"{given}"', f'"{name} top"'))
        layers.append(f'layer {{ name: "{name}-" type: "ReLU" bottom: "{name} top" top: "{name} top" }}')
    text = net_text("\n".join(layers)).replace('"data"', f'"{given}"')
    done = exported(tmp_path, text)
    assert len(done.outputs) == len(HOSTILE) and done.errors["torch"] <= 1e-5
    assert not list(tmp_path.rglob("hit"))
    source = (tmp_path / "net.py").read_text()
    assert source.isascii() and max(map(len, source.splitlines())) < 4000
    module = imported(tmp_path / "net.py")
    assert module.NAME == HOSTILE[0] and list(module.load()(torch.zeros(1, 6, 5, 5))) == done.outputs
    assert not list(tmp_path.rglob("hit"))


def test_no_file_to_write(tmp_path):
    for options, words in (
        ({}, "nothing to export"),
        ({"torch_file": "net.pt"}, "ends with .py"),
        ({"onnx_file": "net.py"}, "ends with .onnx"),
    ):
        with pytest.raises(UsageError, match=words):
            export_net("nowhere.prototxt", None, **options)


def test_guided_perturbations_of_the_module_are_those_of_the_net(tmp_path):
    """Wrapped, the exported net has the labels and the perturbation that the embedded Caffe has."""
    model, caffemodel = zoo.get("digits"), tmp_path / "net.caffemodel"
    nets.write_weights("digits", str(caffemodel), "torch")
    export_net(
        model.prototxt(), caffemodel, torch_file=tmp_path / "net.py", ends=[model.score], size=(48, 64)
    )
    images, eps = nets.images("digits"), 4 * nets.EPS * model.feed.scale
    loaded = engines.load_net(str(model.prototxt()), str(caffemodel), engine="torch", score=model.score)
    theirs = GuidedPerturbation(loaded)(images, eps)
    ours = GuidedPerturbation(wrap_module(imported(tmp_path / "net.py").load(), images))(images, eps)
    assert np.array_equal(ours.base_labels, theirs.base_labels)
    assert np.mean(ours.labels == theirs.labels) > 0.999
    assert np.mean(theirs.labels[0] != theirs.base_labels) > 0.05
    assert np.mean(ours.perturbation == theirs.perturbation) > 0.999

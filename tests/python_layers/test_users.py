"""Users' Python layers on both engines: where their modules are found, and what is told of their errors."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback

import pytest

from caffe_gp import engines, proto
from caffe_gp.errors import NetError
from caffe_gp.proto import messages as pb
from caffe_gp.python_layers.users import check_allowed, layer_class

pytestmark = pytest.mark.engine

NET = """
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 dim: 4 dim: 4 } } }
layer { name: "mine" type: "Python" bottom: "data" top: "score"
        python_param { module: "MODULE" layer: "Double" } }
"""
LAYER = """
import caffe
import HELPER

class Double(caffe.Layer):
    def setup(self, bottom, top):
        import caffe.io  # some do so late
        self.factor = HELPER.FACTOR
    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)
    def forward(self, bottom, top):
        top[0].data[...] = self.factor * bottom[0].data
    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = self.factor * top[0].diff
"""
FACTOR, HELPER = "self.factor = HELPER.FACTOR", "import HELPER"
LATE, SHAPE = "import caffe.io  # some do so late", "top[0].reshape(*bottom[0].data.shape)"


@pytest.fixture
def opened(tmp_path, request):
    """Write a module of a name of its own and open a net with it, as the tools do."""
    unique = "".join(letter if letter.isalnum() else "_" for letter in request.node.name)

    def open_net(text=LAYER, folder=tmp_path, name=unique):
        folder.mkdir(exist_ok=True)
        if text is not None:
            (folder / f"{name}.py").write_text(text.replace("HELPER", f"{name}_helper"))
        (folder / f"{name}_helper.py").write_text("FACTOR = 2\n")
        (folder / "net.prototxt").write_text(NET.replace("MODULE", name))
        return engines.load_net(folder / "net.prototxt", engine=engines.resolve())

    return open_net


def test_a_module_beside_the_prototxt(opened):
    before, path = "caffe" in sys.modules, list(sys.path)
    net = opened().net
    net.blobs["data"].data[...] = 3
    net.forward()
    assert (net.blobs["score"].data == 6).all()
    assert sys.path == path
    if engines.resolve() == "torch":  # the embedded Caffe does not stay behind under that name
        assert ("caffe" in sys.modules) == before


@pytest.mark.parametrize(
    "old, new, line, said",
    [
        (FACTOR, "raise KeyError('pascal_root')", 8, r"KeyError: 'pascal_root' \(in setup\)"),
        (FACTOR, "for i in xrange(3): pass", 8, "'xrange' is of Python 2.* range"),
        (FACTOR, "{}.iteritems()", 8, "'iteritems' is of Python 2.* items"),
        (FACTOR, "range(5 / 2)", 8, "TypeError.* write //"),
        (FACTOR, "self.factor = [1, 2][len([1]) / 1]", 8, "TypeError.* write //"),
        (FACTOR, "{}.keys()[0]", 8, "TypeError.* list"),
        (FACTOR, "import cPickle", 8, "'cPickle' is of Python 2.* pickle"),
        (LATE, "print 'setup'", 7, "SyntaxError: .*Python 2 code.*2to3"),
        (LATE, "print self.param_str", 7, "SyntaxError: .*Python 2 code.*2to3"),
        (SHAPE, "raise IOError, 'no list'", 10, "SyntaxError: .*Python 2 code"),
        (HELPER, "import no_such_package_", 3, "Install 'no_such_package_' for .*python"),
        (HELPER, "1 / 0", 3, r"ZeroDivisionError: .*\(in import "),
        (HELPER, "x = = 1", 3, "SyntaxError"),
    ],
)  # fmt: skip
def test_errors_name_layer_file_and_line(opened, tmp_path, old, new, line, said):
    with pytest.raises(NetError, match=said) as caught:
        opened(LAYER.replace(old, new))
    message = str(caught.value)
    assert "net.prototxt" in message and "layer 'mine' (Python)" in message
    assert f"{tmp_path}{os.sep}" in message and f".py:{line}: " in message
    cause = caught.value.__cause__
    assert cause is not None and not isinstance(cause, NetError)
    if not isinstance(cause, SyntaxError):
        assert any(
            frame.filename.startswith(str(tmp_path)) for frame in traceback.extract_tb(cause.__traceback__)
        )


@pytest.mark.parametrize("method, line", [("forward", 12), ("backward", 14)])
def test_errors_of_a_pass(opened, method, line):
    text = LAYER.replace(
        "[0].data[...] = self.factor", "[0].data[...] = self.nothing" if line == 12 else "[0].data[...] = 2"
    )
    net = opened(text.replace("diff[...] = self.factor", "diff[...] = self.nothing")).net
    with pytest.raises(
        NetError, match=rf"layer 'mine'.*py:{line}: AttributeError.*\(in {method}\)"
    ) as caught:
        net.forward()
        net.backward()
    assert isinstance(caught.value.__cause__, AttributeError)


def test_a_module_that_is_not_there(opened, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    with pytest.raises(NetError, match="layer 'mine'.*module 'test_a.*not found.*/somewhere") as caught:
        opened(None)
    assert str(tmp_path) in str(caught.value) and os.getcwd() in str(caught.value)
    with pytest.raises(NetError, match="no class 'Double'; did you mean Duoble"):
        opened(LAYER.replace("class Double", "class Duoble"))


def test_a_class_that_is_no_layer(opened):
    with pytest.raises(NetError, match="does not derive from caffe.Layer"):
        opened("class Double:\n    pass\n")


def test_two_nets_with_a_module_of_one_name(opened, tmp_path):
    opened(folder=tmp_path / "a", name="same_name_")
    opened(folder=tmp_path / "a", name="same_name_")
    with pytest.raises(NetError, match="same_name_.*two processes"):
        opened(folder=tmp_path / "b", name="same_name_")


@pytest.mark.skipif(engines.resolve() == "bvlc", reason="about the embedded Caffe")
def test_a_real_caffe_is_not_hidden(opened, tmp_path):
    """A script that has loaded another module 'caffe' keeps it, and a layer gets the embedded one."""
    (tmp_path / "caffe").mkdir()
    (tmp_path / "caffe" / "__init__.py").write_text("from . import io\nclass Net: pass\nclass Layer: pass\n")
    (tmp_path / "caffe" / "io.py").write_text("")
    opened()
    script = (
        "import caffe, sys\nreal = caffe, caffe.io\nimport caffe_gp\n"
        "net = caffe_gp.load_net('net.prototxt').net\nnet.forward()\n"
        "import caffe\nassert (caffe, sys.modules['caffe.io']) == real\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True)


@pytest.mark.parametrize("module", ["os..path", ".os", "os/path", "os path", "..", "a-b", "os.", "x\0"])
def test_what_is_no_name_of_a_module(module):
    param = pb.PythonParameter(module=module, layer="X")
    with pytest.raises(
        NetError, match="layer 't': python_param.module .* is not the name of a Python module"
    ):
        layer_class("layer 't'", param, (), object)


def test_only_allowed_modules_run(tmp_path):
    (tmp_path / "net.prototxt").write_text(
        'input: "data" input_shape { dim: 1 dim: 3 dim: 4 dim: 4 }\n'
        'layer { name: "t" type: "Python" bottom: "data" top: "t" '
        'python_param { module: "side" layer: "L" } }\n'
        'layer { name: "p" type: "Softmax" bottom: "t" top: "p" }\n'
    )
    (tmp_path / "side.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    (tmp_path / "solver.prototxt").write_text(
        f'net: "{tmp_path}/net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 1 solver_mode: CPU\n'
    )
    files = ["--prototxt", f"{tmp_path}/net.prototxt", "--caffemodel", f"{tmp_path}/w.caffemodel"]
    proto.write_caffemodel(f"{tmp_path}/w.caffemodel", pb.NetParameter(), {})
    with pytest.raises(NetError, match="layer 't'.* module 'side'.*--allow-python-layers side"):
        engines.prepare_net(tmp_path / "net.prototxt", allow_python_layers=["other"])
    engines.prepare_net(tmp_path / "net.prototxt", allow_python_layers=["side"])
    for words in (
        ["run", *files, "--eps", "1", str(tmp_path / "none.png")],
        ["train", "--solver", f"{tmp_path}/solver.prototxt"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "caffe_gp", *words], capture_output=True, text=True, cwd=tmp_path
        )
        assert done.returncode == 2, done.stderr
        assert not (tmp_path / "ran").exists()
    assert "--allow-python-layers side" in done.stderr


def test_our_own_need_no_permission():
    net = pb.NetParameter()
    net.layer.add(type="Python").python_param.module = "caffe_gp.python_layers.builtin"
    check_allowed(net, ())
    net.layer[0].python_param.module = "caffe_gp.python_layers_of_mine"
    with pytest.raises(NetError):
        check_allowed(net, ())

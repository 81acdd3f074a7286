"""``python -m caffe_gp.caffe``: unmodified pycaffe scripts in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 dim: 4 dim: 4 } } }
layer { name: "double" type: "Power" bottom: "data" top: "double" power_param { scale: 2 } }
layer { name: "mine" type: "Python" bottom: "double" top: "out"
  python_param { module: "my_layers" layer: "AddOne" } }
"""

LAYERS = """
import caffe

class AddOne(caffe.Layer):
    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data + 1

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = top[0].diff
"""

SCRIPT = """
import sys
import numpy as np
import caffe
import caffe.io
import caffe.draw
import caffe.proto.caffe_pb2 as by_module
from caffe import layers as L, params as P, to_proto
from caffe.coord_map import crop
from caffe.net_spec import NetSpec
from caffe.proto import caffe_pb2
from caffe.pycaffe import Net
import google.protobuf.text_format as text_format

assert __name__ == "__main__" and __file__ == sys.argv[0], (__name__, __file__)
assert sys.argv[1:] == ["--a", "b c"]
assert caffe.__spec__.name == caffe.__name__ == "caffe_gp.caffe"
assert caffe.io.Transformer and sys.modules["caffe"] is caffe and sys.modules["caffe.io"] is caffe.io
assert by_module is caffe_pb2 and Net is caffe.Net
assert isinstance(L.ReLU(L.Input()), caffe.net_spec.Top) and P.Pooling.AVE == 1
message = caffe_pb2.NetParameter()
text_format.Merge(open("net.prototxt").read(), message)
assert [layer.type for layer in message.layer] == ["Input", "Power", "Python"]
again = text_format.Parse(text_format.MessageToString(message), caffe_pb2.NetParameter())
assert again == message
assert caffe_pb2.Phase.Value("TEST") == caffe_pb2.TEST == caffe.TEST
caffe.set_mode_cpu()
net = caffe.Net("net.prototxt", caffe.TEST)
net.blobs["data"].data[...] = 3
out = net.forward()["out"]
assert out.shape == (1, 2, 4, 4) and (out == 7).all()
print("done", np.float32(out.sum()))
"""


def run(folder, *arguments):
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    environment = dict(os.environ, PYTHONPATH=root, OMP_NUM_THREADS="1")
    return subprocess.run(
        [sys.executable, "-m", "caffe_gp.caffe", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "my_layers.py").write_text(LAYERS)
    (tmp_path / "script.py").write_text(SCRIPT)
    return tmp_path


def test_a_pycaffe_script_with_its_own_python_layer(folder):
    done = run(folder, "script.py", "--a", "b c")
    assert "] mine -> out" in done.stderr and done.stderr.endswith("] Network initialization done.\n")
    assert done.stdout == "done 224.0\n" and done.returncode == 0


def test_a_module_and_code(folder):
    (folder / "pack").mkdir()
    (folder / "pack" / "__init__.py").write_text("")
    (folder / "pack" / "tool.py").write_text(
        "import sys, caffe\nfrom . import __name__ as parent\n"
        "print(__name__, parent, sys.argv[0].endswith('tool.py'), sys.argv[1:], caffe.TEST)\n"
    )
    done = run(folder, "-m", "pack.tool", "x")
    assert done.stdout == "__main__ pack True ['x'] 1\n", done.stderr
    done = run(folder, "-c", "import sys, caffe; print(__name__, sys.argv, caffe.TRAIN)", "x")
    assert done.stdout == "__main__ ['-c', 'x'] 0\n", done.stderr


def test_tracebacks_begin_in_the_script(folder):
    (folder / "bad.py").write_text("import caffe\n\ndef f():\n    raise KeyError('k')\n\nf()\n")
    done = run(folder, "bad.py")
    lines = done.stderr.splitlines()
    assert done.returncode == 1
    assert lines[0] == "Traceback (most recent call last):" and 'bad.py", line 6, in <module>' in lines[1]
    assert lines[-1] == "KeyError: 'k'" and "runpy" not in done.stderr and "__main__.py" not in done.stderr
    (folder / "bad.py").write_text("import caffe\ncaffe.Net('none.prototxt', caffe.TEST)\n")
    done = run(folder, "bad.py")
    assert done.returncode == 2 and "none.prototxt" in done.stderr.splitlines()[-1]
    (folder / "bad.py").write_text("x = = 1\n")
    done = run(folder, "bad.py")
    assert done.returncode == 1 and 'bad.py", line 1' in done.stderr and "SyntaxError" in done.stderr


@pytest.mark.parametrize(
    "code, advice",
    [
        ("import yaml_of_2015", "to install 'yaml_of_2015': "),
        ("print 'iteration'", "Python 2 code"),
        ("range(3) + xrange(3)", "'xrange' is of Python 2; in Python 3 it is range"),
    ],
)
def test_scripts_of_another_time_are_told_what_to_do(folder, code, advice):
    (folder / "old.py").write_text(code + "\n")
    done = run(folder, "old.py")
    assert done.returncode == 1 and 'old.py", line 1' in done.stderr
    assert advice in done.stderr.splitlines()[-1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="about a machine without a GPU")
def test_a_script_for_a_gpu_on_a_machine_without_one(folder, monkeypatch):
    """Every released script has these two lines."""
    (folder / "gpu.py").write_text(
        "import caffe\ncaffe.set_device(0)\ncaffe.set_mode_gpu()\n"
        "print(caffe.Net('net.prototxt', caffe.TEST).forward()['out'].sum())\n"
    )
    monkeypatch.delenv("CAFFE_GP_DEVICE", raising=False)
    monkeypatch.delenv("GLOG_minloglevel", raising=False)
    done = run(folder, "gpu.py")
    assert done.returncode == 4 and "CAFFE_GP_DEVICE=cpu" in done.stderr
    monkeypatch.setenv("CAFFE_GP_DEVICE", "cpu")
    done = run(folder, "gpu.py")
    assert (done.returncode, done.stdout) == (0, "32.0\n") and "no GPU here" in done.stderr


def test_exit_codes_and_usage(folder):
    (folder / "exit.py").write_text("import sys\nsys.exit(5)\n")
    assert run(folder, "exit.py").returncode == 5
    done = run(folder)
    assert done.returncode == 2 and "usage" in done.stderr
    done = run(folder, "--help")
    assert done.returncode == 0 and "usage" in done.stdout and "SCRIPT" in done.stdout
    done = run(folder, "missing.py")
    assert done.returncode != 0 and "missing.py" in done.stderr


@pytest.mark.parametrize("level, shown", [("", True), ("1", False)])
def test_a_training_script_shows_its_progress(tmp_path, level, shown):
    (tmp_path / "solver.prototxt").write_text(
        'base_lr: 0.1 lr_policy: "fixed" display: 1 net_param { layer { name: "d" type: "DummyData" top: "d" '
        "dummy_data_param { shape { dim: 1 } } } }"
    )
    script = "import caffe; caffe.SGDSolver('solver.prototxt').step(2)"
    done = subprocess.run(
        [sys.executable, "-m", "caffe_gp.caffe", "-c", script],
        cwd=tmp_path,
        text=True,
        capture_output=True,
        env={**os.environ, "GLOG_minloglevel": level},
    )
    assert done.returncode == 0, done.stderr
    assert ("] Iteration 1, lr = 0.1\n" in done.stderr) is shown


FORK = """
import multiprocessing
import sys
import caffe

caffe.set_threads(2)
net = caffe.Net("net.prototxt", caffe.TEST)
net.forward()

def work(queue):
    caffe.set_threads(2)
    queue.put(float(net.forward()["y"].sum() - expected))

expected = net.blobs["y"].data.sum()
context = multiprocessing.get_context("fork")
queue = context.Queue()
child = context.Process(target=work, args=(queue,), daemon=True)
child.start()
print(abs(queue.get(timeout=60)) < 1e-3 * abs(expected))
"""


def test_a_child_forked_after_a_forward_computes(tmp_path):
    (tmp_path / "net.prototxt").write_text("""
layer { name: "x" type: "DummyData" top: "x" dummy_data_param { data_filler { type: "constant" value: 0.5 }
  shape { dim: 4 dim: 3 dim: 64 dim: 64 } } }
layer { name: "y" type: "Convolution" bottom: "x" top: "y"
  convolution_param { num_output: 32 kernel_size: 5 weight_filler { type: "xavier" } } }
""")
    (tmp_path / "script.py").write_text(FORK)
    done = run(tmp_path, "script.py")
    assert done.stdout == "True\n", done.stderr


def test_a_missing_package_of_the_script_is_named_as_pip_names_it(tmp_path):
    code = "import sys; sys.modules['skimage'] = None; import caffe; caffe.io.resize"
    done = run(tmp_path, "-c", code)
    assert done.returncode == 1 and done.stderr.rstrip().endswith("-m pip install scikit-image")
    assert "caffe.io.resize is scikit-image's" in done.stderr

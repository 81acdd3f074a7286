"""Whatever BVLC Caffe dies of reaches the caller as an EngineError with its last log line."""

from __future__ import annotations

import ctypes
import faulthandler

import pytest

from caffe_gp import engines
from caffe_gp.errors import EngineError

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(engines.resolve() != "bvlc", reason="needs BVLC Caffe (CAFFE_GP_ENGINE=bvlc)"),
]
NET = """
layer { name: "in" type: "Input" top: "data" input_param { shape { %s } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "score"
        convolution_param { num_output: 4 kernel_size: 3 } }
"""
SMALL = NET % "dim: 1 dim: 3 dim: 20 dim: 20"
DATA = 'layer { name: "data" type: "%s" top: "data" top: "label" %s { source: "$DIR/none" batch_size: 1 } }'


def guarded_net(tmp_path, text, weights=None, name="weights.caffemodel"):
    """Load a net as pycaffe does, with no check of ours before it."""
    prototxt = tmp_path / "net.prototxt"
    prototxt.write_text(text.replace("$DIR", str(tmp_path)))

    def load():
        faulthandler.disable()  # else Python's own traceback follows Caffe's
        caffe = engines.load_caffe("bvlc")
        net = caffe.Net(str(prototxt), caffe.TEST)
        if weights is not None:
            (tmp_path / name).write_bytes(weights)
            net.copy_from(str(tmp_path / name))
        net.forward()

    return engines.run_guarded(load)


@pytest.mark.parametrize(
    "text, message",
    [
        ("layer { nope", r"upgrade_proto.cpp:\d+: Check failed: .*Failed to parse NetParameter file"),
        (
            'layer { name: "x" type: "Interp" top: "y" }',
            r"layer_factory.hpp:\d+: .*Unknown layer type: Interp",
        ),
        (
            SMALL + 'layer { name: "r" type: "ReLU" bottom: "x" top: "y" }',
            "Unknown bottom blob 'x' .layer 'r'",
        ),
        (
            SMALL + 'layer { name: "c" type: "Crop" bottom: "score" bottom: "data" top: "y" }',
            "crop_layer.cpp",
        ),
        (NET % "dim: 99999 dim: 3 dim: 999 dim: 999", "blob.cpp.*blob size exceeds INT_MAX"),
        (DATA % ("ImageData", "image_data_param"), "image_data_layer.cpp.*File is empty"),
        (DATA % ("HDF5Data", "hdf5_data_param"), "hdf5_data_layer.cpp.*Failed to open source file: .*/none"),
        (DATA % ("Data", "data_param"), r"db_leveldb.cpp:\d+: Check failed"),
    ],
    ids=["syntax", "layer type", "bottom", "crop", "size", "images", "hdf5", "leveldb"],
)
def test_nets(tmp_path, text, message):
    with pytest.raises(EngineError, match="BVLC Caffe stopped at .*" + message):
        guarded_net(tmp_path, text)


@pytest.mark.parametrize(
    "weights, name",
    [
        (b"\n\x05hello\xa2\x06\xff\xff", "cut.caffemodel"),
        (b"neither format", "text.caffemodel.h5"),
    ],
)
def test_weights(tmp_path, weights, name):
    with pytest.raises(EngineError, match="Caffe stopped at .*Failed to parse NetParameter file: .*" + name):
        guarded_net(tmp_path, SMALL, weights, name)


def test_a_good_net_passes_and_a_crash_without_words_is_named(tmp_path):
    assert guarded_net(tmp_path, SMALL) is None

    def crash():
        faulthandler.disable()
        ctypes.string_at(0)

    with pytest.raises(EngineError, match="SIGSEGV"):
        engines.run_guarded(crash)

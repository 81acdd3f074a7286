"""What a net may take, checked before it is taken."""

from __future__ import annotations

import pytest
import torch

import caffe_gp.caffe as caffe
from caffe_gp import proto
from caffe_gp.caffe import memory
from caffe_gp.cli.options import add_max_memory
from caffe_gp.errors import NetError, UsageError

BOX = 'layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }\n'
LAYER = 'layer {{ name: "t" type: "{}" bottom: "d" top: "t" {} }}'


@pytest.fixture(autouse=True)
def a_megabyte(monkeypatch):
    monkeypatch.setenv(memory.VARIABLE, "1000000")


def net(text):
    return caffe.Net.from_param(proto.parse_net_param(text), caffe.TEST)


@pytest.mark.parametrize(
    "kind, rest, says",
    [
        ("Convolution", "convolution_param { num_output: 700000000 kernel_size: 1 }", "700000000, 3, 1, 1"),
        (
            "Convolution",
            "convolution_param { num_output: 1 kernel_size: 26000 pad: 13000 }",
            "1, 3, 26000, 26000",
        ),
        ("InnerProduct", "inner_product_param { num_output: 10000000 }", "10000000, 192"),
        ("Embed", "embed_param { input_dim: 1000000000 num_output: 1 }", "1000000000, 1"),
        ("Interp", "interp_param { height: 26000 width: 26000 }", "1, 3, 26000, 26000"),
        ("Tile", "tile_param { tiles: 11184810 }", "1, 33554430, 8, 8"),
        ("Im2col", "convolution_param { kernel_size: 100 pad: 50 }", "1, 30000"),
        (
            "Pooling",
            "pooling_param { pool: AVE kernel_size: 30000 pad: 29999 stride: 29999 }",
            "its computation",
        ),
    ],
)
def test_what_asks_for_too_much_is_refused(kind, rest, says):
    with pytest.raises(NetError, match=rf"layer 't' \({kind}\).*{says}.*--max-memory"):
        net(BOX + LAYER.format(kind, rest))


def test_the_sum_counts():
    relus = "".join(
        f'layer {{ name: "r{i}" type: "ReLU" bottom: "d{i or ""}" top: "d{i + 1}" }}\n' for i in range(4)
    )
    text = 'input: "d" input_shape { dim: 1 dim: 60000 }\n' + relus
    with pytest.raises(NetError, match="layer 'r3'.*240,000 bytes; of 1,000,000 .* 40,000 are left"):
        net(text)
    short = text.replace("60000", "40000")
    assert net(short).forward()["d4"].shape == (1, 40000)
    with pytest.raises(NetError, match="the backward of 4 blobs needs 640,000 bytes"):
        net("force_backward: true " + short)


def test_a_net_that_grows_is_refused(monkeypatch):
    made = net(BOX + LAYER.format("Tile", "tile_param { tiles: 2 }"))
    made.blobs["d"].reshape(1, 3, 250, 250)
    with pytest.raises(NetError, match=r"layer 't' \(Tile\).*\(1, 6, 250, 250\) needs 1,500,000 bytes"):
        made.forward()


def test_lrn_looks_no_further_than_the_channels():
    x = torch.rand(1, 3, 8, 8)
    results = []
    for size in (7, 2**32 - 1):
        made = net(BOX + LAYER.format("LRN", f"lrn_param {{ local_size: {size} alpha: {size} }}"))
        made.blobs["d"].data[...] = x
        results.append(torch.from_numpy(made.forward()["t"].copy()))
    torch.testing.assert_close(*results)  # alpha / local_size is 1 in both


def test_the_limit(monkeypatch):
    import argparse

    parser = argparse.ArgumentParser()
    add_max_memory(parser)
    for text, count in (("500", 500), ("3K", 3072), ("2m", 2 << 20), ("4G", 4 << 30)):
        assert vars(parser.parse_args(["--max-memory", text])) == {}
        assert memory.max_bytes() == count
    monkeypatch.setenv(memory.VARIABLE, "lots")
    with pytest.raises(UsageError, match="'lots'"):
        memory.max_bytes()
    monkeypatch.delenv(memory.VARIABLE)
    assert 1 << 27 < memory.max_bytes() < 1 << 50

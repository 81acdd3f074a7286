"""What a net may take, checked before it is taken."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import caffe_gp.caffe as caffe
from caffe_gp import proto
from caffe_gp.caffe import filler, memory
from caffe_gp.caffe.memory_use import memory_use
from caffe_gp.cli import inspect
from caffe_gp.cli.net_options import add_max_memory
from caffe_gp.errors import NetError, OutOfMemoryError, UsageError

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


def test_the_lattice_of_a_mean_field_counts():
    """Its size grows with the square of the image's channels."""
    text = BOX.replace("dim: 3", "dim: 500") + LAYER.format("MultiStageMeanfield", 'bottom: "d" bottom: "d"')
    with pytest.raises(NetError, match="layer 't'.*--max-memory"):
        net(text)


def test_the_sum_counts():
    relus = "".join(
        f'layer {{ name: "r{i}" type: "ReLU" bottom: "d{i or ""}" top: "d{i + 1}" }}\n' for i in range(4)
    )
    text = 'input: "d" input_shape { dim: 1 dim: 60000 }\n' + relus
    with pytest.raises(NetError, match="layer 'r3'.*240,000 bytes; of 1,000,000 .* 40,000 are left"):
        net(text)
    short = text.replace("60000", "40000")
    assert net(short).forward()["d4"].shape == (1, 40000)
    both = net("force_backward: true " + short)
    both.forward()
    with pytest.raises(OutOfMemoryError, match="a forward and a backward with d .* needs 1,440,000 bytes"):
        both.backward(d4=both.blobs["d4"].data)


def test_a_net_that_grows_is_refused(monkeypatch):
    made = net(BOX + LAYER.format("Tile", "tile_param { tiles: 2 }"))
    made.blobs["d"].reshape(1, 3, 250, 250)
    with pytest.raises(NetError, match=r"layer 't' \(Tile\).*\(1, 6, 250, 250\) needs 1,500,000 bytes"):
        made.forward()
    made.blobs["d"].reshape(1, 3, 200, 200)  # either blob does, both together do not
    with pytest.raises(OutOfMemoryError, match=r"a forward with d \(1, 3, 200, 200\) needs 1,440,000 bytes"):
        made.forward()
    assert not made.blobs["t"]._data.allocated
    made.blobs["d"].reshape(1, 3, 100, 100)
    assert made.forward()["t"].shape == (1, 6, 100, 100)


def test_what_the_machine_has_not_is_an_error_of_ours(monkeypatch):
    def none_left(*shape):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 768 bytes")

    made = net(BOX + LAYER.format("Power", "power_param { power: 2 }"))
    with monkeypatch.context() as patch:
        patch.setattr(torch, "zeros", none_left)
        with pytest.raises(OutOfMemoryError, match="a blob of 192 values"):
            made.blobs["d"].data[...] = 1
    with monkeypatch.context() as patch:
        patch.setattr(type(made.layers[1]), "forward", none_left)
        with pytest.raises(OutOfMemoryError, match="layer 't'.*takes about 1,536 bytes for a forward"):
            made.forward()


def test_parameters_are_filled_when_the_whole_net_is_known_to_do(monkeypatch):
    filled = []
    monkeypatch.setattr(filler, "_fill_now", lambda blob, param: filled.append(blob))
    inner = LAYER.format("InnerProduct", "inner_product_param { num_output: 9 }").replace('"t"', '"i"')
    with pytest.raises(OutOfMemoryError, match="layer 't'"):
        net(BOX + inner + LAYER.format("Tile", "tile_param { tiles: 9999 }"))
    assert not filled
    net(BOX + inner)
    assert len(filled) == 2


def test_threads_do_not_share_limits():
    with memory.shapes_only(), ThreadPoolExecutor(1) as other:
        memory.need(10**15, "nothing")
        with pytest.raises(OutOfMemoryError, match="all of it"):
            other.submit(memory.need, 10**15, "all of it").result()


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


def test_a_limit_of_the_shell_counts():
    code = "from caffe_gp.caffe import memory; print(memory.max_bytes())"
    environment = {name: value for name, value in os.environ.items() if name != memory.VARIABLE}
    limited = f"ulimit -v {8 << 20}; exec {sys.executable} -c '{code}'"
    found = subprocess.run(["sh", "-c", limited], env=environment, stdout=subprocess.PIPE, check=True)
    assert int(found.stdout) <= 0.8 * (8 << 30)


CHAIN = (
    BOX
    + 'layer { name: "c" type: "Convolution" bottom: "d" top: "c" '
    + "convolution_param { num_output: 5 kernel_size: 3 } }\n"
    + 'layer { name: "r" type: "ReLU" bottom: "c" top: "c" }\n'
    + 'layer { name: "a" type: "Power" bottom: "c" top: "a" power_param { scale: 2 } }\n'
    + 'layer { name: "b" type: "Power" bottom: "c" top: "b" power_param { scale: 3 } }\n'
    + 'layer { name: "s" type: "Eltwise" bottom: "a" bottom: "b" top: "s" }\n'
)


def taken(made):
    """Bytes that the blobs of a net have taken: data, and diffs."""
    blobs = [*made._blobs, *made.learnable_params]
    sides = [{id(side): side for side in map(get, blobs)} for get in (lambda b: b._data, lambda b: b._diff)]
    return [sum(4 * side.size for side in found.values() if side.allocated) for found in sides]


def test_what_a_net_takes_is_known_before():
    text = "force_backward: true " + CHAIN
    use = memory_use(proto.parse_net_param(text), "d", "net.prototxt")
    made = net(text)
    made.forward()
    data, _ = taken(made)
    assert data == 4 * (192 + 5 * 27 + 5 + 4 * 180)
    assert use.forward == data + 4 * 27 * 36  # the patches that torch multiplies with
    made.backward(s=made.blobs["s"].data)
    assert use.backward - use.forward == 4 * (192 + 5 * 180)  # d, c, both tops of its Split, a and b
    _, diffs = taken(made)
    assert diffs == use.backward - use.forward + 4 * (180 + 5 * 27 + 5)  # s, which was given; parameters
    above = memory_use(proto.parse_net_param(text), "c", "net.prototxt")
    assert above.forward == use.forward and above.backward == use.backward - 4 * 192
    with pytest.raises(NetError, match="no blob 'x'"):
        memory_use(proto.parse_net_param(text), "x", "net.prototxt")


def test_shapes_only_takes_nothing(monkeypatch):
    huge = CHAIN.replace("num_output: 5", "num_output: 5000000")
    assert memory_use(proto.parse_net_param(huge), "d", "net.prototxt").forward > 10**9


def test_inspect_says_what_fits(tmp_path, capsys, monkeypatch):
    path = tmp_path / "net.prototxt"
    path.write_text(CHAIN + 'layer { name: "p" type: "Softmax" bottom: "s" top: "p" }')
    found = inspect.memory_facts(path, (60, 30))
    needed = found["bytes with guided perturbations at 'data'"]
    assert found["bytes for a forward at 60 x 30"] < needed < 1_000_000
    width, height = map(int, found["largest size that fits into 1000000 bytes"].split(" x "))
    assert 60 < width < 1000 and height == round(width / 2)
    monkeypatch.setenv(memory.VARIABLE, str(needed))
    assert inspect.memory_facts(path, (60, 30))[f"largest size that fits into {needed} bytes"] == "60 x 30"
    monkeypatch.setenv(memory.VARIABLE, str(needed - 1))
    smaller = inspect.memory_facts(path, (60, 30))[f"largest size that fits into {needed - 1} bytes"]
    assert smaller in ("59 x 30", "59 x 29")

"""Weights that are needed transformed only are let go, and read from their file again when asked for."""

from __future__ import annotations

import copy
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from threading import Barrier, BrokenBarrierError

import numpy as np
import pytest
import torch

from caffe_gp import caffe, proto
from caffe_gp.caffe import blob as blob_module
from caffe_gp.caffe.fast import winograd
from caffe_gp.errors import NetError, WeightsError
from caffe_gp.proto.file_values import FileValues

# 589,824 weights, and 262,144 that stay.
PROTOTXT = """
force_backward: true
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 128 dim: 20 dim: 20 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 512 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "mixed" type: "Convolution" bottom: "conv" top: "mixed"
        convolution_param { num_output: 512 kernel_size: 1 weight_filler { type: "xavier" } } }
"""
WEIGHTS = (512, 128, 3, 3)


@pytest.fixture()
def files(tmp_path):
    """A prototxt and its weights."""
    prototxt, caffemodel = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    prototxt.write_text(PROTOTXT)
    caffe.set_random_seed(1)
    caffe.Net(str(prototxt), caffe.TEST).save(str(caffemodel))
    os.utime(caffemodel, (0, 0))  # whatever the file system's clock shows of a change
    return prototxt, caffemodel


@pytest.fixture()
def net(files):
    found = caffe.Net(*map(str, files), caffe.TEST)
    found.blobs["data"].data[...] = np.random.RandomState(0).randn(1, 128, 20, 20)
    return found


@pytest.fixture(autouse=True)
def transforms(monkeypatch):
    """Every time that weights are transformed."""
    made = []
    plain = winograd.Tile.transformed

    def counting(tile, weight):
        made.append(1)
        return plain(tile, weight)

    monkeypatch.setattr(winograd.Tile, "transformed", counting)
    return made


def weights_of(net):
    return net.params["conv"][0]


def is_away(net):
    return weights_of(net)._data._host is None


def output(net, plain=False):
    """Of a pass as guided perturbations make it, or of a ``plain`` one."""
    with nullcontext() if plain else net.only_diffs("data"):
        net._forward(0, len(net.layers) - 1)
    return net.blobs["conv"].read_data().copy()


def expected_weights(files):
    with proto.read_weights(files[1]) as weights:
        return weights.as_dict()["conv"][0]


def test_they_come_back_as_they_were_for_good_and_are_not_transformed_again(files, net, transforms):
    first = output(net)
    assert is_away(net)
    np.testing.assert_array_equal(weights_of(net).read_data(), expected_weights(files))
    np.testing.assert_array_equal(output(net), first)
    assert not is_away(net) and len(transforms) == 1
    files[1].unlink()
    np.testing.assert_array_equal(output(net, plain=True), first)


def test_a_script_s_own_passes_keep_them(files, net):
    first = output(net, plain=True)
    net.backward()
    files[1].unlink()
    net.backward()
    assert not is_away(net) and weights_of(net).diff.shape == WEIGHTS
    np.testing.assert_array_equal(output(net), first)
    assert not is_away(net)  # their file is gone


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="no /proc")
def test_a_file_is_open_only_while_its_values_are_away(files, net):
    def is_open():
        links = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
        return any(os.readlink(link) == str(files[1]) for link in links if os.path.exists(link))

    output(net, plain=True)
    assert not is_open()
    output(net)
    assert is_open()
    weights_of(net).read_data()
    assert not is_open()


def test_a_file_is_not_open_for_weights_that_somebody_holds(files, net):
    tensor = weights_of(net).data_tensor
    output(net)
    assert weights_of(net)._data._source._opened is None and tensor.any()


def test_a_view_brings_them_back_for_good(files, net, transforms):
    first = output(net)
    view = weights_of(net).data
    np.testing.assert_array_equal(view, expected_weights(files))
    np.testing.assert_array_equal(output(net), first)
    view *= 2
    assert not np.array_equal(output(net), first) and not is_away(net)
    np.testing.assert_array_equal(weights_of(net).data, 2 * expected_weights(files))


@pytest.mark.parametrize("before_a_pass", [True, False])
def test_what_is_written_into_them_stays(files, net, before_a_pass):
    first = output(net)
    tensor = weights_of(net).data_tensor
    if before_a_pass:
        tensor.mul_(2)
    assert np.array_equal(output(net), first) != before_a_pass
    assert not is_away(net)  # somebody has them
    if not before_a_pass:
        tensor.mul_(2)
    assert not np.array_equal(output(net), first)
    np.testing.assert_array_equal(weights_of(net).read_data(), 2 * expected_weights(files))


def test_other_values_take_their_place(files, net):
    first = output(net)
    weights_of(net).data_tensor = torch.zeros(WEIGHTS)
    assert not output(net).any() and not is_away(net)
    net.copy_from(str(files[1]))
    np.testing.assert_array_equal(output(net), first)
    assert is_away(net)
    weights_of(net).reshape(512, 128, 1, 1)
    weights_of(net).data_tensor = torch.ones(512, 128, 1, 1)
    weights_of(net).reshape(*WEIGHTS)  # growing back shows the others again
    assert (weights_of(net).data.ravel()[: 512 * 128] == 1).all()
    np.testing.assert_array_equal(weights_of(net).data.ravel()[-9:], expected_weights(files).ravel()[-9:])


def test_a_plain_path_gets_them(files, net):
    output(net)
    net.blobs["data"].reshape(1, 128, 2, 2)
    with net.only_diffs("data"):
        net._forward(0, 1)
    assert net.blobs["conv"].data.any() and not is_away(net)


def test_layers_that_do_not_learn_keep_them_in_a_script_s_own_passes(files):
    text = files[0].read_text().replace("force_backward: true", "")
    files[0].write_text(text.replace('top: "conv"\n', 'top: "conv" param { lr_mult: 0 }\n'))
    net = caffe.Net(*map(str, files), caffe.TEST)
    net.blobs["data"].data[...] = 1
    assert not net.layers[1].param_propagate_down[0]
    output(net, plain=True)
    assert not is_away(net)


def test_nets_that_share_them(files, net):
    other = caffe.Net(str(files[0]), caffe.TEST)
    other.share_with(net)
    other.blobs["data"].data[...] = net.blobs["data"].data
    np.testing.assert_array_equal(output(net), output(other))
    assert is_away(net) and is_away(other)
    weights_of(other).data_tensor.zero_()
    assert not output(net).any()


def test_threads_with_nets_that_share_them(files, net):
    """Each lets them go, and asks for them, while the others do."""
    expected, weights = output(net), expected_weights(files)

    def work(other):
        for _ in range(3):
            np.testing.assert_array_equal(output(other), expected)
        np.testing.assert_array_equal(weights_of(other).read_data(), weights)
        np.testing.assert_array_equal(output(other), expected)

    for _ in range(5):
        owner = caffe.Net(*map(str, files), caffe.TEST)
        nets = [caffe.Net(str(files[0]), caffe.TEST) for _ in range(3)]
        for other in nets:
            other.share_with(owner)
            other.blobs["data"].data[...] = net.blobs["data"].data
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(work, nets))


def test_two_threads_that_let_them_go_at_once(files, net, monkeypatch):
    """Each looks at the file when the other has looked at the weights."""
    expected = output(net, plain=True)
    memory, both_there = weights_of(net)._data, Barrier(2)
    plain = FileValues.hold

    def hold(values):
        with suppress(BrokenBarrierError):
            both_there.wait(0.2)
        return plain(values)

    monkeypatch.setattr(FileValues, "hold", hold)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: memory.let_go(), range(2)))
    assert is_away(net)
    np.testing.assert_array_equal(weights_of(net).read_data(), expected_weights(files))
    np.testing.assert_array_equal(output(net), expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_gets_them_whoever_held_the_lock(files, net):
    output(net)
    with blob_module._moving:
        child = os.fork()
        if child == 0:
            os._exit(int(not np.array_equal(weights_of(net).read_data(), expected_weights(files))))
    assert os.waitpid(child, 0)[1] == 0


def test_weights_of_another_shape_are_found_before_a_backward(files, net):
    """What is kept of them has the old one."""
    net.forward()
    net.backward()
    weights_of(net).reshape(512, 64, 3, 3)
    with pytest.raises(NetError, match="layer 'conv'"):
        net.backward()


def test_a_snapshot_and_a_copy_have_them(files, net, tmp_path):
    output(net)
    memory = copy.deepcopy(weights_of(net)._data)
    np.testing.assert_array_equal(memory.numpy(WEIGHTS), expected_weights(files))
    output(net)
    net.save(str(tmp_path / "again.caffemodel"))
    assert (tmp_path / "again.caffemodel").read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_file_that_is_gone_can_be_read_all_the_same(files, net, how):
    expected = expected_weights(files)
    output(net)
    if how == "removed":
        files[1].unlink()
    else:
        other = files[1].with_suffix(".new")
        other.write_bytes(b"other weights")
        os.replace(other, files[1])
    np.testing.assert_array_equal(weights_of(net).read_data(), expected)


@pytest.mark.parametrize("how", ["cut off", "written over"])
def test_a_file_that_has_changed_is_refused(files, net, how):
    """A memory map of one that was cut off would kill the process."""
    output(net)
    content = files[1].read_bytes()
    if how == "cut off":
        os.truncate(files[1], 1000)
    else:
        with files[1].open("r+b") as stream:
            stream.write(content[::-1])
    with pytest.raises(WeightsError, match=r"layer 'conv', blob 0: .* has changed .*Load the net anew"):
        weights_of(net).read_data()
    files[1].with_suffix(".good").write_bytes(content)
    net.copy_from(str(files[1].with_suffix(".good")))
    assert weights_of(net).data.any()

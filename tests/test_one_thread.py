"""A net, and a method over it, refuse a second thread instead of mixing up two passes."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import caffe_gp.caffe as caffe
from caffe_gp import proto
from caffe_gp.errors import EngineError
from caffe_gp.gp import GuidedPerturbation
from caffe_gp.one_thread import OneThread
from conformance import gp_nets as nets

TEXT = (
    "force_backward: true\n"
    + nets.input_layer((1, 3, 6, 6))
    + nets.conv("conv1", "data", 4, 3, pad=1)
    + nets.conv("score", "conv1", 3, 1)
)


@pytest.fixture
def net():
    return caffe.Net.from_param(proto.parse_net_param(TEXT), caffe.TEST)


def elsewhere(function, *args, **kwargs):
    """What another thread gets of it."""
    with ThreadPoolExecutor(1) as other:
        return other.submit(function, *args, **kwargs).result()


@pytest.mark.parametrize("call", ["forward", "backward", "reshape", "forward_all", "forward_backward_all"])
def test_no_pass_begins_while_another_thread_is_in_one(net, call):
    refused = []

    def try_it(layer):
        with pytest.raises(EngineError, match="<NetParameter> is at work in another thread.*Net.share_with"):
            elsewhere(getattr(net, call))
        refused.append(layer)

    net.before_forward(try_it)
    net.forward()
    assert refused == [0, 1, 2]
    net._callbacks["before_forward"].clear()
    elsewhere(net.forward)


def test_a_thread_may_keep_a_net_until_it_has_read_the_results(net):
    with net.one_thread:
        net.forward()  # its own calls are not refused
        with pytest.raises(EngineError, match="another thread"):
            elsewhere(net.forward, data=np.ones((1, 3, 6, 6), np.float32))
    assert elsewhere(net.forward)["score"].shape == (1, 3, 6, 6)


def test_guided_perturbations_keep_the_net_from_their_first_pass_to_the_last(net):
    net.params["conv1"][0].data[...] = np.random.RandomState(0).randn(4, 3, 3, 3)
    net.params["score"][0].data[...] = np.random.RandomState(1).randn(3, 4, 1, 1)
    gp, asked = GuidedPerturbation(net, score="score"), []

    def between(k, probabilities):
        for use in (net.forward, lambda: GuidedPerturbation(net, score="score")(images, 1.0)):
            with pytest.raises(EngineError, match="another thread"):
                elsewhere(use)
        asked.append(k)

    images = np.random.RandomState(2).rand(1, 3, 6, 6).astype(np.float32)
    gp(images, [1.0, 2.0], on_probabilities=between)
    assert asked == [0, 1, 2]


def test_nets_of_their_own_give_each_thread_its_numbers(net):
    images = np.random.RandomState(0).rand(40, 1, 3, 6, 6).astype(np.float32)

    def work(numbers):
        mine = caffe.Net.from_param(proto.parse_net_param(TEXT), caffe.TEST)
        mine.share_with(net)
        return [mine.forward(data=images[n])["score"].copy() for n in numbers]

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(work, [range(k, 40, 4) for k in range(4)]))
    for k, scores in enumerate(found):
        for n, score in zip(range(k, 40, 4), scores):
            assert np.array_equal(score, net.forward(data=images[n])["score"])


def test_copies_have_a_lock_of_their_own():
    one = OneThread("this")
    with one:
        elsewhere(pickle.loads(pickle.dumps(one)).__enter__)

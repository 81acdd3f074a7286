"""LeNet and the CIFAR-10 net: sizes, counts, and LeNet with weights that somebody trained on MNIST."""

from __future__ import annotations

import gzip

import numpy as np

from caffe_gp import proto
from caffe_gp.models import zoo
from tests.models import nets_of_the_zoo as nets


def count(net):
    return sum(blob.count for blobs in net.params.values() for blob in blobs)


def test_lenet():
    net = nets.load(zoo.get("lenet").net())
    assert nets.sizes(net, "data", "conv1", "pool1", "conv2", "pool2") == [28, 24, 12, 8, 4]
    assert [tuple(net.blobs[blob].shape) for blob in ("ip1", "ip2", "prob")] == [(1, 500), (1, 10), (1, 10)]
    assert count(net) == zoo.get("lenet").parameters == 431_080
    kinds = [layer.type for layer in zoo.get("lenet").net().layer]
    assert kinds.count("ReLU") == 1  # none after the convolutions


def test_cifar10():
    net = nets.load(zoo.get("cifar10").net())
    widths = {name: tuple(net.params[name][0].shape)[0] for name in net.params}
    assert list(widths.values()) == [64, 64, 128, 128, 128, 128, 10]
    blobs = ("conv1", "pool1", "conv2", "pool2", "conv4", "pool3", "conv5", "pool4")
    assert nets.sizes(net, *blobs) == [32, 16, 16, 8, 8, 4, 4, 2]
    convs = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 128)]
    by_hand = sum(9 * a * b + b for a, b in convs) + 128 * 4 * 128 + 128 + 128 * 10 + 10
    assert count(net) == zoo.get("cifar10").parameters == by_hand


def test_lenet_with_trained_weights_reads_digits(shared_data):
    """A public caffemodel of Caffe's MNIST example, which reports 99.1 % of the test images."""
    weights = (
        shared_data / "caffemodels" / "lenet_ethereon" / "examples" / "mnist" / "lenet_iter_10000.caffemodel"
    )
    net = nets.load(zoo.get("lenet").net())
    with proto.read_weights(str(weights)) as stored:
        shapes = {name: [tuple(blob.shape) for blob in blobs] for name, blobs in stored if blobs}
    assert {name: len(blobs) for name, blobs in shapes.items()} == dict.fromkeys(net.params, 2)
    net.copy_from(str(weights))
    with gzip.open(shared_data / "mnist" / "t10k-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 1, 28, 28)[:2000]
    with gzip.open(shared_data / "mnist" / "t10k-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read()[8:], np.uint8)[:2000]
    feed = zoo.get("lenet").feed
    net.blobs["data"].reshape(*images.shape)
    net.blobs["data"].data[...] = (images.astype(np.float32) - feed.mean[0]) * feed.scale
    net.forward()
    # The first 2000 are among the harder half of the test set.
    assert (net.blobs["ip2"].data.argmax(1) == labels).mean() >= 0.98

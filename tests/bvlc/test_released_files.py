"""Nets released by others, on the embedded Caffe: their scores, gradients and label maps are BVLC Caffe's.

The committed goldens were recorded on BVLC Caffe (conformance/released); they hold label maps and samples of
scores and diffs. docs/compatibility.md is the comparison of the whole arrays.
"""

from __future__ import annotations

import numpy as np
import pytest

from caffe_gp import proto
from conformance import agreement, closeness, recordings
from conformance.released import compare, judge, nets, other_files

GOLDENS = recordings.load(compare.GOLDENS)
# Times the limits: other processors round otherwise than the one of the recordings.
PROCESSORS = 2
# Where an input of ReLU or MAX pooling lies within rounding of a kink, the gradient jumps.
AT_KINKS = 0.1


@pytest.fixture(scope="module")
def embedded(shared_data):
    """``run(name)``: what the embedded Caffe computes for a net, and its images."""
    known = {}

    def run(name):
        if name not in known:
            net = nets.NETS[name]
            images = net.images(shared_data)
            known[name] = nets.run(net, "torch", shared_data, images), images
        return known[name]

    return run


@pytest.mark.parametrize("name", GOLDENS)
def test_agrees_with_bvlc_caffe(name, embedded):
    found, images = embedded(name)
    recorded = GOLDENS[name]
    if agreement.fingerprint(images) != recorded["images"]:
        pytest.skip("this machine decodes or resizes the images to other pixels than the recording's")
    theirs = recorded["arrays"]
    ours = agreement.sampled({key: found[key] for key in theirs})
    unpools = "enet" in name
    kinks = AT_KINKS if unpools else 0
    limit = PROCESSORS * nets.NETS[name].forward_limit
    assert agreement.far_samples(ours["score"], theirs["score"], limit) <= kinks
    assert agreement.far_samples(ours["diff"], theirs["diff"], closeness.BACKWARD_LIMIT) <= AT_KINKS
    limit = judge.UNPOOLING_LABELS_LIMIT if unpools else closeness.LABELS_LIMIT
    for key in ("base", "moved"):
        differ = closeness.differing(ours[key], theirs[key])
        assert differ <= limit * theirs[key].size, f"{key}: {differ} of {theirs[key].size}"


@pytest.mark.parametrize("name", GOLDENS)
def test_recordings_are_stable(name):
    """Moved by a rounding error's size, BVLC Caffe itself stays within the limits."""
    change = GOLDENS[name]["own_change"]
    assert change["forward"] <= nets.NETS[name].forward_limit
    assert change["backward"] <= closeness.BACKWARD_LIMIT
    limit = judge.UNPOOLING_LABELS_LIMIT if "enet" in name else closeness.LABELS_LIMIT
    assert max(change["base"], change["moved"]) <= limit * GOLDENS[name]["arrays"]["base"].size


@pytest.mark.parametrize("name", [name for name, net in nets.NETS.items() if net.as_it_is])
def test_loads_as_it_is(name, embedded):
    found, _ = embedded(name)
    np.testing.assert_array_equal(found["as_it_is"], found["score"])


@pytest.mark.parametrize("name", [name for name, net in nets.NETS.items() if net.same_as])
def test_other_copies_of_a_net_compute_the_same(name, embedded):
    np.testing.assert_array_equal(embedded(name)[0]["score"], embedded(nets.NETS[name].same_as)[0]["score"])


@pytest.mark.parametrize(
    "text, right",
    [
        ("cifar10_full.prototxt + cifar10_full_iter_70000", 17),
        ("cifar10_everpeace/examples/cifar10/cifar10_quick.prototxt + cifar10_quick_iter_5000", 17),
        ("cifar10_simshang/cifar10_quick.prototxt + cifar10_quick_iter_5000", 17),
        ("mnist/lenet.prototxt + lenet_iter_5000", 63),
        ("lenet_ethereon", 63),
        ("SqueezeNet_deploy", 14),
    ],
)
def test_recognises_real_images(text, right, embedded, shared_data):
    (name,) = [name for name in nets.NETS if text in name]
    labels = nets.truth(shared_data, nets.NETS[name].truth)
    assert (embedded(name)[0]["base"].ravel() == labels).sum() >= right


def test_the_mean_image_of_cifar10(shared_data):
    mean = proto.read_blob(shared_data / nets.SIMSHANG / "mean.binaryproto")
    assert mean.shape == (1, 3, 32, 32)
    # CIFAR-10's known channel means: red 125.3, green 123.0, blue 113.9.
    np.testing.assert_allclose(mean.mean((0, 2, 3)), [125.3, 123.0, 113.9], atol=0.5)


# What comes of the files that cannot be run as they are; each sentence must hold these words.
SAYINGS = {
    "cifar10_full_train_test.prototxt": [
        ["DataError", "layer 'cifar' (Data): no database"],
        ["loads and runs", "'ip1' (1, 10)"],
    ],
    "cifar10_quick_train_test.prototxt": [
        ["DataError", "layer 'cifar' (Data): no database"],
        ["loads and runs", "'ip2' (1, 10)"],
    ],
    "lenet_train_test.prototxt": [["DataError", "layer 'mnist' (Data): no database"], ["loads and runs"]],
    "SqueezeNet_trainval.prototxt": [
        ["DataError", "layer 'data' (Data): no database"],
        ["loads and runs", "'pool_final' (1, 1000, 1, 1)"],
    ],
    "enet_deploy.prototxt": [["loads"], ["loads and runs", "(1, 19, 512, 1024)"]],
    "enet_train_encoder.prototxt": [
        [
            "NetError",
            "layer 'data' (DenseImageData): label_divide_factor 8, labels smaller than their images",
        ],
        ["loads and runs", "'deconv_encoder6_0_0' (1, 19, 64, 128)"],
    ],
    "enet_train_encoder_decoder.prototxt": [
        ["DataError", "layer 'data' (DenseImageData)", "cannot open the list ENet/dataset/train_fine"],
        ["loads and runs", "(1, 19, 512, 1024)"],
    ],
    "mobilenet_yolov3_lite_train.prototxt": [
        ["UnknownLayerTypeError", "'YoloSegLoss' has the unknown type 'YoloSeg'", "MobileNet-YOLO"],
        ["NetError", "which blob holds the class scores?", "a layer of type YoloSeg"],
    ],
    "enet_deploy_final.prototxt": [["loads"]],
    "mobilenet_yolov3_lite_deploy.prototxt": [["loads"]],
    "cifar10_full_solver.prototxt": [["SGD", "max_iter 60000"], ["snapshot prefix"]],
    "cifar10_quick_solver.prototxt": [["SGD", "max_iter 4000"], ["snapshot prefix"]],
    "lenet_solver.prototxt": [["SGD", "lr_policy inv", "max_iter 10000"], ["snapshot prefix"]],
    "lenet_consolidated_solver.prototxt": [["SGD", "max_iter 10000"], ["snapshot prefix"]],
    "enet_solver_encoder.prototxt": [["Adam", "multistep"], ["snapshot prefix"]],
    "enet_solver_encoder decoder.prototxt": [["Adam", "multistep"], ["snapshot prefix"]],
    "mobilenet_yolov3_lite_solver.prototxt": [
        ["RMSProp", "multistep", "max_iter 50000"],
        ["PrototxtError", "eval_type is a field of SSD", "changes how it trains"],
    ],
    "compressed_SqueezeNet.net": [
        ["PrototxtError", "binary file"],
        ["WeightsError", "compressed_SqueezeNet.net"],
    ],
    "mean.binaryproto": [["(1, 3, 32, 32)"]],
}


@pytest.mark.parametrize("file", other_files.FILES)
def test_other_files_are_read_or_refused_for_the_right_reason(file, shared_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # solvers look for their snapshot folders from here
    said = other_files.embedded_says(shared_data, file)
    expected = SAYINGS[file.rsplit("/", 1)[1]]
    assert len(said) == len(expected), said
    for sentence, words in zip(said, expected):
        for word in words:
            assert word in sentence


def test_every_file_of_the_collection_is_accounted_for(shared_data):
    used = set(other_files.FILES)
    for net in nets.NETS.values():
        used.update((net.prototxt, net.weights))
    kinds = (".prototxt", ".caffemodel", ".net", ".binaryproto", ".origin")
    found = {
        path.relative_to(shared_data).as_posix()
        for folder in ("caffemodels", "caffe_voc")
        for path in (shared_data / folder).rglob("*")
        if path.suffix in kinds
    }
    assert found == used

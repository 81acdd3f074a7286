"""Nets of segmentation and classification forks: the embedded Caffe and BVLC Caffe with our Python layers.

The committed goldens were recorded on BVLC Caffe (conformance/forks); they hold label maps and samples of
scores and diffs. docs/forks.md is the comparison of the whole arrays.
"""

from __future__ import annotations

import numpy as np
import pytest

import caffe_gp.caffe as caffe
from conformance import agreement, closeness, recordings
from conformance.forks import compare, nets
from conformance.forks.judge import UNPOOLING_LABELS_LIMIT

GOLDENS = recordings.load(compare.GOLDENS)
# Times the limits: other processors round otherwise than the one of the recordings.
PROCESSORS = 2
# Where an input of ReLU or MAX pooling lies within rounding of a kink, values and gradients jump.
AT_KINKS = 0.1


def test_every_net_is_recorded():
    assert set(GOLDENS) == set(nets.NETS)


@pytest.mark.parametrize("name", nets.NETS)
def test_agrees_with_bvlc_caffe(name, shared_data):
    net, recorded = nets.NETS[name], GOLDENS[name]
    images = net.images(shared_data)
    if agreement.fingerprint(images) != recorded["images"]:
        pytest.skip("this machine decodes or resizes the images to other pixels than the recording's")
    theirs = recorded["arrays"]
    found = nets.run(net, "torch", shared_data, images)
    ours = agreement.sampled({key: found[key] for key in theirs})
    unpools = {"Upsample", "UnPooling"}.intersection(net.replaced_layers(shared_data)) and net.eps
    limit = PROCESSORS * net.forward_limit
    assert agreement.far_samples(ours["score"], theirs["score"], limit) <= (AT_KINKS if unpools else 0)
    assert agreement.far_samples(ours["diff"], theirs["diff"], closeness.BACKWARD_LIMIT) <= AT_KINKS
    for key in ("base", "moved"):
        differ = closeness.differing(ours[key], theirs[key])
        assert differ <= UNPOOLING_LABELS_LIMIT * theirs[key].size, f"{key}: {differ} of {theirs[key].size}"


@pytest.mark.parametrize("name", nets.NETS)
def test_recordings_are_stable(name):
    """Moved by a rounding error's size, BVLC Caffe itself stays within the limits."""
    change = GOLDENS[name]["own_change"]
    assert change["forward"] <= nets.NETS[name].forward_limit
    assert change.get("backward", 0) <= closeness.BACKWARD_LIMIT
    pixels = GOLDENS[name]["arrays"]["base"].size
    assert max(change["base"], change["moved"]) <= UNPOOLING_LABELS_LIMIT * pixels


@pytest.mark.parametrize("name", [name for name, net in nets.NETS.items() if net.weights])
def test_released_files_load_as_they_are(name, shared_data):
    net = nets.NETS[name]
    loaded = caffe.Net(str(shared_data / net.prototxt), str(shared_data / net.weights), caffe.TEST)
    loaded.forward()
    assert np.isfinite(loaded.blobs[net.score].data).all()


def test_the_lane_net_finds_the_lane(shared_data):
    """With the batch's own statistics, as in its training: the white line, and the road around it."""
    net = nets.NETS["lanes, three classes"]
    found = nets.run(net, "torch", shared_data, net.images(shared_data))
    labels = found["base"][0]
    # The stroke runs from row 340, column 260 to row 390, column 298, as the photograph shows.
    rows, columns = np.nonzero(labels[340:391, 245:315] == 2)
    assert rows.size > 300
    slope, begin = np.polyfit(rows, columns + 245, 1)
    assert abs(begin - 260) < 5 and abs(begin + 50 * slope - 298) < 5
    assert (labels[330:420, 150:250] == 1).mean() > 0.9 and (labels[60:140, 100:180] == 0).mean() > 0.9
    assert np.unique(labels).tolist() == [0, 1, 2]

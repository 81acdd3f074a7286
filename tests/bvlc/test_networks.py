"""Every net of the zoo, all layers and channels, random weights: the embedded Caffe against BVLC Caffe.

Against the committed goldens: samples of scores and diffs, whole label maps. With CAFFE_GP_RECORDINGS against
the whole recordings in that folder (``make test-bvlc`` makes them).
"""

from __future__ import annotations

import os

import numpy as np
import pytest

from caffe_gp.models import zoo
from conformance import agreement, closeness, recordings
from conformance.networks import compare, nets
from conformance.networks.judge import LABELS_LIMIT

GOLDENS = recordings.load(compare.GOLDENS)
# Other processors round otherwise than the one of the recordings.
FORWARD_LIMIT = 2 * closeness.FORWARD_LIMIT
# Mean-field iterations amplify such differences.
CRF_FORWARD_LIMIT = 20 * closeness.FORWARD_LIMIT
# The gradients of ReLU and MAX pooling jump: whole recordings are compared on the same activations instead.
JUMPS, JUMPED_LABELS = 0.05, 0.01


def test_every_net_is_here():
    assert set(nets.SIZES) == set(zoo.MODELS) - nets.ELSEWHERE == set(GOLDENS)


@pytest.mark.parametrize("name", nets.SIZES)
def test_agrees_with_bvlc_caffe(name):
    if "CAFFE_GP_RECORDINGS" in os.environ:
        verdict, recorded = compare.compare(name)
        assert verdict.agrees(), compare.row(name, verdict, recorded)
        return
    theirs = GOLDENS[name]["arrays"]
    found = nets.run(name, "torch", seed=GOLDENS[name]["seed"])
    assert np.unique(found["base"]).size > 1
    ours = agreement.sampled({kind: found[kind] for kind in theirs})
    limit = CRF_FORWARD_LIMIT if name in nets.BEFORE_CRF else FORWARD_LIMIT
    assert agreement.far_samples(ours["score"], theirs["score"], limit) == 0
    difference = np.linalg.norm(ours["diff"] - theirs["diff"])
    assert difference <= JUMPS * np.linalg.norm(theirs["diff"])
    assert closeness.differing(ours["base"], theirs["base"]) <= 1e-3 * theirs["base"].size
    assert closeness.differing(ours["moved"], theirs["moved"]) <= JUMPED_LABELS * theirs["moved"].size


@pytest.mark.parametrize("name", nets.SIZES)
def test_recordings_are_of_stable_images(name):
    """Moved by a rounding error's size, BVLC Caffe itself stays within the limits."""
    change = GOLDENS[name]["own_change"]
    assert change["forward"] <= closeness.FORWARD_LIMIT and change["backward"] <= closeness.BACKWARD_LIMIT
    assert max(change["base"], change["moved"]) <= LABELS_LIMIT

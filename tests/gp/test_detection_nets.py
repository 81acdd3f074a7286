"""Guided perturbations through the layers of detectors, where something is labelled; else a refusal."""

from __future__ import annotations

import numpy as np
import pytest

import caffe_gp.caffe as caffe
from caffe_gp import GuidedPerturbation, engines, proto
from caffe_gp.errors import NetError
from caffe_gp.gp.result import Opinions
from caffe_gp.surgery.prepare import prepare

RNG = np.random.RandomState(0)
FILLER = "weight_filler { type: 'gaussian' std: 0.3 }"
CHANNELS_LAST = "permute_param { order: 0 order: 2 order: 3 order: 1 }"


def layer(name, kind, bottoms, rest="", top=None):
    bottoms = " ".join(f'bottom: "{bottom}"' for bottom in bottoms.split())
    return f'layer {{ name: "{name}" type: "{kind}" {bottoms} top: "{top or name}" {rest} }}\n'


def conv(name, bottom, outputs):
    rest = f"convolution_param {{ num_output: {outputs} kernel_size: 3 pad: 1 {FILLER} }}"
    return layer(name, "Convolution", bottom, rest)


def first_layers(images):
    data = f'input: "data" input_shape {{ dim: {images} dim: 3 dim: 6 dim: 7 }}\n'
    return data + conv("first", "data", 5) + layer("relu", "ReLU", "first", top="first")


HEAD = layer("fc", "InnerProduct", "pool", f"inner_product_param {{ num_output: 3 {FILLER} }}")
HEAD += layer("prob", "Softmax", "fc")


def opened(tmp_path, text, **options):
    path = tmp_path / "net.prototxt"
    path.write_text(text)
    caffe.set_random_seed(2)
    return engines.load_net(path, engine="torch", **options)


def found(net):
    images = np.random.RandomState(1).randn(2, 3, 6, 7)
    return GuidedPerturbation(net)(images, 0.02, keep_probabilities=True)


def test_a_net_with_channels_last_is_that_with_channels_first(tmp_path):
    """Permute, an InnerProduct of the last axis, Permute back: that is a 1 x 1 convolution."""
    last = first_layers(2) + layer("there", "Permute", "first", CHANNELS_LAST)
    last += layer("ip", "InnerProduct", "there", "inner_product_param { num_output: 4 axis: 3 }")
    last += layer("score", "Permute", "ip", "permute_param { order: 0 order: 3 order: 1 order: 2 }")
    last += layer("prob", "Softmax", "score")
    first = first_layers(2)
    first += layer("ip", "Convolution", "first", "convolution_param { num_output: 4 kernel_size: 1 }")
    first += layer("prob", "Softmax", "ip")
    nets = [opened(tmp_path, last), opened(tmp_path, first)]
    weights = {"first": [RNG.randn(5, 3, 3, 3), RNG.randn(5)], "ip": [RNG.randn(4, 5), RNG.randn(4)]}
    for net in nets:
        for name, arrays in weights.items():
            for blob, array in zip(net.net.params[name], arrays):
                blob.data[...] = array.reshape(blob.data.shape)
    one, other = map(found, nets)
    assert nets[0].score == "score" and one.labels.shape == (2, 6, 7)
    np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)
    assert (one.labels == other.labels).all() and (one.perturbation == other.perturbation).all()
    assert one.confidence.mean() > one.base_confidence.mean()


def test_a_region_proposal_net_labels_its_places(tmp_path):
    """The scores of 3 anchors, reshaped to two classes: each place of each anchor is labelled."""
    text = first_layers(2) + conv("rpn", "first", 6)
    text += layer("scores", "Reshape", "rpn", "reshape_param { shape { dim: 0 dim: 2 dim: -1 dim: 0 } }")
    text += layer("prob", "Softmax", "scores")
    net = opened(tmp_path, text)
    result = found(net)
    assert net.score == "scores" and result.labels.shape == (2, 18, 7)
    assert (result.confidence > result.base_confidence).mean() > 0.7


@pytest.mark.parametrize(
    "pooling",
    [
        layer("pool", "ROIPooling", "norm rois", "roi_pooling_param { pooled_h: 2 pooled_w: 2 }"),
        layer(
            "pool",
            "PSROIPooling",
            "norm rois",
            "psroi_pooling_param { output_dim: 5 group_size: 1 spatial_scale: 1 }",
        ),
    ],
)
def test_the_gradient_of_a_whole_net_with_normalize_and_regions(pooling):
    """Fast R-CNN's kind: a small step along the diff changes the scores by what the diff says."""
    text = "force_backward: true " + first_layers(2) + 'input: "rois" input_shape { dim: 4 dim: 5 }\n'
    text += layer("norm", "Normalize", "first", "norm_param { across_spatial: false }") + pooling + HEAD
    caffe.set_random_seed(2)
    net = caffe.Net.from_param(proto.parse_net_param(text), caffe.TEST)
    net.blobs["rois"].data[...] = [[0, 0, 0, 4, 4], [0, 2, 1, 5, 5], [1, 0, 0, 6, 5], [1, 3, 3, 5, 5]]
    x, signal = RNG.randn(2, 3, 6, 7).astype(np.float32), RNG.randn(4, 3)
    net.blobs["data"].data[...] = x
    net.forward()
    before = net.blobs["fc"].data.copy()
    net.blobs["fc"].diff[...] = signal
    net.backward(start="fc")
    slope = net.blobs["data"].diff.copy()
    assert not net.blobs["rois"].diff.any()
    net.blobs["data"].data[...] = x + 1e-3 * np.sign(slope)
    net.forward()
    moved = ((net.blobs["fc"].data - before) * signal).sum()
    assert moved == pytest.approx(1e-3 * np.abs(slope).sum(), rel=0.1)


def with_proposals():
    text = first_layers(1) + 'input: "info" input_shape { dim: 1 dim: 4 }\n' + conv("rpn", "first", 2)
    text += layer("rpn_prob", "Softmax", "rpn") + conv("deltas", "first", 4)
    rest = "proposal_param { ratio: 1 scale: 1 feat_stride: 1 base_size: 3 min_size: 1 }"
    text += layer("proposal", "Proposal", "rpn_prob deltas info", rest, top="rois")
    rest = "roi_pooling_param { pooled_h: 2 pooled_w: 2 }"
    return text + layer("pool", "ROIPooling", "first rois", rest) + HEAD


def test_regions_that_are_found_anew_cannot_be_compared(tmp_path):
    net = opened(tmp_path, with_proposals(), inputs={"info": np.array([6, 7, 1, 1])})
    assert net.score == "fc"
    for blob in ("data", "first"):
        with pytest.raises(NetError, match=f"'proposal' .Proposal. finds regions from blob '{blob}'"):
            GuidedPerturbation(net, blob=blob)
    result = GuidedPerturbation(net, blob="pool")(RNG.randn(1, 3, 6, 7), 0.01)  # behind them all stays
    assert result.labels.shape == (net.net.blobs["rois"].shape[0],)
    assert (result.confidence >= result.base_confidence).all()


def test_labels_of_other_shapes_are_an_error_of_ours():
    opinions = Opinions(2, False)
    opinions.add(np.full((3, 2), 0.5))
    with pytest.raises(NetError, match=r"labels of shape \(2,\), the one before of \(3,\)"):
        opinions.add(np.full((2, 2), 0.5))


def test_scores_of_ssd_are_refused_with_what_is_wrong():
    """Its Softmax is over the last axis; prior boxes are no candidates."""
    text = first_layers(2) + conv("loc", "first", 4) + conv("c", "first", 3)
    text += layer("loc_p", "Permute", "loc", CHANNELS_LAST) + layer("loc_f", "Flatten", "loc_p")
    text += layer("c_p", "Permute", "c", CHANNELS_LAST)
    text += layer("conf", "Reshape", "c_p", "reshape_param { shape { dim: 0 dim: -1 dim: 3 } }")
    text += layer("prob", "Softmax", "conf", "softmax_param { axis: 2 }") + layer("flat", "Flatten", "prob")
    text += layer("priors", "PriorBox", "first data", "prior_box_param { min_size: 3 }")
    rest = "detection_output_param { num_classes: 3 }"
    text += layer("out", "DetectionOutput", "loc_f flat priors", rest)
    with pytest.raises(
        NetError, match="'prob' .Softmax. has the classes of 'conf' on axis 2.*axis 1"
    ) as caught:
        prepare(proto.parse_net_param(text))
    assert "priors" not in str(caught.value)

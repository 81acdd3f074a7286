"""The surgery on descriptions alone: no net is built here."""

from __future__ import annotations

import re

import numpy as np
import pytest

from caffe_gp import proto
from caffe_gp.errors import DataError, NetError
from caffe_gp.surgery import prepare as surgery
from conformance import gp_nets as nets

pytestmark = pytest.mark.engine

DATA = (
    'layer { name: "data" type: "Python" top: "data" top: "label" '
    'python_param { module: "voc_layers" layer: "VOCSegDataLayer" param_str: "{}" } }\n'
)
LOSS = (
    'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" '
    "loss_param { ignore_label: 255 normalize: false } }\n"
)


def prepare(text, **options):
    return surgery.prepare(proto.parse_net_param(text), **options)


def types(prepared):
    return [layer.type for layer in prepared.net.layer]


def layer_named(prepared, name):
    return next(layer for layer in prepared.net.layer if layer.name == name)


def crop_offsets(prepared):
    return [list(layer.crop_param.offset) for layer in prepared.net.layer if layer.type == "Crop"]


@pytest.mark.parametrize("head, offsets", [("32s", [19]), ("16s", [5, 27]), ("8s", [5, 9, 31])])
def test_old_crops_get_the_offsets_that_fcn_publishes(head, offsets):
    prepared = prepare(nets.input_layer((1, 3, 500, 500)) + nets.fcn(head, offsets=False))
    assert crop_offsets(prepared) == [[offset] for offset in offsets]


@pytest.mark.parametrize("head", ["32s", "16s", "8s"])
def test_given_crop_offsets_are_left_alone(head):
    text = nets.input_layer((1, 3, 500, 500)) + nets.fcn(head).replace("offset: 5", "offset: 4")
    before = [layer.crop_param for layer in proto.parse_net_param(text).layer if layer.type == "Crop"]
    assert [layer.crop_param for layer in prepare(text).net.layer if layer.type == "Crop"] == before


def test_a_crop_that_cannot_be_aligned_keeps_bvlc_s_rule_and_is_reported():
    text = (
        nets.input_layer((1, 3, 16, 16))
        + nets.conv("score_full", "data", 4, 2)
        + nets.crop("score", "score_full", "data")
    )
    prepared = prepare(text)
    assert crop_offsets(prepared) == [[]]
    assert any("do not line up" in change for change in prepared.changes)


def test_crop_offsets_differ_between_rows_and_columns():
    text = (
        nets.input_layer((1, 3, 16, 16))
        + 'layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 2 '
        "kernel_h: 3 kernel_w: 5 pad_h: 4 pad_w: 9 } }\n" + nets.crop("score", "c", "data")
    )
    assert crop_offsets(prepare(text)) == [[3, 7]]  # pad - (kernel - 1)/2


def test_train_val_file_of_fcn32s_becomes_a_deploy_net():
    prepared = prepare(DATA + nets.fcn("32s") + LOSS)
    assert types(prepared)[:3] == ["Input", "Bias", "Convolution"]
    assert types(prepared)[-2:] == ["Crop", "Softmax"]
    assert not {"Python", "SoftmaxWithLoss"} & set(types(prepared))
    assert (prepared.data, prepared.score, prepared.prob) == ("data", "score", "prob")
    assert list(prepared.net.layer[0].input_param.shape[0].dim) == [1, 3, 500, 500]
    assert list(prepared.net.layer[-1].loss_weight) == [1]
    assert any("loss (SoftmaxWithLoss)" in change for change in prepared.changes)


def test_every_weight_is_frozen_and_only_the_probe_learns():
    prepared = prepare(DATA + nets.fcn("8s") + LOSS)
    probe = prepared.net.layer[1]
    assert probe.type == "Bias" and list(probe.bottom) == list(probe.top) == ["data"]
    assert [spec.lr_mult for spec in probe.param] == [1]
    assert probe.bias_param.filler.value == 0
    for layer in prepared.net.layer:
        if layer.type == "Convolution":
            assert [spec.lr_mult for spec in layer.param] == [0, 0], layer.name
        if layer.type == "Deconvolution":
            assert [spec.lr_mult for spec in layer.param] == [0], layer.name


def test_the_description_given_is_not_touched():
    param = proto.parse_net_param(DATA + nets.fcn("8s", offsets=False) + LOSS)
    before = param.SerializeToString()
    surgery.prepare(param)
    assert param.SerializeToString() == before


def test_parameter_layers_keep_their_names_and_order():
    text = DATA + nets.fcn("8s") + LOSS
    param = proto.parse_net_param(text)
    kinds = ("Convolution", "Deconvolution")
    before = [layer.name for layer in param.layer if layer.type in kinds]
    assert [layer.name for layer in surgery.prepare(param).net.layer if layer.type in kinds] == before


def test_phases_and_data_shapes():
    text = (
        'layer { name: "train" type: "Data" top: "data" top: "label" include { phase: TRAIN } '
        "transform_param { crop_size: 227 } }\n"
        'layer { name: "test" type: "Data" top: "data" top: "label" include { phase: TEST } '
        "transform_param { crop_size: 224 } }\n"
        + nets.conv("score", "data", 4, 1)
        + 'layer { name: "accuracy" type: "Accuracy" bottom: "score" bottom: "label" top: "accuracy" '
        "include { phase: TEST } }\n"
        'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" '
        "include { phase: TRAIN } }\n"
    )
    prepared = prepare(text)
    assert list(prepared.net.layer[0].input_param.shape[0].dim) == [1, 3, 224, 224]
    assert prepared.score == "score"
    assert types(prepared) == ["Input", "Bias", "Convolution", "Softmax"]
    assert "train" in prepared.changes[0]


@pytest.mark.parametrize("kind, field", [("ImageData", "image_data"), ("DenseImageData", "dense_image_data")])
def test_data_layer_of_the_training_phase_only(kind, field):
    text = (
        f'layer {{ name: "train" type: "{kind}" top: "data" top: "label" include {{ phase: TRAIN }} '
        f"{field}_param {{ new_height: 40 new_width: 50 }} }}\n" + nets.conv("score", "data", 4, 1) + LOSS
    ).replace('top: "loss" ', 'top: "loss" include { phase: TRAIN } ')
    prepared = prepare(text)
    assert list(prepared.net.layer[0].input_param.shape[0].dim) == [1, 3, 40, 50]
    assert prepared.score == "score"


def test_input_shape_can_be_given():
    prepared = prepare(DATA + nets.fcn("32s") + LOSS, input_shape=(2, 3, 60, 70))
    assert list(prepared.net.layer[0].input_param.shape[0].dim) == [2, 3, 60, 70]
    prepared = prepare(
        nets.input_layer((1, 3, 9, 9)) + nets.conv("score", "data", 2, 1), input_shape=(1, 3, 5, 6)
    )
    assert list(prepared.net.layer[0].input_param.shape[0].dim) == [1, 3, 5, 6]


def test_gaps_in_the_input_shape_are_the_net_s_own():
    prepared = prepare(DATA + nets.fcn("32s") + LOSS, input_shape=(None, None, 60, 70))
    assert list(prepared.net.layer[0].input_param.shape[0].dim) == [1, 3, 60, 70]
    assert prepared.channels_are_guess
    text = nets.input_layer((4, 1, 9, 9)) + nets.conv("score", "data", 2, 1)
    prepared = prepare(text, input_shape=(None, None, 5, 6))
    assert list(prepared.net.layer[0].input_param.shape[0].dim) == [4, 1, 5, 6]
    with pytest.raises(NetError, match="has 4 axes"):
        prepare(text, input_shape=(1, None, 6))


def test_a_net_of_one_size_does_not_guess_it():
    data = 'layer { name: "mnist" type: "Data" top: "data" top: "label" }\n'
    ip = (
        'layer { name: "ip1" type: "InnerProduct" bottom: "data" top: "score" '
        "inner_product_param { num_output: 9 } }"
    )
    with pytest.raises(NetError, match="'ip1'.*'mnist' .Data. does not tell.*--resize"):
        prepare(data + ip)
    prepared = prepare(data + ip, input_shape=(None, 1, 28, 28))
    assert list(prepared.net.layer[0].input_param.shape[0].dim) == [1, 1, 28, 28]
    assert not prepared.channels_are_guess


def test_old_input_fields_and_label_inputs():
    text = 'input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 9\n' + nets.conv(
        "score", "data", 2, 1
    )
    prepared = prepare(text)
    assert list(prepared.net.layer[0].input_param.shape[0].dim) == [1, 3, 8, 9]
    text = (
        'input: "label" input: "image" input_shape { dim: 1 } input_shape { dim: 1 dim: 3 dim: 8 dim: 9 }\n'
        + nets.conv("score", "image", 2, 1)
        + LOSS
    )
    prepared = prepare(text)
    assert prepared.data == "image"
    assert list(prepared.net.layer[0].top) == ["image"]
    assert [list(shape.dim) for shape in prepared.net.layer[0].input_param.shape] == [[1, 3, 8, 9]]


def test_the_net_s_own_softmax_is_kept():
    text = (
        nets.input_layer((1, 3, 8, 8))
        + nets.conv("fc8", "data", 4, 1)
        + 'layer { name: "softmax" type: "Softmax" bottom: "fc8" top: "y" }\n'
        'layer { name: "argmax" type: "ArgMax" bottom: "y" top: "winner" }\n'
    )
    prepared = prepare(text)
    assert (prepared.score, prepared.prob) == ("fc8", "y")
    assert types(prepared) == ["Input", "Bias", "Convolution", "Softmax"]
    assert prepared.net.layer[-1].name == "softmax" and list(prepared.net.layer[-1].loss_weight) == [1]


def test_a_softmax_in_place_is_replaced():
    text = (
        nets.input_layer((1, 3, 8, 8))
        + nets.conv("score", "data", 4, 1)
        + 'layer { name: "softmax" type: "Softmax" bottom: "score" top: "score" }\n'
    )
    prepared = prepare(text)
    assert (prepared.score, prepared.prob) == ("score", "prob")
    assert list(prepared.net.layer[-1].bottom) == ["score"] and list(prepared.net.layer[-1].top) == ["prob"]


def test_a_silenced_side_softmax_is_not_the_score():
    text = (
        nets.input_layer((1, 3, 500, 500))
        + nets.fcn("32s")
        + 'layer { name: "prob" type: "Softmax" bottom: "score" top: "prob" }\n'
        'layer { name: "scorefr_prob" type: "Softmax" bottom: "score_fr" top: "scorefr_prob" }\n'
        'layer { name: "silence" type: "Silence" bottom: "scorefr_prob" }\n'
    )
    assert prepare(text).score == "score"


def test_scores_of_deeplab_are_found_before_argmax_and_matwrite():
    text = (
        'layer { name: "data" type: "ImageSegData" top: "data" top: "label" top: "data_dim" '
        "transform_param { crop_size: 513 } }\n"
        + nets.conv("fc8", "data", 4, 1)
        + 'layer { name: "fc8_interp" type: "Interp" bottom: "fc8" top: "fc8_interp" '
        "interp_param { zoom_factor: 8 } }\n"
        'layer { name: "argmax" type: "ArgMax" bottom: "fc8_interp" top: "argmax" '
        "argmax_param { axis: 1 } }\n"
        'layer { name: "fc8_mat" type: "MatWrite" bottom: "argmax" mat_write_param { prefix: "x" } }\n'
        'layer { name: "silence" type: "Silence" bottom: "label" bottom: "data_dim" }\n'
    )
    prepared = prepare(text)
    assert prepared.score == "fc8_interp"
    assert types(prepared) == ["Input", "Bias", "Convolution", "Interp", "Softmax"]
    assert list(prepared.net.layer[0].input_param.shape[0].dim) == [1, 3, 513, 513]
    assert types(prepare(text, engine="bvlc")) == ["Input", "Bias", "Convolution", "Python", "Softmax"]


def test_layers_that_write_files_are_never_kept():
    writers = (
        'layer { name: "w" type: "HDF5Output" bottom: "fc" bottom: "data" TOP '
        'hdf5_output_param { file_name: "x" } }\n'
        'layer { name: "m" type: "MatWrite" bottom: "fc" TOP mat_write_param { prefix: "x" } }\n'
    )
    data = 'input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8\n'
    for top in ("", 'top: "fc"'):  # with a top, which neither has, they would be needed for the score
        prepared = prepare(data + nets.conv("fc", "data", 4, 1) + writers.replace("TOP", top), score="fc")
        assert types(prepared) == ["Input", "Bias", "Convolution", "Softmax"]


def test_several_outputs_and_no_hint_list_the_candidates():
    text = nets.input_layer((1, 3, 8, 8)) + nets.conv("a", "data", 2, 1) + nets.conv("b", "data", 2, 1)
    with pytest.raises(
        NetError,
        match=r"there are 2 \(a, b\).*--score NAME .*score=.*a \(1 x 2 x 8 x 8\), b \(1 x 2 x 8 x 8\)",
    ):
        prepare(text)
    prepared = prepare(text, score="a")
    assert types(prepared) == ["Input", "Bias", "Convolution", "Softmax"]
    with pytest.raises(NetError, match="no blob 'c'"):
        prepare(text, score="c")


IMAGE = nets.input_layer((1, 3, 8, 8))


def head(kind, blob, name, extra=""):
    """A layer that reads scores, with a label if it is a loss."""
    label = 'bottom: "label" ' if kind.endswith("Loss") else ""
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{blob}" {label}top: "{name}" {extra}}}\n'


@pytest.mark.parametrize("softmax", ["Softmax", "Sigmoid"])
def test_attention_in_the_middle_is_not_the_score(softmax):
    text = IMAGE + nets.attention("score", softmax)
    assert prepare(text).score == "score"
    assert prepare(text + head("Softmax", "score", "y")).prob == "y"


@pytest.mark.parametrize(
    "text, why",
    [
        (head("Sigmoid", "a", "y"), "'y' holds probabilities.*candidates: a .1 x 5 x 8 x 8"),
        (head("SigmoidCrossEntropyLoss", "a", "l"), "'l' .SigmoidCrossEntropyLoss.*candidates: a .1 x 5 x"),
        (head("ContrastiveLoss", "a", "l"), "'l' .ContrastiveLoss. is not known as.*candidates: a"),
        (head("EuclideanLoss", "a", "l", "include { phase: TRAIN } "), "'l' .EuclideanLoss.*candidates: a"),
        (head("Normalize", "a", "e"), "only output 'e' is made by a layer of type Normalize.*candidates: a"),
        (
            head("Softmax", "a", "p") + nets.conv("b", "data", 5, 1) + head("Softmax", "b", "q"),
            "There are 2 heads.*candidates: a .1 x 5 x 8 x 8., b",
        ),
        (
            head("Softmax", "a", "p") + nets.conv("b", "data", 5, 1) + head("Softmax", "b", "q")
            + nets.add("mean", "p", "q"),
            "'mean' holds probabilities.*candidates: a .1 x 5 x 8 x 8., b",
        ),
        (
            head("Softmax", "a", "p") + 'layer { name: "show" type: "Python" bottom: "p" bottom: "data" '
            'top: "shown" python_param { module: "m" layer: "L" } }\n',
            "Python layer 'show' makes its only output from probabilities.*candidates: a .1 x 5",
        ),
        (head("Softmax", "a", "p", "softmax_param { axis: 2 } "), "on axis 2.*candidates: none"),
        (
            'layer { name: "r" type: "Reshape" bottom: "a" top: "r" reshape_param { shape { dim: 0 dim: -1 '
            "dim: 5 } } }\n" + head("Softmax", "r", "p", "softmax_param { axis: -1 } "),
            "'r' on axis -1.*candidates: a .1 x 5 x 8 x 8.",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_told_is_asked(text, why):
    with pytest.raises(NetError, match=f"{why}") as error:
        prepare(IMAGE + nets.conv("a", "data", 5, 1) + text)
    assert "--score NAME (in Python: score='NAME')" in str(error.value)
    if "on axis 2" not in why:
        assert prepare(IMAGE + nets.conv("a", "data", 5, 1) + text, score="a").score == "a"


def test_probabilities_are_no_scores_even_when_asked_for():
    text = IMAGE + nets.conv("a", "data", 5, 1) + head("Softmax", "a", "p")
    with pytest.raises(NetError, match="'p' holds probabilities.*candidates: a"):
        prepare(text, score="p")


def test_of_several_heads_the_fused_one_or_the_heaviest():
    data = 'layer { name: "data" type: "Data" top: "data" top: "label" transform_param { crop_size: 9 } }\n'
    two = data + nets.conv("a", "data", 5, 1) + nets.conv("b", "a", 5, 1)
    losses = head("SoftmaxWithLoss", "b", "loss_b") + head("SoftmaxWithLoss", "a", "loss_a")
    prepared = prepare(two + losses)
    assert prepared.score == "b"
    assert any("computed from the other heads'; others read a" in change for change in prepared.changes)
    other_classes = two.replace("num_output: 5", "num_output: 2", 1) + losses
    with pytest.raises(NetError, match="2 heads"):
        prepare(other_classes)
    assert prepare(other_classes.replace('top: "loss_b" ', 'top: "loss_b" loss_weight: 0.3 ')).score == "a"
    with pytest.raises(NetError, match="2 heads"):
        prepare(other_classes.replace('top: "loss_b" ', 'top: "loss_b" loss_weight: nan '))


def test_stages_and_levels():
    text = (
        'layer { name: "data" type: "Data" top: "data" include { not_stage: "deploy" } }\n'
        'layer { name: "data" type: "Input" top: "data" include { stage: "deploy" } '
        "input_param { shape { dim: 1 dim: 3 dim: 6 dim: 7 } } }\n"
        + nets.conv("score", "data", 4, 1)
        + nets.conv("fine", "score", 4, 1, extra="include { min_level: 2 } ")
    )
    prepared = prepare(text, stages=["deploy"], level=2)
    assert list(prepared.input_shape.dim) == [1, 3, 6, 7] and prepared.score == "fine"
    assert any("TEST phase, stages deploy, level 2" in change for change in prepared.changes)
    prepared = prepare(text)
    assert prepared.score == "score" and "--stage NAME" in prepared.changes[0]
    # The data layer of the training phase only: the deploy net's Input is what it stands for.
    of_training = text.replace("include { not_stage", "include { phase: TRAIN not_stage")
    prepared = prepare(of_training)
    assert list(prepared.input_shape.dim) == [1, 3, 6, 7] and not prepared.channels_are_guess


def test_a_score_that_needs_the_label_is_refused():
    text = DATA + nets.conv("a", "data", 1, 1) + nets.add("score", "a", "label")
    with pytest.raises(NetError, match="'label' of layer 'data'.*'score'"):
        prepare(text)


FLOW = IMAGE + nets.input_layer((1, 2, 8, 8), name="second", top="flow")
IM_INFO = IMAGE + nets.input_layer((1, 3), name="second", top="flow")
BOTH = 'layer { name: "both" type: "Concat" bottom: "data" bottom: "flow" top: "both" }\n' + nets.conv(
    "score", "both", 4, 1
)


def test_a_second_input_is_named_with_its_shape_and_takes_values():
    with pytest.raises(
        NetError, match=r"2 inputs: 'data' \(1 x 3 x 8 x 8\).*'flow' \(1 x 2 x 8 x 8\).*--input"
    ):
        prepare(FLOW + BOTH)
    prepared = prepare(FLOW + BOTH, inputs={"flow": [1, -2]}, input_shape=(1, 3, 6, 7))
    assert prepared.data == "data" and prepared.others["flow"].ravel().tolist() == [1, -2]
    second = next(layer for layer in prepared.net.layer if layer.name == "second")
    assert list(second.input_param.shape[0].dim) == [1, 2, 6, 7]  # constants are as large as the image
    # Which one is the image follows from what is given.
    assert prepare(FLOW + BOTH, inputs={"data": np.zeros((3, 8, 8))}).data == "flow"
    assert prepare(IM_INFO + BOTH, inputs={"flow": [8, 8, 1]}).others["flow"].tolist() == [[8, 8, 1]]
    assert prepare(FLOW + nets.conv("score", "data", 4, 1)).others == {}  # an input that is not needed


@pytest.mark.parametrize(
    "inputs, why",
    [
        ({"flw": 0}, "no input 'flw'; did you mean flow"),
        ({"flow": 0, "data": 0}, "no input is left for the image"),
        ({"flow": [1, 2, 3]}, r"'flow' \(1 x 2 x 8 x 8\): values of shape \(3,\)"),
        ({"flow": np.zeros((5, 2, 8, 8))}, r"values of shape \(5, 2, 8, 8\); expected 1 x 2 x 8 x 8"),
        ({"flow": float("nan")}, "NaN"),
        ({"flow": "abc"}, "expected numbers"),
    ],
)
def test_values_that_do_not_fit_their_input(inputs, why):
    with pytest.raises((NetError, DataError), match=why):
        prepare(FLOW + BOTH, inputs=inputs)


def test_a_second_input_of_a_data_layer():
    data = (
        'layer { name: "nyud" type: "Python" top: "data" top: "flow" '
        'python_param { module: "m" layer: "L" } }\n'
    )
    with pytest.raises(
        NetError, match="'data' of layer 'nyud'.*'flow' of layer 'nyud', read by layer 'both'"
    ):
        prepare(data + BOTH)
    with pytest.raises(DataError, match="'flow' of layer 'nyud': its shape is not in the file"):
        prepare(data + BOTH, inputs={"flow": 1})
    prepared = prepare(data + BOTH, inputs={"flow": np.ones((2, 8, 9))}, input_shape=(None, None, 8, 9))
    shapes = [list(layer.input_param.shape[0].dim) for layer in prepared.net.layer if layer.type == "Input"]
    assert prepared.data == "data" and shapes == [[1, 3, 8, 9], [1, 2, 8, 9]]


def test_a_misspelt_bottom_is_no_data_layer():
    text = IMAGE + nets.conv("conv1", "data", 8, 3, 1) + nets.conv("score", "conv_1", 4, 1)
    with pytest.raises(NetError, match=r"'score' \(Convolution\).*bottom 'conv_1'; did you mean conv1\?"):
        prepare(text)
    with pytest.raises(NetError, match="no layer makes its bottom 'elsewhere'"):
        prepare(text.replace("conv_1", "elsewhere"))
    # A loss whose label nothing brings will be dropped.
    assert prepare(text.replace("conv_1", "conv1") + LOSS).score == "score"
    # A file without any data layer has left out the one that brings the images.
    assert prepare(nets.conv("score", "images", 4, 1)).data == "images"


def pooled(text):
    return nets.pool("pool", "data") + text


@pytest.mark.parametrize(
    "text, rows, said",
    [
        (nets.conv("score", "data", 4, 5), (1, -2), "begin at pixel 2, 2"),
        (nets.conv("score", "data", 4, 2), (1, -0.5), "begin at pixel 0.5, 0.5.*half a pixel off"),
        (nets.conv("score", "data", 4, 3, pad=4), (1, 3), "begin at pixel -3, -3"),
        (nets.conv("score", "data", 4, 3, pad=1), (1, 0), ""),
        (pooled(nets.conv("score", "pool", 4, 1)), (0.5, -0.25), "enlarged"),
        (pooled(nets.deconv("score", "pool", 4, 4, 2)), (1, 1), "begin at pixel -1, -1"),
        (
            pooled(
                'layer { name: "score" type: "Interp" bottom: "pool" top: "score" '
                "interp_param { zoom_factor: 2 } }"
            ),
            (1, -0.5),
            "half a pixel off",
        ),
        (
            nets.conv("a", "data", 4, 1) + 'layer { name: "r" type: "Reshape" bottom: "a" top: "score" '
            "reshape_param { shape { dim: 1 dim: 4 dim: 4 dim: 16 } } }",
            None,
            "",
        ),
        (
            nets.conv("a", "data", 4, 1, stride=2) + 'layer { name: "r" type: "Reshape" bottom: "a" '
            'top: "score" reshape_param { shape { dim: 1 dim: -1 dim: 4 dim: 4 } } }',
            None,
            "stretched to it",
        ),
    ],
)
def test_where_the_scores_lie_over_the_input(text, rows, said):
    prepared = prepare(IMAGE + text, score="score")
    assert prepared.placing == (None if rows is None else (rows, rows))
    found = [change for change in prepared.changes if "label maps" in change]
    assert len(found) == bool(said) and re.search(said, " ".join(found))


def ip(bottom="data"):
    return (
        f'layer {{ name: "ip" type: "InnerProduct" bottom: "{bottom}" top: "ip" '
        "inner_product_param { num_output: 4 } }\n"
    )


POOL_ALL = (
    'layer { name: "all" type: "Pooling" bottom: "data" top: "all" pooling_param { global_pooling: true } }\n'
)
TILED = (
    nets.conv("a", "data", 2, 1)
    + POOL_ALL
    + 'layer { name: "h" type: "Tile" bottom: "all" top: "h" tile_param { axis: 2 tiles: 8 } }\n'
    'layer { name: "w" type: "Tile" bottom: "h" top: "w" tile_param { axis: 3 tiles: 8 } }\n'
    'layer { name: "cat" type: "Concat" bottom: "a" bottom: "w" top: "cat" }\n'
)
RESHAPED = (
    nets.conv("a", "data", 4, 1) + 'layer { name: "r" type: "Reshape" bottom: "a" top: "r" '
    "reshape_param { shape { dim: 1 dim: 4 dim: 8 dim: 8 } } }\n"
)


@pytest.mark.parametrize(
    "text, layer",
    [
        (ip(), "'ip' (InnerProduct) takes 192 values"),
        (TILED, "'cat' (Concat)"),
        (RESHAPED, "'r' (Reshape) makes 1 x 4 x 8 x 8"),
        (POOL_ALL + ip("all"), ""),
        (nets.pool("p", "data") + nets.deconv("up", "p", 3, 2, 2) + nets.add("sum", "up", "data"), ""),
        (RESHAPED.replace("dim: 8 dim: 8", "dim: 0 dim: -1"), ""),
        (RESHAPED.replace("dim: 4 dim: 8 dim: 8", "dim: -1 dim: 2 dim: 8"), ""),
    ],
)
def test_nets_of_one_size(text, layer):
    prepared = prepare(IMAGE + text)
    assert layer in prepared.fixed and bool(prepared.fixed) == bool(layer)
    if layer:
        with pytest.raises(NetError, match=r"own input is 8 x 8.*images of 6 x 8 do not do: --resize 8,8"):
            prepare(IMAGE + text, input_shape=(None, None, 8, 6))


def test_repeated_names_are_made_unique():
    text = nets.input_layer((1, 3, 500, 500)) + nets.fcn(
        "8s", offsets=False, names=["crop", "fuse"] * 2 + ["crop"]
    )
    prepared = prepare(text)
    names = [layer.name for layer in prepared.net.layer]
    assert len(set(names)) == len(names)
    assert [name for name in names if name.startswith(("crop", "fuse"))] == [
        "crop",
        "fuse",
        "crop_2",
        "fuse_2",
        "crop_3",
    ]
    assert crop_offsets(prepared) == [[5], [9], [31]]


def as_v1(text):
    """The same layers in the dialect of 2014: ``layers``, types as enum values, ``blobs_lr``."""
    for kind in ("Convolution", "Deconvolution", "ReLU", "Pooling", "Dropout", "Eltwise", "Crop"):
        text = text.replace(f'type: "{kind}"', f"type: {kind.upper()}")
    return text.replace("layer {", "layers {").replace("param { lr_mult: 0 } ", "blobs_lr: 0 ")


def test_the_released_crf_rnn_description():
    """V1, repeated names, Crop without parameters, an explicit Split, a fork's layer at the end."""
    text = nets.fcn("8s", offsets=False, names=["crop", "fuse"] * 2 + ["crop"])
    text = (
        'input: "data" input_dim: 1 input_dim: 3 input_dim: 500 input_dim: 500 force_backward: true\n'
        + as_v1(text.replace('top: "score" }', 'top: "coarse" }'))
    )
    text += (
        'layers { type: SPLIT name: "splitting" bottom: "coarse" top: "unary" top: "Q0" }\n'
        'layers { type: MULTI_STAGE_MEANFIELD name: "inference1" bottom: "unary" bottom: "Q0" bottom: "data" '
        'top: "pred" blobs_lr: 10000 blobs_lr: 10000 blobs_lr: 1000 multi_stage_meanfield_param { '
        "num_iterations: 10 theta_alpha: 160 theta_beta: 3 theta_gamma: 3 } }\n"
    )
    prepared = prepare(text)
    assert prepared.score == "pred" and crop_offsets(prepared) == [[5], [9], [31]]
    inference = layer_named(prepared, "inference1")
    assert inference.type == "MultiStageMeanfield" and [spec.lr_mult for spec in inference.param] == [0, 0, 0]
    stock = layer_named(prepare(text, engine="bvlc"), "inference1")
    assert stock.type == "Python" and [spec.lr_mult for spec in stock.param] == [0, 0, 0]
    cut = prepare(text, engine="bvlc", score="coarse")
    assert types(cut)[-2:] == ["Crop", "Softmax"] and "splitting (Split)" in " ".join(cut.changes)


def test_switches_that_stop_the_gradient_are_removed():
    text = (
        "force_backward: true\n"
        + nets.input_layer((1, 3, 8, 8))
        + nets.conv("score", "data", 2, 1, extra="propagate_down: false ").replace(
            "num_output", "engine: CUDNN num_output"
        )
    )
    prepared = prepare(text)
    score = layer_named(prepared, "score")
    assert not prepared.net.force_backward and not score.propagate_down
    assert not score.convolution_param.HasField("engine")
    assert any("propagate_down" in change for change in prepared.changes)


def test_names_that_are_taken():
    text = (
        nets.input_layer((1, 3, 8, 8))
        + nets.conv("prob", "data", 2, 1)
        + nets.conv("probe", "prob", 2, 1, top="score")
    )
    prepared = prepare(text)
    assert prepared.prob == "gp_prob"
    assert prepared.net.layer[1].name == "gp_probe"


def test_v1_files_are_read():
    text = (
        'input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8\n'
        'layers { name: "score" type: CONVOLUTION bottom: "data" top: "score" blobs_lr: 1 blobs_lr: 2 '
        "convolution_param { num_output: 2 kernel_size: 1 } }\n"
    )
    assert types(prepare(text)) == ["Input", "Bias", "Convolution", "Softmax"]


def test_a_net_without_any_input_is_refused():
    with pytest.raises(NetError, match="no data or Input layer"):
        prepare(
            'layer { name: "p" type: "Parameter" top: "p" parameter_param { shape { dim: 1 dim: 2 } } }\n'
            + nets.conv("score", "p", 2, 1)
        )


def test_candidates_are_looked_for_once_each():
    # Read twice at every step: 2^40 ways lead up.
    text = 'input: "b0" input_shape { dim: 1 dim: 3 }\n' + "".join(
        f'layer {{ name: "l{i}" type: "Reshape" bottom: "b{i}" bottom: "b{i}" top: "b{i + 1}" }}\n'
        for i in range(40)
    )
    with pytest.raises(NetError, match="candidates"):
        prepare(text, score="nothing")


def test_long_lists_of_candidates_are_cut():
    text = 'input: "d" input_shape { dim: 1 dim: 3 }\n' + "".join(
        f'layer {{ name: "r{i}" type: "ReLU" bottom: "d" top: "r{i}" }}\n' for i in range(3000)
    )
    with pytest.raises(NetError, match="there are 3000 .*and 2980 more") as caught:
        prepare(text)
    assert len(str(caught.value)) < 1000
    heads = "".join(
        f'layer {{ name: "s{i}" type: "Softmax" bottom: "r{i}" top: "s{i}" }}\n' for i in range(101)
    )
    with pytest.raises(NetError, match="more than 100 heads"):
        prepare(text + heads)

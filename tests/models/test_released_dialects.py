"""The zoo's nets written as their authors released them load as they are and compute the same.

Each net is turned by code into the dialect of its released files (docs/released_prototxts.md lists the real
ones) and read as a user's file would be. Scores and the diff at the input must be equal to the bit.
"""

from __future__ import annotations

import numpy as np
import pytest

from caffe_gp import engines, proto
from caffe_gp.gp import GuidedPerturbation
from caffe_gp.proto import messages as pb
from caffe_gp.proto.upgrade import V1_TYPES
from tests.models import nets_of_the_zoo as nets

caffe = pytest.importorskip("caffe_gp.caffe")

V1_NAMES = {kind: name for name, kind in V1_TYPES.items()}
CHANNELS = 5


def without_input(net):
    """The net without its Input layer."""
    assert net.layer[0].type == "Input"
    del net.layer[0]
    return net


def as_v1(net):
    """A NetParameter in the dialect of 2014: ``layers``, enum types, ``blobs_lr``, ``hole``."""
    old = pb.NetParameter(name=net.name)
    for layer in net.layer:
        v1 = old.layers.add(name=layer.name, bottom=layer.bottom, top=layer.top)
        v1.type = pb.V1LayerParameter.LayerType.Value(V1_NAMES[layer.type])
        v1.blobs_lr.extend(spec.lr_mult for spec in layer.param)
        v1.weight_decay.extend(spec.decay_mult for spec in layer.param)
        for field, value in layer.ListFields():
            if field.name.endswith("_param"):
                getattr(v1, field.name).CopyFrom(value)
        if len(v1.convolution_param.dilation):
            v1.convolution_param.hole = v1.convolution_param.dilation[0]
            v1.convolution_param.ClearField("dilation")
    return old


def crf_rnn():
    """V1; Crops without offsets; three layers called crop and two fuse."""
    net = without_input(nets.narrow("crfasrnn-coco", CHANNELS))
    for layer in net.layer:
        layer.ClearField("crop_param")
        layer.name = {"crop_2": "crop", "crop_3": "crop", "fuse_2": "fuse"}.get(layer.name, layer.name)
    inputs = "input: 'data'\ninput_dim: 1\ninput_dim: 3\ninput_dim: 500\ninput_dim: 500\n"
    return inputs + "force_backward: true\n" + proto.to_text(as_v1(net))


def crf_rnn_v2():
    """The later file of the same net: ``layer``, the rest as before."""
    net = without_input(nets.narrow("crfasrnn-coco", CHANNELS))
    for layer in net.layer:
        layer.ClearField("crop_param")
        layer.name = {"crop_2": "crop", "crop_3": "crop", "fuse_2": "fuse"}.get(layer.name, layer.name)
    return "input: 'data' input_dim: 1 input_dim: 3 input_dim: 500 input_dim: 500\n" + proto.to_text(net)


def deeplab_v1():
    """V1 with ``hole``; a template; its own data layer; scores written to .mat files."""
    net = without_input(nets.narrow("deeplab-coco-largefov", CHANNELS))
    net.name = "${NET_ID}"
    text = proto.to_text(as_v1(net)).replace("fc8_voc12", "fc8_${EXP}")
    head, tail = text.split('name: "fc8_${EXP}"')
    text = head + 'name: "fc8_${EXP}"' + tail.replace(f"num_output: {CHANNELS}", "num_output: ${CLASSES}", 1)
    assert "hole: 12" in text and "dilation" not in text and text.count("${CLASSES}") == 1
    return (
        'layers { name: "data" type: IMAGE_SEG_DATA top: "data" top: "label" include: { phase: TEST }\n'
        '  image_data_param { root_folder: "${DATA_ROOT}" source: "${LIST}.txt" batch_size: 1 '
        "has_label: false }\n"
        "  transform_param { mean_value: 104.008 mean_value: 116.669 mean_value: 122.675 crop_size: 513 } }\n"
        + text
        + 'layers { name: "fc8_mat" type: MAT_WRITE bottom: "fc8_interp" include: { phase: TEST }\n'
        '  mat_write_param { prefix: "${FEATURES}/fc8/" source: "${LIST}_id.txt" strip: 0 period: 1 } }\n'
        'layers { bottom: "label" name: "silence" type: SILENCE include: { phase: TEST } }\n'
    )


def deeplab_v2():
    """A template with a label branch: ImageSegData, SegAccuracy, ArgMax and MatWrite around the net."""
    net = without_input(nets.narrow("deeplab-vgg16", CHANNELS))
    return (
        'name: "${NET_ID}"\n'
        'layer { name: "data" type: "ImageSegData" top: "data" top: "label" top: "data_dim"\n'
        '  image_data_param { root_folder: "${DATA_ROOT}" source: "${EXP}/list/${LIST}.txt" batch_size: 1 '
        "label_type: PIXEL }\n"
        "  transform_param { mean_value: 104.008 mean_value: 116.669 mean_value: 122.675 crop_size: 513 } }\n"
        + proto.to_text(net).replace("voc12", "${EXP}").split("\n", 1)[1]
        + 'layer { name: "iou" type: "SegAccuracy" bottom: "fc8_interp" bottom: "label" top: "iou"\n'
        "  seg_accuracy_param { ignore_label: 255 } }\n"
        'layer { name: "argmax" type: "ArgMax" bottom: "fc8_interp" top: "labels" '
        "argmax_param { axis: 1 } }\n"
        'layer { name: "mat" type: "MatWrite" bottom: "labels" '
        'mat_write_param { prefix: "${FEATURES}/" source: "${LIST}_id.txt" } }\n'
        'layer { name: "silence" type: "Silence" bottom: "data_dim" }\n'
    )


def fcn_train():
    """A file to train with: a Python data layer whose module nobody has, Dropout, the loss."""
    net = without_input(nets.narrow("fcn-8s", CHANNELS))
    text = proto.to_text(net)
    return (
        'layer { name: "data" type: "Python" top: "data" top: "label" python_param { module: "voc_layers" '
        "layer: \"SBDDSegDataLayer\" param_str: \"{\\'seed\\': 1337, \\'split\\': \\'train\\'}\" } }\n"
        + text.replace(
            'layer {\n  name: "fc7"',
            'layer { name: "drop6" type: "Dropout" bottom: "fc6" top: "fc6" }\nlayer {\n  name: "fc7"',
        )
        + 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" '
        "loss_param { ignore_label: 255 normalize: false } }\n"
    )


RELEASED = {
    "crfasrnn-coco": (crf_rnn, (40, 56), "pred"),
    "crfasrnn-coco, V2": (crf_rnn_v2, (40, 56), "pred"),
    "deeplab-coco-largefov": (deeplab_v1, (49, 65), "fc8_interp"),
    "deeplab-vgg16": (deeplab_v2, (49, 65), "fc8_interp"),
    "fcn-8s": (fcn_train, (40, 56), "score"),
}


def save_random_weights(net, path):
    """Fill a net with values that keep activations of about one size, and save them."""
    random = np.random.RandomState(5)
    for blobs in net.params.values():
        for blob in blobs:
            width = np.sqrt(2 / np.prod(blob.data.shape[1:])) if blob.data.ndim > 1 else 0.1
            blob.data[...] = width * random.randn(*blob.data.shape)
    net.save(str(path))


@pytest.mark.parametrize("released", RELEASED)
def test_same_scores_and_diff(released, tmp_path):
    write, size, score = RELEASED[released]
    name = released.split(",")[0]
    defines = {"EXP": "voc12", "CLASSES": str(CHANNELS)}
    own, theirs, weights = (tmp_path / file for file in ("own.prototxt", "theirs.prototxt", "w.caffemodel"))
    proto.write_text(nets.narrow(name, CHANNELS), own)
    theirs.write_text(write())
    save_random_weights(caffe.Net(str(own), caffe.TEST), weights)
    image = np.random.RandomState(1).uniform(-120, 130, (1, 3, *size)).astype(np.float32)
    results = []
    for path in (own, theirs):
        loaded = engines.load_net(str(path), str(weights), input_shape=image.shape, defines=defines)
        assert loaded.score == score
        assert not any("no weights" in change for change in loaded.changes), loaded.changes
        result = GuidedPerturbation(loaded)(image, 1.0, keep_probabilities=True)
        net = loaded.net
        results.append((result.base_probabilities, net.blobs[loaded.data].diff.copy(), result.probabilities))
    for a, b in zip(*results):
        assert a.any() and np.array_equal(a, b)


def test_both_hole_and_dilation_are_refused():
    from caffe_gp.errors import PrototxtError

    text = (
        'layer { name: "c" type: "Convolution" bottom: "a" top: "b" '
        "convolution_param { num_output: 1 kernel_size: 3 hole: 2 dilation: 2 } }"
    )
    with pytest.raises(PrototxtError, match="layer 'c' has both hole"):
        proto.parse_net_param(text)
    net = proto.parse_net_param(text.replace("hole: 2 dilation: 2", "hole_w: 3"))
    assert list(net.layer[0].convolution_param.dilation) == [1, 3]

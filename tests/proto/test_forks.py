"""Files of Caffe's forks: they are read, their fork is named, and what is not available is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest
from google.protobuf import text_format

from caffe_gp import proto
from caffe_gp.errors import PrototxtError
from caffe_gp.proto import forks, schema
from caffe_gp.proto import messages as pb
from conformance.folders import ROOT
from tests.proto.random_messages import fill


def layer_of(text: str):
    return proto.parse_net_param(f'layer {{ name: "x" type: "X" bottom: "b" top: "t" {text} }}').layer[0]


# ---- the schema


@pytest.mark.parametrize("kind", sorted(pb.MESSAGES))
def test_every_message_is_read_as_it_is_written(kind):
    for seed in range(3):
        message = fill(pb.MESSAGES[kind](), np.random.RandomState(seed), depth=2)
        text = proto.to_text(message)
        assert text_format.Parse(text, pb.MESSAGES[kind](), descriptor_pool=pb.POOL) == message


def test_every_fork_s_field_is_known_as_such():
    """Those of layers, and those within BVLC's messages: inspect and messages say whose they are."""
    bvlc = {
        field.message_type.name: field.name
        for field in pb.LayerParameter.DESCRIPTOR.fields
        if field.number < schema.FORK_NUMBERS and field.message_type is not None
    }
    checked = 0
    for kind, owner in {"LayerParameter": "", "NetParameter": "", "SolverParameter": "", **bvlc}.items():
        for field in pb.MESSAGES[kind].DESCRIPTOR.fields:
            if field.number >= schema.FORK_NUMBERS:
                checked += 1
                assert forks.fork_of(field.name), (kind, field.name)
                name = f"{owner}.{field.name}" if owner else field.name
                assert "" not in forks.forks_of([name]), name
    assert checked > 100


def test_marks_are_of_forks_fields():
    for kind, name in pb.MARKS:
        assert pb.MESSAGES[kind].DESCRIPTOR.fields_by_name[name].number >= schema.FORK_NUMBERS


def test_fields_that_forks_have_in_common():
    """One name, two meanings: both are read."""
    several = layer_of("transform_param { resize_param { width: 300 } resize_param { width: 512 } }")
    assert [one.width for one in several.transform_param.resize_param] == [300, 512]
    pose = layer_of("nms_param { threshold: 0.05 max_peaks: 64 num_parts: 18 }")
    assert pose.nms_param.max_peaks == 64 and pose.nms_param.num_peak == 100
    ssd = layer_of("multibox_loss_param { nms_param { nms_threshold: 0.45 top_k: 400 } }")
    assert ssd.multibox_loss_param.nms_param.top_k == 400
    nvidia = layer_of("batch_norm_param { scale_bias: true engine: CUDNN bias_filler { value: 1 } }")
    intel = layer_of("batch_norm_param { use_weight_bias: true engine: MKLDNN bias_filler { value: 2 } }")
    assert nvidia.batch_norm_param.bias_filler.value == 1 and intel.batch_norm_param.bias_filler.value == 2
    pspnet = layer_of("transform_param { scale_factors: 0.5 scale_factors: 2 crop_width: 473 }")
    assert list(pspnet.transform_param.scale_factors) == [0.5, 2]


def test_a_label_map_is_read_as_ssd_s_scripts_read_it():
    text = 'item { name: "none" label: 0 display_name: "background" } item { name: "dog" label: 12 }'
    assert text_format.Parse(text, pb.LabelMap(), descriptor_pool=pb.POOL).item[1].label == 12


# ---- whose a file is


@pytest.mark.parametrize(
    "text, fork",
    [
        ('type: "ReLU" relu_param { negative_slope: 0.1 }', None),
        ('type: "ReLU" relu_param { engine: MKLDNN }', "Intel"),
        ('type: "BatchNorm" batch_norm_param { scale_bias: true }', "NVIDIA"),
        ('type: "BatchNorm" batch_norm_param { filler { } bias_filler { } }', "Intel"),
        ('type: "BatchNorm" forward_type: FLOAT16', "NVIDIA"),
        ('type: "Upsample" bottom: "m" upsample_param { upsample_h: 4 upsample_w: 4 }', "SegNet"),
        ('type: "Upsample" upsample_param { scale: 2 }', "YOLO"),
        ('type: "BN" bn_param { bn_mode: INFERENCE }', "SegNet"),
        ('type: "BN" bn_param { frozen: true }', "PSPNet"),
        ('type: "Correlation" correlation_param { pad: 20 }', "FlowNet 2"),
        ('type: "ImResize" imresize_param { factor: 8 }', "OpenPose"),
        ('type: "MultiBoxLoss" multibox_loss_param { num_classes: 21 }', "SSD"),
        ('type: "AnnotatedData" annotated_data_param { yolo_data_type: 1 }', "YOLO"),
        ('type: "Convolution" convolution_param { hole: 2 }', "DeepLab v1"),
        ('type: "Whatever"', ""),
    ],
)
def test_the_fork_of_a_layer(text, fork):
    raw = text_format.Parse(f'layer {{ bottom: "b" {text} }}', pb.NetParameter(), descriptor_pool=pb.POOL)
    found = list(forks.forks_of(forks.foreign_names(raw)))
    if fork is None:
        assert not found
    elif fork == "":
        assert found == [""]
    else:
        assert len(found) == 1 and fork in found[0]


def test_few_forks_explain_many_names():
    """A name that several forks have goes to the one that explains the most."""
    names = ["Axpy", "CropCenter", "crop_center_param", "Permute"]
    found = forks.forks_of(names)
    assert list(found.values()) == [["Axpy", "CropCenter", "crop_center_param"], ["Permute"]]
    assert [fork.split()[0] for fork in found] == ["waifu2x-caffe", "SSD"]
    assert list(forks.forks_of(["Axpy"])) == ["SENet (hujie-frank/SENet) or waifu2x-caffe (lltcggie/caffe)"]


RELEASED = {
    "released_prototxts/CMU-Perceptual-Computing-Lab+caffe_rtpose/*.prototxt": "OpenPose",
    "released_prototxts/chuanqi305+MobileNet-SSD/*.prototxt": "SSD",
    "released_prototxts/MhLiao+TextBoxes/*.prototxt": "SSD",
    "released_prototxts/hszhao+PSPNet/*.prototxt": "PSPNet",
    "released_prototxts/hszhao+ICNet/*.prototxt": "PSPNet",
    "released_prototxts/hujie-frank+SENet/*.prototxt": "SENet",
    "released_prototxts/rbgirshick+py-faster-rcnn/*.prototxt": "Faster R-CNN",
    "released_prototxts/farmingyard+ShuffleNet/*.prototxt": "ShuffleNet",
    "released_prototxts/s9xie+hed/*train_val.prototxt": "HED",
    "released_prototxts/BVLC+caffe/*.prototxt": None,
    "released/ShiqiYu+libfacedetection/*.prototxt": "SSD",
    "released/lltcggie+waifu2x-caffe/*.prototxt": "waifu2x",
    "released/dog-qiuqiu+MobileNet-Yolo/yoloface*.prototxt": "YOLO",
    "released/zbzb00zbzb+vision_lane_detection/*.prototxt": "DeconvNet",
    "caffemodels/lane_tusimple_eric612/models/tusimple/*train.prototxt": "YOLO",
    "caffemodels/lane_tusimple_eric612/models/tusimple/*solver.prototxt": "SSD",
}


@pytest.mark.parametrize("pattern", sorted(RELEASED))
def test_the_fork_of_released_files(pattern, shared_data):
    paths = sorted(shared_data.glob(pattern))
    if not paths:
        pytest.skip(f"{pattern} is not among the test data")
    for path in paths:
        kind = pb.SolverParameter if "solver" in path.name else pb.NetParameter
        message = proto.parse_message(path.read_text(), kind(), str(path))
        found = list(forks.forks_of(forks.foreign_names(message)))
        expected = RELEASED[pattern]
        assert not found if expected is None else expected in found[0], (path, found)


def test_every_released_prototxt_is_read(shared_data):
    """Of whatever fork it is; and what is written of it is read as the same."""
    paths = [
        path
        for folder in ("released_prototxts", "released", "caffemodels", "caffe_voc")
        for path in sorted(shared_data.glob(f"{folder}/**/*.prototxt"))
    ]
    assert len(paths) > 40
    for path in paths:
        solver = "solver" in path.name
        message = (proto.read_solver_param if solver else proto.read_net_param)(str(path))
        parse = proto.parse_solver_param if solver else proto.parse_net_param
        assert parse(proto.to_text(message)) == message, path


# ---- what is not available


def test_fields_that_change_what_is_computed():
    layer = layer_of(
        "convolution_param { num_output: 1 relu: true conv_algos_override: '1,1,1' } forward_type: FLOAT16 "
        "transform_param { resize_param { width: 3 } } elu_param { lambda: 1.05 } "
        "inner_product_param { weight_filler { scale: 2 } }"
    )
    assert forks.unheeded(layer) == [
        "transform_param.resize_param",
        "convolution_param.relu",
        "inner_product_param.weight_filler.scale",
        "elu_param.lambda",
    ]
    assert forks.whose("inner_product_param.weight_filler.scale") == "a field of Intel Caffe (intel/caffe)"
    assert forks.whose("elu_param.lambda") == "a field of NVIDIA Caffe (NVIDIA/caffe)"
    assert forks.unheeded(layer, but=("transform_param", "elu_param"))[0] == "convolution_param.relu"
    harmless = layer_of(
        "convolution_param { relu: false engine: MKL2017 } elu_param { lambda: 1 } transform_param { "
        "resize_param { prob: 1 } crop_h: 0 use_gpu_transform: true }"
    )
    assert forks.unheeded(harmless) == []
    net = proto.parse_net_param("default_forward_type: FLOAT16 bn_stats_batch_size: 32")
    assert forks.unheeded(net) == ["bn_stats_batch_size"]


SOLVER = 'net: "a" base_lr: 1 lr_policy: "fixed" '


@pytest.mark.parametrize(
    "line, fork",
    [
        ('eval_type: "detection"', "SSD"),
        ("rampup_lr: 0.1", "NVIDIA"),
        ("warmup_iter: 100", "Intel"),
        ("plateau_winsize: 10000", "SSD"),
    ],
)
def test_solvers_of_forks(line, fork):
    """They are read; what would train otherwise is refused before anything is trained."""
    solver = proto.parse_solver_param(SOLVER + line)
    with pytest.raises(PrototxtError, match=f"s.prototxt: {line.split(':')[0]} is a field of .*{fork}"):
        proto.check_solver(solver, "s.prototxt")


def test_solvers_of_forks_that_train_as_caffe_does():
    lines = 'eval_type: "classification" ap_version: "11point" show_per_class_result: true min_lr: 0 '
    solver = proto.parse_solver_param(SOLVER + lines + "store_blobs_in_old_format: true engine: 'MKLDNN'")
    proto.check_solver(solver, "s.prototxt")


def test_what_to_do_about_layers():
    assert "Input layer in its place" in forks.unavailable(pb.LayerParameter(type="LaneData", top=["a"]))
    loss = pb.LayerParameter(type="MultiBoxLoss", bottom=["a"], top=["b"])
    assert "only training" in forks.unavailable(loss)
    other = forks.unavailable(pb.LayerParameter(type="Correlation", bottom=["a"], top=["b"]))
    assert "--score" in other
    (page,) = re.findall(r"docs/\w+\.md", forks.WRITE_IT)
    assert "register_layer" in forks.WRITE_IT and (ROOT / page).exists()

"""Older dialects: each rule against V2 text written by hand from Caffe's upgrade rules."""

from __future__ import annotations

import pytest
from google.protobuf import text_format

from caffe_gp import proto
from caffe_gp.errors import CaffeGPError, NetError, PrototxtError
from caffe_gp.proto import messages as pb


def check(old: str, new: str) -> None:
    expected = pb.NetParameter()
    text_format.Parse(new, expected, descriptor_pool=pb.POOL)
    assert proto.to_text(proto.parse_net_param(old)) == proto.to_text(expected)


def test_v0_with_padding_layers():
    check(
        """
        name: "old"
        force_backward: true
        input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 9
        layers { layer { name: "pad1" type: "padding" pad: 2 } bottom: "data" top: "pad1" }
        layers {
          layer { name: "conv1" type: "conv" num_output: 6 kernelsize: 3 stride: 2 group: 3 biasterm: false
                  weight_filler { type: "gaussian" std: 0.01 } blobs_lr: 1. blobs_lr: 2. weight_decay: 1. }
          bottom: "pad1" top: "conv1" }
        layers { layer { name: "relu1" type: "relu" } bottom: "conv1" top: "conv1" }
        layers { layer { name: "pool1" type: "pool" pool: AVE kernelsize: 3 stride: 2 } bottom: "conv1"
                top: "pool1" }
        layers { layer { name: "norm1" type: "lrn" local_size: 3 alpha: 0.5 beta: 0.25 k: 2 }
                 bottom: "pool1" top: "norm1" }
        layers { layer { name: "drop" type: "dropout" dropout_ratio: 0.3 } bottom: "norm1" top: "norm1" }
        layers { layer { name: "fc" type: "innerproduct" num_output: 4 bias_filler { value: 1 } }
                 bottom: "norm1" top: "fc" }
        layers { layer { name: "cat" type: "concat" concat_dim: 0 } bottom: "fc" bottom: "fc" top: "cat" }
        layers { layer { name: "loss" type: "softmax_loss" } bottom: "cat" bottom: "label" top: "loss" }
    """.replace('bottom: "cat" bottom: "label"', 'bottom: "cat" bottom: "data"'),
        """
        name: "old"
        force_backward: true
        layer { name: "input" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim:
                9 } } }
        layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
                param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 }
                convolution_param { num_output: 6 bias_term: false pad: 2 kernel_size: 3 group: 3 stride: 2
                                    weight_filler { type: "gaussian" std: 0.01 } } }
        layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
        layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
                pooling_param { pool: AVE kernel_size: 3 stride: 2 } }
        layer { name: "norm1" type: "LRN" bottom: "pool1" top: "norm1"
                lrn_param { local_size: 3 alpha: 0.5 beta: 0.25 k: 2 } }
        layer { name: "drop" type: "Dropout" bottom: "norm1" top: "norm1" dropout_param {
                dropout_ratio: 0.3 } }
        layer { name: "fc" type: "InnerProduct" bottom: "norm1" top: "fc"
                inner_product_param { num_output: 4 bias_filler { value: 1 } } }
        layer { name: "cat" type: "Concat" bottom: "fc" bottom: "fc" top: "cat" concat_param {
                concat_dim: 0 } }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "cat" bottom: "data" top: "loss" }
    """,
    )


def test_v0_data_layers():
    check(
        """
        layers { layer { name: "d" type: "data" source: "db" meanfile: "m" batchsize: 8 cropsize: 5
                mirror: true
                         scale: 0.5 rand_skip: 3 } top: "data" top: "label" }
        layers { layer { name: "i" type: "images" source: "list" batchsize: 2 shuffle_images: true
                new_height: 7
                         new_width: 9 } top: "i" top: "l" }
        layers { layer { name: "w" type: "window_data" source: "win" batchsize: 4 det_fg_threshold: 0.6
                         det_bg_threshold: 0.4 det_fg_fraction: 0.3 det_context_pad: 16 det_crop_mode:
                                 "square" }
                 top: "w" top: "wl" }
        layers { layer { name: "h" type: "hdf5_data" source: "h5" batchsize: 6 } top: "h" }
        layers { layer { name: "o" type: "hdf5_output" hdf5_output_param { file_name: "f" } } bottom: "h" }
    """,
        """
        layer { name: "d" type: "Data" top: "data" top: "label"
                transform_param { scale: 0.5 mirror: true crop_size: 5 mean_file: "m" }
                data_param { source: "db" batch_size: 8 rand_skip: 3 } }
        layer { name: "i" type: "ImageData" top: "i" top: "l"
                image_data_param { source: "list" batch_size: 2 shuffle: true new_height: 7 new_width: 9 } }
        layer { name: "w" type: "WindowData" top: "w" top: "wl"
                window_data_param { source: "win" batch_size: 4 fg_threshold: 0.6 bg_threshold: 0.4
                                    fg_fraction: 0.3 context_pad: 16 crop_mode: "square" } }
        layer { name: "h" type: "HDF5Data" top: "h" hdf5_data_param { source: "h5" batch_size: 6 } }
        layer { name: "o" type: "HDF5Output" bottom: "h" hdf5_output_param { file_name: "f" } }
    """,
    )


@pytest.mark.parametrize(
    "text",
    [
        'layers { layer { name: "x" type: "wavelet" } top: "x" }',
        'layers { layer { name: "x" type: "relu" num_output: 3 } top: "x" }',
        'layers { layer { name: "x" type: "conv" new_num: 3 } top: "x" }',
        'layers { layer { name: "x" type: "relu" } bottom: "nobody" top: "x" }',
        'input: "d" layers { layer { name: "p" type: "padding" pad: 1 } bottom: "d" top: "p" }'
        ' layers { layer { name: "x" type: "relu" } bottom: "p" top: "x" }',
        'input: "d" layers { layer { name: "p" type: "padding" pad: 1 } bottom: "d" top: "p" }'
        ' layers { layer { name: "x" type: "conv" num_output: 1 } bottom: "p" bottom: "d" top: "x" }',
    ],
)
def test_v0_nets_that_cannot_be_upgraded(text):
    with pytest.raises(PrototxtError, match="layer '"):
        proto.parse_net_param(text)


def test_v1():
    check(
        """
        name: "v1"
        input: "data" input_dim: 1 input_dim: 3 input_dim: 500 input_dim: 500
        layers { name: "conv1" type: CONVOLUTION bottom: "data" top: "conv1" param: "w" param: "b"
                 blob_share_mode: PERMISSIVE blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0
                 convolution_param { num_output: 4 kernel_size: 3 pad: 100 } include { phase: TRAIN } }
        layers { name: "up" type: DECONVOLUTION bottom: "conv1" top: "up" convolution_param {
                num_output: 2 } }
        layers { name: "crop" type: CROP bottom: "up" bottom: "data" top: "crop" exclude { min_level: 2 } }
        layers { name: "mf" type: MULTI_STAGE_MEANFIELD bottom: "crop" bottom: "crop" bottom: "data"
                top: "pred"
                 blobs_lr: 10000 multi_stage_meanfield_param { num_iterations: 10 theta_alpha: 160 } }
        layers { name: "loss" type: SOFTMAX_LOSS bottom: "pred" bottom: "data" top: "loss" loss_weight: 3
                 loss_param { ignore_label: 255 normalize: false } softmax_param { engine: CAFFE } }
        layers { name: "s" type: SIGMOID_CROSS_ENTROPY_LOSS bottom: "pred" bottom: "data" }
        layers { name: "a" type: ABSVAL bottom: "loss" top: "a" }
        layers { name: "untyped" bottom: "loss" }
    """,
        """
        name: "v1"
        layer { name: "input" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 500
                dim: 500 } } }
        layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
                param { name: "w" share_mode: PERMISSIVE lr_mult: 1 decay_mult: 1 }
                param { name: "b" lr_mult: 2 decay_mult: 0 } include { phase: TRAIN }
                convolution_param { num_output: 4 pad: 100 kernel_size: 3 } }
        layer { name: "up" type: "Deconvolution" bottom: "conv1" top: "up" convolution_param {
                num_output: 2 } }
        layer { name: "crop" type: "Crop" bottom: "up" bottom: "data" top: "crop" exclude { min_level: 2 } }
        layer { name: "mf" type: "MultiStageMeanfield" bottom: "crop" bottom: "crop" bottom: "data"
                top: "pred"
                param { lr_mult: 10000 } multi_stage_meanfield_param { theta_alpha: 160 num_iterations: 10 } }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "pred" bottom: "data" top: "loss" loss_weight: 3
                loss_param { ignore_label: 255 normalize: false } softmax_param { engine: CAFFE } }
        layer { name: "s" type: "SigmoidCrossEntropyLoss" bottom: "pred" bottom: "data" }
        layer { name: "a" type: "AbsVal" bottom: "loss" top: "a" }
        layer { name: "untyped" bottom: "loss" }
    """,
    )


def test_every_v1_type_has_a_v2_name():
    for name in pb.V1LayerParameter.LayerType.keys():
        net = proto.parse_net_param(f"layers {{ type: {name} }}")
        assert net.layer[0].type.lower() == {"softmax_loss": "softmaxwithloss", "none": ""}.get(
            name.lower(), name.lower().replace("_", "")
        )


def test_v1_data_transform():
    # one layer needs it: all data layers get the (empty) messages, as the upgrade macro leaves them
    check(
        """
        layers { name: "d" type: DATA top: "data" data_param { source: "db" scale: 0.5 mean_file: "m"
                crop_size: 4
                 mirror: true } }
        layers { name: "i" type: IMAGE_DATA top: "i" transform_param { mirror: true } }
        layers { name: "w" type: WINDOW_DATA top: "w" window_data_param { scale: 2 batch_size: 1 } }
    """,
        """
        layer { name: "d" type: "Data" top: "data" data_param { source: "db" }
                transform_param { scale: 0.5 mirror: true crop_size: 4 mean_file: "m" } }
        layer { name: "i" type: "ImageData" top: "i" image_data_param { } transform_param { mirror: true } }
        layer { name: "w" type: "WindowData" top: "w" window_data_param { batch_size: 1 }
                transform_param { scale: 2 } }
    """,
    )


def test_inputs():
    check(
        'input: "a" input: "b" input_shape { dim: 2 dim: 3 } input_shape { dim: 4 }'
        'layer { name: "r" type: "ReLU" bottom: "a" top: "a" }',
        'layer { name: "input" type: "Input" top: "a" top: "b"'
        "        input_param { shape { dim: 2 dim: 3 } shape { dim: 4 } } }"
        'layer { name: "r" type: "ReLU" bottom: "a" top: "a" }',
    )
    check(
        'input: "a" input: "b" '
        "input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4 "
        "input_dim: 5 input_dim: 6 input_dim: 7 input_dim: 8",
        'layer { name: "input" type: "Input" top: "a" top: "b"'
        "  input_param { shape { dim: 1 dim: 2 dim: 3 dim: 4 } shape { dim: 5 dim: 6 dim: 7 dim: 8 } } }",
    )
    # the structure part of an old caffemodel
    check('input: "data" layer { name: "x" }', 'layer { name: "x" }')


@pytest.mark.parametrize(
    "text", ['input: "a" input_dim: 1 input_dim: 2', 'input: "a" input: "b" input_shape { dim: 1 }']
)
def test_inputs_with_missing_shapes(text):
    with pytest.raises(PrototxtError, match="input"):
        proto.parse_net_param(text)


def test_batch_norm_specs():
    three = "param { lr_mult: 1 } param { lr_mult: 1 name: 'v' } param { decay_mult: 1 }"
    others = (
        'layer { name: "c" type: "BatchNorm" param { lr_mult: 1 } }'
        'layer { name: "s" type: "Scale" ' + three + " }"
    )
    check(
        'layer { name: "b" type: "BatchNorm" ' + three + " }" + others,
        'layer { name: "b" type: "BatchNorm" param { lr_mult: 0 decay_mult: 0 }'
        '  param { name: "v" lr_mult: 0 decay_mult: 0 } param { lr_mult: 0 decay_mult: 0 } }' + others,
    )


def test_ceil_mode():
    check(
        'layer { name: "p" type: "Pooling" pooling_param { ceil_mode: false } }'
        'layer { name: "q" type: "Pooling" pooling_param { ceil_mode: true } }',
        'layer { name: "p" type: "Pooling" pooling_param { round_mode: FLOOR } }'
        'layer { name: "q" type: "Pooling" pooling_param { round_mode: CEIL } }',
    )


@pytest.mark.parametrize(
    "old, new",
    [
        ("SGD", "SGD"),
        ("NESTEROV", "Nesterov"),
        ("ADAGRAD", "AdaGrad"),
        ("RMSPROP", "RMSProp"),
        ("ADADELTA", "AdaDelta"),
        ("ADAM", "Adam"),
    ],
)
def test_solver_type(old, new):
    solver = proto.parse_solver_param(f"solver_type: {old}")
    assert solver.type == new and not solver.HasField("solver_type")
    with pytest.raises(PrototxtError, match="solver_type"):
        proto.parse_solver_param(f'solver_type: {old} type: "SGD"')


def test_solver_with_nets_inside_and_snapshot_prefix(tmp_path):
    path = tmp_path / "my_solver.prototxt"
    path.write_text(
        'train_net_param { layers { name: "r" type: RELU } }test_net_param { input: "x" input_shape { } }'
    )
    solver = proto.read_solver_param(path)
    assert solver.train_net_param.layer[0].type == "ReLU"
    assert solver.test_net_param[0].layer[0].type == "Input"
    assert solver.snapshot_prefix == str(tmp_path / "my_solver")
    (tmp_path / "out").mkdir()
    path.write_text('snapshot_prefix: "%s"' % (tmp_path / "out"))
    assert proto.read_solver_param(path).snapshot_prefix == str(tmp_path / "out" / "my_solver")
    path.write_text('snapshot_prefix: "elsewhere/x"')
    assert proto.read_solver_param(path).snapshot_prefix == "elsewhere/x"


# ---------------------------------------------------------------- include and exclude rules


def included(rules: str, phase=pb.TEST, level=0, stages=()) -> bool:
    net = proto.parse_net_param(f'layer {{ name: "x" {rules} }}')
    return len(proto.filter_net(net, phase, level, stages).layer) == 1


@pytest.mark.parametrize(
    "rules, kwargs, expected",
    [
        ("", {}, True),
        ("include { phase: TEST }", {}, True),
        ("include { phase: TRAIN }", {}, False),
        ("exclude { phase: TEST }", {}, False),
        ("exclude { phase: TRAIN }", {}, True),
        ("include { phase: TRAIN } include { phase: TEST }", {}, True),
        ("include { min_level: 1 }", {}, False),
        ("include { min_level: 1 }", {"level": 1}, True),
        ("include { max_level: 1 }", {"level": 2}, False),
        ("include { min_level: -1 max_level: 1 }", {"level": 0}, True),
        ("include { stage: 'a' }", {}, False),
        ("include { stage: 'a' }", {"stages": ["b", "a"]}, True),
        ("include { stage: 'a' stage: 'b' }", {"stages": ["a"]}, False),
        ("include { stage: 'a' } include { stage: 'b' }", {"stages": ["b"]}, True),
        ("include { not_stage: 'a' }", {"stages": ["a"]}, False),
        ("include { not_stage: 'a' }", {"stages": ["b"]}, True),
        ("exclude { stage: 'a' not_stage: 'b' }", {"stages": ["a"]}, False),
        ("exclude { stage: 'a' not_stage: 'b' }", {"stages": ["a", "b"]}, True),
        ("include { phase: TEST stage: 'a' min_level: 2 }", {"stages": ["a"], "level": 2}, True),
        ("include { }", {}, True),
        ("exclude { }", {}, False),
    ],
)
def test_filter(rules, kwargs, expected):
    assert included(rules, **kwargs) is expected


def test_filter_keeps_the_nets_own_stages_and_records_the_state():
    net = proto.parse_net_param(
        'state { stage: "deploy" level: 5 }layer { name: "x" include { stage: "deploy" } }'
    )
    filtered = proto.filter_net(net, pb.TRAIN, level=1, stages=["more"])
    assert len(filtered.layer) == 1 and len(net.layer) == 1
    state = filtered.state
    assert (state.phase, state.level, list(state.stage)) == (0, 1, ["deploy", "more"])


def test_filter_with_both_kinds_of_rules():
    with pytest.raises(NetError, match="layer 'x'.*not both"):
        included("include { phase: TEST } exclude { phase: TRAIN }")


def test_reading_for_a_phase(shared_data):
    path = shared_data / "caffemodels/cifar10_everpeace/examples/mnist/lenet_train_test.prototxt"
    both = proto.read_net_param(path)
    test = proto.read_net_param(path, phase=pb.TEST)
    train = proto.read_net_param(path, phase=pb.TRAIN)
    assert [layer.name for layer in both.layer].count("mnist") == 2
    assert [layer.name for layer in test.layer].count("mnist") == 1
    assert "accuracy" in [layer.name for layer in test.layer]
    assert "accuracy" not in [layer.name for layer in train.layer]
    assert issubclass(NetError, CaffeGPError)


def test_types_of_deconvnet_and_segnet_in_the_old_dialect():
    net = proto.parse_net_param(
        'layers { name: "b" type: BN bottom: "x" top: "b" bn_param { bn_mode: INFERENCE } }'
        'layers { name: "s" type: UPSAMPLE bottom: "b" bottom: "m" top: "s" upsample_param { scale: 2 } }'
        'layers { name: "u" type: UNPOOLING bottom: "s" bottom: "n" top: "u" unpooling_param { '
        "unpool: TILE kernel_size: 2 stride: 2 unpool_size: 14 } }"
    )
    assert [layer.type for layer in net.layer] == ["BN", "Upsample", "Unpooling"]
    assert net.layer[2].unpooling_param.unpool == pb.UnpoolingParameter.TILE
    assert net.layer[2].unpooling_param.unpool_size == 14

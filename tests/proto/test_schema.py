"""The message classes: facts of the Caffe formats, wire compatibility, coexistence with BVLC's caffe_pb2."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest

from caffe_gp.proto import messages as pb
from caffe_gp.proto import schema


def test_enum_values_are_reachable_as_in_generated_code():
    assert (pb.TRAIN, pb.TEST) == (0, 1)
    assert pb.PoolingParameter.MAX == 0 and pb.PoolingParameter.STOCHASTIC == 2
    assert pb.EltwiseParameter.SUM == 1
    assert pb.V1LayerParameter.CONVOLUTION == 4 and pb.V1LayerParameter.DECONVOLUTION == 39
    assert pb.V1LayerParameter.LayerType.Name(42) == "MULTI_STAGE_MEANFIELD"
    assert pb.LossParameter.NormalizationMode.Value("BATCH_SIZE") == 2


@pytest.mark.parametrize(
    "message, field, number, default",
    [
        # numbers and defaults as published with BVLC Caffe 1.0
        ("NetParameter", "layer", 100, None),
        ("NetParameter", "layers", 2, None),
        ("LayerParameter", "blobs", 7, None),
        ("V1LayerParameter", "blobs", 6, None),
        ("V0LayerParameter", "blobs", 50, None),
        ("LayerParameter", "clip_param", 148, None),
        ("LayerParameter", "swish_param", 147, None),
        ("LayerParameter", "recurrent_param", 146, None),
        ("LayerParameter", "crop_param", 144, None),
        ("LayerParameter", "input_param", 143, None),
        ("BatchNormParameter", "moving_average_fraction", 2, pytest.approx(0.999)),
        ("BatchNormParameter", "eps", 3, pytest.approx(1e-5)),
        ("LRNParameter", "beta", 3, 0.75),
        ("CropParameter", "axis", 1, 2),
        ("ConvolutionParameter", "dilation", 18, None),
        ("PoolingParameter", "round_mode", 13, 0),
        ("FillerParameter", "type", 1, "constant"),
        ("ReshapeParameter", "num_axes", 3, -1),
        ("SolverParameter", "momentum2", 39, pytest.approx(0.999)),
        ("SolverParameter", "type", 40, "SGD"),
        ("SolverParameter", "snapshot_format", 37, 1),
        ("NetState", "phase", 1, 1),
        ("WindowDataParameter", "crop_mode", 11, "warp"),
        ("PythonParameter", "param_str", 3, ""),
        ("DataParameter", "backend", 8, 0),
    ],
)
def test_numbers_and_defaults(message, field, number, default):
    descriptor = pb.MESSAGES[message].DESCRIPTOR.fields_by_name[field]
    assert descriptor.number == number
    if default is not None:
        assert getattr(pb.MESSAGES[message](), field) == default


def test_v1_layers_have_the_fields_of_all_forks():
    """A prototxt of 2014 may be any fork's: the messages are those of today's layers."""
    today, old = (kind.DESCRIPTOR.fields_by_name for kind in (pb.LayerParameter, pb.V1LayerParameter))
    foreign = [name for name, field in today.items() if field.number >= schema.FORK_NUMBERS]
    assert len(foreign) > 40 and all(
        old[name].message_type is today[name].message_type for name in foreign if name.endswith("_param")
    )
    assert "python_param" not in old  # one of BVLC's, which V1 had not


def test_floats_and_dims_are_packed():
    blob = pb.BlobProto(data=[1.0, 2.0])
    blob.shape.dim.extend([1, 2])
    # 2a 08 <8 bytes of floats>, 3a 04 0a 02 01 02
    assert blob.SerializeToString() == bytes.fromhex("2a080000803f000000403a040a020102")
    # not packed there
    assert pb.Datum(float_data=[1.0]).SerializeToString() == bytes.fromhex("350000803f")


def test_fork_fields_have_numbers_of_their_own():
    numbers = {name: field.number for name, field in pb.LayerParameter.DESCRIPTOR.fields_by_name.items()}
    bvlc_s_last = 148  # clip_param
    forks = {name for name, number in numbers.items() if number > bvlc_s_last}
    assert {"interp_param", "bn_param", "upsample_param", "unpooling_param", "prior_box_param"} <= forks
    assert min(numbers[name] for name in forks) >= schema.FORK_NUMBERS
    assert pb.InterpParameter().zoom_factor == 1
    assert pb.ImageDataParameter().label_type == pb.ImageDataParameter.IMAGE
    assert pb.UpsampleParameter().scale == 2


CLASH = """
from google.protobuf import descriptor_pb2, descriptor_pool
{first}
other = descriptor_pb2.FileDescriptorProto(name="caffe/proto/caffe.proto", package="caffe", syntax="proto2")
other.message_type.add(name="NetParameter").field.add(name="name", number=1, type=9, label=1)
descriptor_pool.Default().AddSerializedFile(other.SerializeToString())
from caffe_gp.proto import messages as pb
assert "layer" not in descriptor_pool.Default().FindMessageTypeByName("caffe.NetParameter").fields_by_name
assert pb.NetParameter.DESCRIPTOR.full_name == "caffe.NetParameter"
pb.NetParameter().layer.add(name="x")
"""


@pytest.mark.parametrize("first", ["", "import caffe_gp.proto.messages"])
def test_the_same_names_in_the_default_pool_do_not_clash(first, project_root):
    # what importing BVLC's caffe_pb2 does: package "caffe", the same message names, in protobuf's own pool
    subprocess.run([sys.executable, "-c", CLASH.format(first=first)], check=True, cwd=str(project_root))


def test_messages_can_be_copied():
    layer = pb.LayerParameter(name="x", top=["a", "b"])
    assert copy.deepcopy(layer) == layer

"""The formats against the real Caffe (``make test-bvlc``): its schema, its files, its upgrades."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, text_format

caffe = pytest.importorskip("caffe", reason="BVLC Caffe is not here (make test-bvlc)")
caffe_pb2 = pytest.importorskip("caffe.proto.caffe_pb2", reason="BVLC Caffe is not here (make test-bvlc)")

pytestmark = pytest.mark.engine
if not hasattr(caffe, "_caffe") and not hasattr(caffe, "pycaffe"):
    pytest.skip("this 'caffe' is not BVLC's", allow_module_level=True)

from caffe_gp import proto  # noqa: E402
from caffe_gp.proto import messages as pb  # noqa: E402
from tests.proto.random_messages import fill  # noqa: E402

NET = """
name: "small"
layer { name: "input" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { lr_mult: 2 }
        convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "bn" type: "BatchNorm" bottom: "pool" top: "bn" }
layer { name: "prelu" type: "PReLU" bottom: "bn" top: "prelu" prelu_param { channel_shared: true } }
layer { name: "fc" type: "InnerProduct" bottom: "prelu" top: "fc"
        inner_product_param { num_output: 5 weight_filler { type: "gaussian" std: 1 } } }
layer { name: "side" type: "InnerProduct" bottom: "pool" top: "side" inner_product_param { num_output: 2 } }
"""


def bvlc_net(tmp_path, text: str, *weights: str):
    path = tmp_path / "net.prototxt"
    path.write_text(text)
    return caffe.Net(str(path), *weights, caffe.TEST)


def arrays_of(net) -> dict:
    return {name: [blob.data.copy() for blob in blobs] for name, blobs in net.params.items()}


def assert_equal_arrays(mine, theirs) -> None:
    assert set(mine) == set(theirs)
    for name in mine:
        assert len(mine[name]) == len(theirs[name])
        for a, b in zip(mine[name], theirs[name]):
            assert a.shape == b.shape and np.array_equal(a, b)


def test_every_field_equals_bvlcs():
    theirs = descriptor_pb2.FileDescriptorProto()
    caffe_pb2.DESCRIPTOR.CopyToProto(theirs)

    def number(text):
        try:
            return float(text)
        except ValueError:
            return text

    def facts(proto):
        found = {}
        for message in proto.message_type:
            for field in message.field:
                default = number(field.default_value) if field.HasField("default_value") else None
                found[message.name, field.name] = (
                    field.number,
                    field.type,
                    field.label,
                    field.type_name,
                    default,
                    field.options.packed,
                )
            for enum in message.enum_type:
                found.update({(message.name, enum.name, value.name): value.number for value in enum.value})
        for enum in proto.enum_type:
            found.update({("", enum.name, value.name): value.number for value in enum.value})
        return found

    mine, published = facts(pb.FILE_DESCRIPTOR_PROTO), facts(theirs)
    assert len(published) > 500
    assert not {key: (fact, mine.get(key)) for key, fact in published.items() if mine.get(key) != fact}


def test_caffemodel_bytes_equal_bvlcs(tmp_path):
    net = bvlc_net(tmp_path, NET)
    theirs, ours = tmp_path / "theirs.caffemodel", tmp_path / "ours.caffemodel"
    net.save(str(theirs))
    with proto.read_weights(theirs) as weights:
        arrays = weights.as_dict()
    assert_equal_arrays(arrays, arrays_of(net))
    proto.write_caffemodel(ours, pb.NetParameter.FromString(theirs.read_bytes()), arrays)
    assert ours.read_bytes() == theirs.read_bytes()


def test_bvlc_reads_our_caffemodel_and_hdf5(tmp_path):
    structure = proto.parse_net_param(NET)
    rng = np.random.RandomState(0)
    arrays = {
        name: [np.asarray(rng.rand(*blob.shape), np.float32) for blob in blobs]
        for name, blobs in arrays_of(bvlc_net(tmp_path, NET)).items()
    }
    proto.write_caffemodel(tmp_path / "w.caffemodel", structure, arrays)
    assert_equal_arrays(arrays_of(bvlc_net(tmp_path, NET, str(tmp_path / "w.caffemodel"))), arrays)
    proto.write_hdf5(tmp_path / "w.caffemodel.h5", structure, arrays)
    assert_equal_arrays(arrays_of(bvlc_net(tmp_path, NET, str(tmp_path / "w.caffemodel.h5"))), arrays)


def test_we_read_bvlcs_hdf5(tmp_path):
    net = bvlc_net(tmp_path, NET)
    path = tmp_path / "w.caffemodel.h5"
    net.save_hdf5(str(path))
    with proto.read_weights(path) as weights:
        assert_equal_arrays(weights.as_dict(), arrays_of(net))
        assert set(weights.names) == set(net._layer_names)


V1 = """
name: "v1" input: "data" input_dim: 1 input_dim: 3 input_dim: 9 input_dim: 9
layers { name: "c" type: CONVOLUTION bottom: "data" top: "c" blobs_lr: 1 blobs_lr: 2 weight_decay: 1
         param: "w" param: "b" blob_share_mode: PERMISSIVE
         convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layers { name: "r" type: RELU bottom: "c" top: "c" relu_param { negative_slope: 0.5 } }
layers { name: "n" type: LRN bottom: "c" top: "n" lrn_param { local_size: 3 } include { phase: TEST } }
layers { name: "p" type: POOLING bottom: "n" top: "p" pooling_param { kernel_size: 2 pool: AVE } }
layers { name: "e" type: ELTWISE bottom: "p" bottom: "p" top: "e" eltwise_param { operation: MAX } }
layers { name: "s" type: SOFTMAX bottom: "e" top: "s" }
"""
V0 = """
name: "v0" input: "data" input_dim: 1 input_dim: 3 input_dim: 9 input_dim: 9
layers { layer { name: "pad" type: "padding" pad: 1 } bottom: "data" top: "pad" }
layers { layer { name: "c" type: "conv" num_output: 4 kernelsize: 3 blobs_lr: 1 weight_decay: 0.5 group: 1
                 weight_filler { type: "xavier" } } bottom: "pad" top: "c" }
layers { layer { name: "p" type: "pool" pool: MAX kernelsize: 2 stride: 2 } bottom: "c" top: "p" }
layers { layer { name: "n" type: "lrn" local_size: 3 alpha: 0.5 } bottom: "p" top: "n" }
layers { layer { name: "d" type: "dropout" dropout_ratio: 0.25 } bottom: "n" top: "n" }
layers { layer { name: "f" type: "innerproduct" num_output: 6 biasterm: false } bottom: "n" top: "f" }
layers { layer { name: "s" type: "softmax" } bottom: "f" top: "s" }
"""
BATCH_NORM = """
input: "data" input_shape { dim: 2 dim: 3 dim: 4 dim: 4 }
layer { name: "b" type: "BatchNorm" bottom: "data" top: "b" param { lr_mult: 1 } param { lr_mult: 1 }
        param { decay_mult: 3 } }
"""


@pytest.mark.parametrize("text", [V0, V1, BATCH_NORM], ids=["V0", "V1", "BatchNorm"])
def test_upgrades_equal_bvlcs(tmp_path, text):
    path = tmp_path / "saved.caffemodel"
    bvlc_net(tmp_path, text).save(str(path))
    theirs = pb.NetParameter.FromString(path.read_bytes())
    ours = proto.filter_net(proto.parse_net_param(text), pb.TEST)
    assert theirs.name == ours.name
    plain = [layer for layer in theirs.layer if layer.type != "Split"]  # the net's own, added while building
    assert len(plain) == len(ours.layer)
    for mine, other in zip(ours.layer, plain):
        expected, found = pb.LayerParameter(), pb.LayerParameter()
        expected.CopyFrom(other)
        found.CopyFrom(mine)
        for message in (expected, found):
            for field in ("blobs", "phase", "bottom"):  # added by Net::Init; bottoms name split tops there
                message.ClearField(field)
        assert found == expected


def test_mean_file_equals_bvlcs(tmp_path):
    mean = np.random.RandomState(0).rand(1, 3, 5, 4).astype(np.float32)
    path = tmp_path / "mean.binaryproto"
    proto.write_blob(path, mean)
    blob = caffe_pb2.BlobProto.FromString(path.read_bytes())
    assert np.array_equal(caffe.io.blobproto_to_array(blob), mean)
    path.write_bytes(caffe.io.array_to_blobproto(mean).SerializeToString())
    assert np.array_equal(proto.read_blob(path), mean)


@pytest.mark.parametrize("seed", range(20))
def test_its_text_parser_reads_what_we_write(seed):
    message = fill(caffe_pb2.NetParameter(), np.random.RandomState(seed))
    assert text_format.Parse(proto.to_text(message), caffe_pb2.NetParameter()) == message


def test_it_reads_the_committed_prototxts(project_root):
    """Those without layers of the forks, and as nets those that are small; the solvers too."""
    read = 0
    for path in sorted((project_root / "prototxt").glob("*/*.prototxt")):
        kind = "SolverParameter" if path.name == "solver.prototxt" else "NetParameter"
        try:
            theirs = text_format.Parse(path.read_text(encoding="utf-8"), getattr(caffe_pb2, kind)())
        except text_format.ParseError as error:
            assert "interp_param" in str(error) or "multi_stage_meanfield_param" in str(error), path
            continue
        ours = pb.MESSAGES[kind]()
        ours.ParseFromString(theirs.SerializeToString())
        assert proto.parse_message(path.read_text(encoding="utf-8"), pb.MESSAGES[kind]()) == ours
        read += 1
    assert read >= 19
    for name in ("digits", "camvid", "lenet"):
        deploy = project_root / "prototxt" / name / "deploy.prototxt"
        assert list(caffe.Net(str(deploy), caffe.TEST).blobs)[0] == "data"

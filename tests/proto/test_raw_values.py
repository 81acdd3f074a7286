"""BlobProto's raw values, as NVIDIA Caffe and OpenCV write them, and BatchNorm's blobs in both orders."""

from __future__ import annotations

import re

import numpy as np
import pytest

from caffe_gp import proto
from caffe_gp.errors import WeightsError
from caffe_gp.files import kinds
from caffe_gp.proto import messages as pb

WIDTHS = {"DOUBLE": "<f8", "FLOAT": "<f4", "FLOAT16": "<f2"}


def blob(values, kind: str | None = "FLOAT16", shape=None, **more) -> pb.BlobProto:
    """A BlobProto with these values as raw data, or with these bytes."""
    data = values if isinstance(values, bytes) else np.asarray(values, WIDTHS[kind or "FLOAT"]).tobytes()
    found = pb.BlobProto(raw_data=data, **more)
    found.shape.dim.extend(np.shape(values) if shape is None else shape)
    if kind is not None:
        found.raw_data_type = getattr(pb, kind)
    return found


def model(tmp_path, *blobs, kind: str = "Convolution", name: str = "conv1"):
    net = pb.NetParameter(name="n")
    net.layer.add(name=name, type=kind, blobs=blobs)
    path = tmp_path / "w.caffemodel"
    path.write_bytes(net.SerializeToString())
    return path


def read(path) -> list[np.ndarray]:
    with proto.read_weights(path) as weights:
        ((_, arrays),) = weights.as_dict().items()
    return arrays


def error(tmp_path, one) -> str:
    with pytest.raises(WeightsError) as caught:
        proto.read_weights(model(tmp_path, one))
    assert f"{tmp_path / 'w.caffemodel'}: layer 'conv1', blob 0: " in str(caught.value)
    return str(caught.value)


VALUES = np.array([[1.0, -2.5, 0.1], [65504.0, 6e-8, -0.0]])


@pytest.mark.parametrize("kind", sorted(WIDTHS))
def test_every_type(tmp_path, kind):
    path = model(tmp_path, blob(VALUES, kind))
    expected = VALUES.astype(WIDTHS[kind]).astype(np.float32)
    (found,) = read(path)
    assert found.dtype == np.float32 and np.array_equal(found, expected)
    with proto.read_weights(path) as weights:
        ((_, (one,)),) = weights
        assert one.raw == kind and one.shape == (2, 3) and not one.legacy
        into = np.empty((3, 2), np.float32)
        one.copy_to(into)
        assert np.array_equal(into.ravel(), expected.ravel()) and np.array_equal(one.array(), expected)


def test_every_half_precision_number(tmp_path):
    """All 65,536 of them, infinities, denormal numbers and NaN included: their bits by the definition."""
    bits = np.arange(1 << 16, dtype="<u2")
    (found,) = read(model(tmp_path, blob(bits.tobytes(), shape=(1 << 16,))))
    sign, exponent, fraction = bits >> 15, (bits >> 10 & 31).astype(int), (bits & 1023).astype(float)
    with np.errstate(invalid="ignore"):
        size = np.where(exponent == 0, fraction * 2.0**-24, (1 + fraction / 1024) * 2.0 ** (exponent - 15))
        size = np.where(exponent == 31, np.where(fraction == 0, np.inf, np.nan), size)
    np.testing.assert_array_equal(found, np.where(sign == 1, -size, size).astype(np.float32))


def test_its_wire_form_is_nvidia_s(tmp_path):
    """raw_data_type 10, raw_data 12, shape 7, by hand."""
    inside = b"\x3a\x03\x0a\x01\x02" + b"\x50\x02" + b"\x62\x04" + b"\x00\x3c\x00\xc0"  # 1 and -2
    layer = b"\x0a\x01a\x3a" + bytes([len(inside)]) + inside
    path = tmp_path / "w.caffemodel"
    path.write_bytes(b"\xa2\x06" + bytes([len(layer)]) + layer)
    assert read(path)[0].tolist() == [1, -2]


def test_which_values_count(tmp_path):
    """NVIDIA's order: double_data, data, raw_data; of several raw_data the last."""
    first = blob([9.0, 9.0], data=[1, 2])
    assert read(model(tmp_path, first))[0].tolist() == [1, 2]
    first.double_data.extend([3, 4])
    assert read(model(tmp_path, first))[0].tolist() == [3, 4]
    wrong = blob(b"xyz", "INT", shape=(2,), data=[1, 2])  # not looked at
    assert read(model(tmp_path, wrong))[0].tolist() == [1, 2]
    again = blob([5.0, 6.0]).SerializeToString() + b"\x62\x04" + np.array([7, 8], "<f2").tobytes()
    path = tmp_path / "w.caffemodel"
    inside = b"\x0a\x01a\x3a" + bytes([len(again)]) + again
    path.write_bytes(b"\xa2\x06" + bytes([len(inside)]) + inside)
    assert read(path)[0].tolist() == [7, 8]
    assert list(pb.NetParameter.FromString(path.read_bytes()).layer[0].blobs[0].raw_data) == [0, 71, 0, 72]


def test_old_shapes_and_scalars(tmp_path):
    legacy = blob([1.0, 2.0], shape=(), num=1, channels=1, height=1, width=2)
    with proto.read_weights(model(tmp_path, legacy, blob(np.float16(3)))) as weights:
        ((_, (first, second)),) = weights
        assert first.legacy and first.shape == (1, 1, 1, 2) and second.shape == ()
        assert first.array().ravel().tolist() == [1, 2] and second.array() == 3
    empty = blob(b"", shape=(0, 3))
    assert read(model(tmp_path, empty))[0].shape == (0, 3)


@pytest.mark.parametrize(
    "one, says",
    [
        (blob(b"12345", shape=(3,)), "raw_data of 5 bytes; its shape needs 3 values of the type FLOAT16"),
        (blob(b"12345678", shape=(3,)), "raw_data of 8 bytes; .* that is 6 bytes"),
        (blob(b"", shape=(3,)), "raw_data of 0 bytes"),
        (blob(b"12", shape=()), None),
        (blob([1.0, 2.0], "DOUBLE", shape=(4,)), "16 bytes; its shape needs 4 values of the type DOUBLE"),
        (blob([1.0], None), "raw_data without a raw_data_type"),
        (blob(b"1234", "INT", shape=(1,)), "raw_data of the type INT"),
        (blob(b"1234", "UINT", shape=(1,)), "raw_data of the type UINT"),
        (blob(b"1", "BOOL", shape=(1,)), "raw_data of the type BOOL; .* DOUBLE, FLOAT, FLOAT16"),
        (blob(b"12", shape=(2**30, 2**30)), "the limit is"),
        (blob(b"12", shape=(-1,)), "negative dimension"),
        (blob(b"12", shape=[1] * 33), "more than 32 axes"),
        (pb.BlobProto(raw_data_type=pb.FLOAT, shape={"dim": [2]}), "no values"),
        (pb.BlobProto(raw_diff=b"12345678", raw_diff_type=pb.FLOAT, shape={"dim": [2]}), "only a diff"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_cannot_be_the_blob_s_values(tmp_path, one, says):
    if says is None:
        assert read(model(tmp_path, one))[0].shape == ()
    else:
        assert re.search(says, error(tmp_path, one))


def test_a_type_that_nobody_has(tmp_path):
    """protobuf takes a value that an enum has not for a field that it does not know."""
    path = model(tmp_path, blob([1.0], None))
    for value in (b"\x06", b"\x7f", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"):
        inside = blob([1.0], None).SerializeToString() + b"\x50" + value
        layer = b"\x0a\x05conv1\x3a" + bytes([len(inside)]) + inside
        path.write_bytes(b"\xa2\x06" + bytes([len(layer)]) + layer)
        with pytest.raises(WeightsError, match="without a raw_data_type"):
            proto.read_weights(path)
    for bad, says in ((b"\x52\x01\x02", "raw_data_type"), (b"\x65\0\0\0\0", "raw_data")):
        inside = bad + blob([1.0]).SerializeToString()
        layer = b"\x0a\x05conv1\x3a" + bytes([len(inside)]) + inside
        path.write_bytes(b"\xa2\x06" + bytes([len(layer)]) + layer)
        with pytest.raises(WeightsError, match=f"invalid wire type . for {says}"):
            proto.read_weights(path)


def test_truncated_at_every_byte(tmp_path):
    path = model(tmp_path, blob(VALUES), blob([1.0, 2.0], "FLOAT"))
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(WeightsError):
            proto.read_weights(path)


def test_mean_images_and_solver_states(tmp_path):
    mean = np.random.RandomState(0).uniform(0, 255, (3, 4, 5)).astype(np.float16)
    path = tmp_path / "mean.binaryproto"
    for one in (blob(mean), blob(mean, shape=(), num=1, channels=3, height=4, width=5)):
        path.write_bytes(one.SerializeToString())
        assert kinds.what_is(path) == kinds.MEAN
        found = proto.read_blob(path)
        assert found.dtype == np.float32 and np.array_equal(found.reshape(mean.shape), mean)
    path.write_bytes(blob(mean.tobytes()[:-1], shape=mean.shape).SerializeToString())
    with pytest.raises(WeightsError, match="mean.binaryproto: raw_data of 119 bytes"):
        proto.read_blob(path)
    state = pb.SolverState(iter=7, learned_net="n", current_step=1, history=[blob(VALUES, "FLOAT")])
    path = tmp_path / "n.solverstate"
    path.write_bytes(state.SerializeToString())
    found = proto.read_solverstate(path)
    assert found.history[0].raw == "FLOAT" and np.array_equal(found.history[0].array(), np.float32(VALUES))


def test_a_v1_file(tmp_path):
    net = pb.NetParameter()
    net.layers.add(name="c", type=pb.V1LayerParameter.CONVOLUTION, blobs=[blob([1.5])])
    path = tmp_path / "w.caffemodel"
    path.write_bytes(net.SerializeToString())
    assert read(path)[0].tolist() == [1.5]


def test_they_are_written_as_caffe_s(tmp_path):
    """What BVLC Caffe reads: float data, no raw ones."""
    arrays = read(model(tmp_path, blob(VALUES)))
    net = pb.NetParameter()
    net.layer.add(name="conv1", type="Convolution", blobs=[blob(VALUES)])
    proto.write_caffemodel(tmp_path / "out", net, {"conv1": arrays})
    (written,) = pb.NetParameter.FromString((tmp_path / "out").read_bytes()).layer[0].blobs
    assert not written.HasField("raw_data") and not written.HasField("raw_data_type")
    assert np.array_equal(np.float32(written.data), VALUES.astype(np.float16).astype(np.float32).ravel())


@pytest.mark.engine
def test_a_file_that_opencv_shrank(tmp_path):
    """Its half-precision numbers are numpy's, and whole layers are as they were."""
    cv2 = pytest.importorskip("cv2")
    if not hasattr(cv2.dnn, "shrinkCaffeModel"):
        pytest.skip("this OpenCV has no reader of Caffe's files (make test-bvlc has OpenCV 4)")
    random = np.random.RandomState(0)
    net = pb.NetParameter(name="n")
    for name, kind in (("conv", "Convolution"), ("fc", "InnerProduct"), ("bn", "BatchNorm")):
        net.layer.add(name=name, type=kind)
    arrays = {name: [random.randn(3, 4).astype(np.float32)] for name in ("conv", "fc", "bn")}
    proto.write_caffemodel(tmp_path / "n.caffemodel", net, arrays)
    cv2.dnn.shrinkCaffeModel(str(tmp_path / "n.caffemodel"), str(tmp_path / "half.caffemodel"))
    with proto.read_weights(tmp_path / "half.caffemodel") as weights:
        found = {name: blobs[0] for name, blobs in weights}
        assert [found[name].raw for name in ("conv", "fc", "bn")] == ["FLOAT16", "FLOAT16", ""]
        for name in ("conv", "fc"):
            assert np.array_equal(found[name].array(), arrays[name][0].astype(np.float16).astype(np.float32))
        assert np.array_equal(found["bn"].array(), arrays["bn"][0])


# ---- the blobs of NVIDIA's BatchNorm

MEAN, VARIANCE, CORRECTION, SCALE, BIAS = [1.0, 2], [3.0, 4], [1.0], [5.0, 6], [7.0, 8]
TODAY = [MEAN, VARIANCE, CORRECTION, SCALE, BIAS]


def float_blobs(arrays):
    return [pb.BlobProto(data=np.ravel(one), shape={"dim": np.shape(one)}) for one in arrays]


def values(path) -> list[list[float]]:
    return [array.ravel().tolist() for array in read(path)]


@pytest.mark.parametrize(
    "arrays, expected",
    [
        (TODAY, TODAY),
        ([SCALE, BIAS, MEAN, VARIANCE, CORRECTION], TODAY),
        # one channel: today's third is 1
        ([[2], [3], [1], [5], [7]], [[2], [3], [1], [5], [7]]),
        ([[5], [7], [2], [3], [1]], [[2], [3], [1], [5], [7]]),
        ([[5], [7], [2], [3], [999.5]], [[2], [3], [999.5], [5], [7]]),
        # BVLC's three stay
        ([MEAN, VARIANCE, [999.5]], [MEAN, VARIANCE, [999.5]]),
    ],
    ids=["today", "old", "one_channel", "one_channel_old", "one_channel_old_sum", "bvlc"],
)
def test_orders_of_batch_norm_s_blobs(tmp_path, arrays, expected):
    assert values(model(tmp_path, *float_blobs(arrays), kind="BatchNorm")) == expected
    # of other layers nothing is rearranged
    assert values(model(tmp_path, *float_blobs(arrays), kind="Python")) == [list(one) for one in arrays]


def test_old_blobs_get_today_s_shapes(tmp_path):
    old = [np.reshape(one, (1, -1, 1, 1)) for one in (SCALE, BIAS, MEAN, VARIANCE)] + [
        np.reshape([1.0], (1, 1, 1, 1))
    ]
    with proto.read_weights(model(tmp_path, *float_blobs(old), kind="BatchNorm")) as weights:
        ((_, blobs),) = weights
        assert [blob.shape for blob in blobs] == [(2,), (2,), (1,), (2,), (2,)]
        assert [blob.array().tolist() for blob in blobs] == TODAY
        assert blobs[0].fits((2,))


def test_old_half_precision_blobs(tmp_path):
    old = [blob(one) for one in (SCALE, BIAS, MEAN, VARIANCE, CORRECTION)]
    assert values(model(tmp_path, *old, kind="BatchNorm")) == TODAY

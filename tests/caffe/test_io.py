"""caffe.io, Classifier, Detector, draw and Timer: hand-worked values, numpy references, real images."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
from PIL import Image

from caffe_gp.caffe import draw, io
from caffe_gp.caffe.classifier import Classifier
from caffe_gp.caffe.detector import Detector
from caffe_gp.caffe.proto import caffe_pb2
from caffe_gp.caffe.timer import Timer
from caffe_gp.errors import DataError, NetError, WeightsError
from caffe_gp.proto import messages as pb


@pytest.fixture
def rng():
    return np.random.default_rng(0)


# ---- messages


def test_blobproto_round_trip(rng):
    data, diff = rng.random((2, 3, 1, 5)).astype(np.float32), rng.random((2, 3, 1, 5)).astype(np.float32)
    blob = io.array_to_blobproto(data, diff)
    assert np.array_equal(io.blobproto_to_array(blob), data)
    assert np.array_equal(io.blobproto_to_array(blob, return_diff=True), diff)
    legacy = caffe_pb2.BlobProto(num=1, channels=2, height=1, width=3, data=range(6))
    assert io.blobproto_to_array(legacy).tolist() == [[[[0, 1, 2]], [[3, 4, 5]]]]
    with pytest.raises(DataError, match="5 data values"):
        io.blobproto_to_array(caffe_pb2.BlobProto(num=1, channels=2, height=1, width=3, data=range(5)))


def test_blobproto_with_raw_values():
    """A mean image by NVIDIA Caffe, as its scripts read one; and values that cannot be its."""
    values = np.array([[1.5, -2], [3, 0.1]])
    for kind, numpy_type in ((pb.FLOAT16, "<f2"), (pb.FLOAT, "<f4"), (pb.DOUBLE, "<f8")):
        raw = values.astype(numpy_type)
        blob = caffe_pb2.BlobProto(num=1, channels=1, height=2, width=2)
        blob.raw_data, blob.raw_data_type = raw.tobytes(), kind
        blob.raw_diff, blob.raw_diff_type = (-raw).tobytes(), kind
        again = caffe_pb2.BlobProto.FromString(blob.SerializeToString())
        assert np.array_equal(io.blobproto_to_array(again), raw.astype(np.float64).reshape(1, 1, 2, 2))
        assert np.array_equal(io.blobproto_to_array(again, True).ravel(), -raw.astype(np.float64).ravel())
        again.data.extend([9, 8, 7, 6])  # counts before
        assert io.blobproto_to_array(again).ravel().tolist() == [9, 8, 7, 6]
    blob.ClearField("raw_data_type")
    with pytest.raises(WeightsError, match="without a raw_data_type"):
        io.blobproto_to_array(blob)
    blob.raw_data_type, blob.width = pb.FLOAT, 3
    with pytest.raises(WeightsError, match="raw_data of 32 bytes"):
        io.blobproto_to_array(blob)


def test_blobprotovector_round_trip(rng):
    arrays = [rng.random((3, 4)).astype(np.float32), np.zeros((1,), np.float32)]
    back = io.blobprotovector_str_to_arraylist(io.arraylist_to_blobprotovector_str(arrays))
    assert len(back) == 2 and all(np.array_equal(a, b) for a, b in zip(arrays, back))


def test_datum_round_trip(rng):
    pixels = rng.integers(0, 256, (3, 4, 5), dtype=np.uint8)
    datum = io.array_to_datum(pixels, label=7)
    assert (datum.channels, datum.height, datum.width, datum.label) == (3, 4, 5, 7)
    assert datum.data == pixels.tobytes()
    back = io.datum_to_array(pb.Datum.FromString(datum.SerializeToString()))
    assert back.dtype == np.uint8 and np.array_equal(back, pixels)
    floats = io.datum_to_array(io.array_to_datum(pixels / 4.0))
    assert floats.dtype == np.float64 and np.array_equal(floats, pixels / 4.0)
    assert not io.array_to_datum(pixels).HasField("label")
    with pytest.raises(DataError, match="Incorrect array shape"):
        io.array_to_datum(pixels[0])


# ---- resize, load, oversample


def test_resize_by_hand():
    """Doubling 0, 1: centres at -1/4, 1/4, 3/4, 5/4; beyond the border lies the minimum."""
    row = np.array([0, 1], np.float32).reshape(1, 2, 1)
    wide = io.resize_image(row, (1, 4))
    np.testing.assert_allclose(wide.ravel(), [0, 0.25, 0.75, 0.75])
    np.testing.assert_allclose(io.resize_image(row + 10, (1, 4)).ravel(), [10, 10.25, 10.75, 10.75])
    halved = io.resize_image(np.arange(4, dtype=np.float32).reshape(4, 1, 1), (2, 1))
    np.testing.assert_allclose(halved.ravel(), [0.5, 2.5])


@pytest.mark.parametrize("new", [(7, 9), (20, 31), (3, 5), (13, 4), (10, 14)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("order", [0, 1])
def test_resize_equals_scikit_image(rng, new, channels, order):
    transform = pytest.importorskip("skimage.transform")
    image = rng.random((10, 14, channels)).astype(np.float32) * 200 - 30
    low, high = image.min(), image.max()
    scaled = (image - low) / (high - low)
    expected = transform.resize(scaled, new, order=order, mode="constant", anti_aliasing=False)
    np.testing.assert_allclose(io.resize_image(image, new, order), expected * (high - low) + low, atol=1e-3)


def test_resize_other_channels_constant_and_refusals(rng):
    assert io.resize_image(np.full((3, 4, 3), 7.0), (5, 6)).tolist() == np.full((5, 6, 3), 7.0).tolist()
    image = rng.random((4, 5, 6)).astype(np.float32)
    out = io.resize_image(image, (7, 9))
    assert out.shape == (7, 9, 6) and out.dtype == np.float32
    corners = [0, 0, -1, -1], [0, -1, 0, -1]
    np.testing.assert_allclose(out[corners], image[corners], rtol=1e-5)
    nearest = io.resize_image(np.arange(6, dtype=np.float32).reshape(2, 3, 1), (4, 6), interp_order=0)
    assert nearest[:, :, 0].tolist() == [[0, 0, 1, 1, 2, 2]] * 2 + [[3, 3, 4, 4, 5, 5]] * 2
    row = np.array([0, 1, 4, 9, 16], np.float32).reshape(1, 5, 1)
    cubic = io.resize_image(row, (1, 10), interp_order=3)  # Catmull-Rom has no error on a parabola
    np.testing.assert_allclose(cubic[0, 3:7, 0], np.array([1.25, 1.75, 2.25, 2.75]) ** 2, rtol=1e-6)
    with pytest.raises(DataError, match="interp_order"):
        io.resize_image(row, (1, 10), interp_order=6)
    with pytest.raises(DataError, match="cannot resize"):
        io.resize_image(np.zeros((0, 3, 3)), (2, 2))


def test_load_image(tmp_path, rng):
    bgr = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "c.png"), bgr)
    image = io.load_image(str(tmp_path / "c.png"))
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, bgr[:, :, ::-1] / 255.0, rtol=1e-6)
    grey = io.load_image(tmp_path / "c.png", color=False)
    assert grey.shape == (5, 6, 1)
    np.testing.assert_allclose(grey[:, :, 0], (bgr / 255.0) @ [0.0721, 0.7154, 0.2125], rtol=1e-6)
    cv2.imwrite(str(tmp_path / "g.png"), bgr[:, :, 0])
    expected = bgr[:, :, :1].repeat(3, 2) / 255.0
    np.testing.assert_allclose(io.load_image(tmp_path / "g.png"), expected, rtol=1e-6)
    cv2.imwrite(str(tmp_path / "a.png"), np.dstack([bgr, bgr[:, :, 0]]))  # with alpha
    np.testing.assert_allclose(io.load_image(tmp_path / "a.png"), image)
    deep = bgr.astype(np.uint16) * 257
    cv2.imwrite(str(tmp_path / "d.png"), deep[:, :, 0])
    np.testing.assert_allclose(
        io.load_image(tmp_path / "d.png", color=False)[:, :, 0], bgr[:, :, 0] / 255.0, rtol=1e-6
    )
    wide = bgr[:, :, 0].astype(np.int32) * 1_000_000
    Image.fromarray(wide).save(tmp_path / "w.tif")
    np.testing.assert_allclose(io.load_image(tmp_path / "w.tif", False)[:, :, 0], wide / 2**31, atol=1e-6)
    Image.fromarray(wide.astype(np.float32)).save(tmp_path / "f.tif")
    np.testing.assert_array_equal(io.load_image(tmp_path / "f.tif", False)[:, :, 0], wide)
    (tmp_path / "bad.png").write_text("<html>")
    for name in ("bad.png", "none.png"):
        with pytest.raises(DataError, match=name):
            io.load_image(tmp_path / name)


def test_oversample(rng):
    images = rng.random((2, 6, 9, 3)).astype(np.float32)
    crops = io.oversample(images, (4, 4))
    assert crops.shape == (20, 4, 4, 3) and crops.dtype == np.float32
    for n, image in enumerate(images):
        places = [(0, 0), (0, 5), (2, 0), (2, 5), (1, 2)]  # the centre: 3 - 2 = 1, int(4.5 - 2) = 2
        for k, (y, x) in enumerate(places):
            assert np.array_equal(crops[10 * n + k], image[y : y + 4, x : x + 4])
            assert np.array_equal(crops[10 * n + 5 + k], image[y : y + 4, x : x + 4][:, ::-1])
    with pytest.raises(DataError, match="do not fit"):
        io.oversample(images, (7, 4))


# ---- Transformer


def test_transformer_steps_and_their_inverse(rng):
    image = rng.random((4, 5, 3)).astype(np.float32)
    kept = image.copy()
    transformer = io.Transformer({"data": (10, 3, 4, 5)})
    transformer.set_transpose("data", (2, 0, 1))
    transformer.set_channel_swap("data", (2, 1, 0))
    transformer.set_raw_scale("data", 255)
    transformer.set_mean("data", np.array([104.0, 117.0, 123.0]))
    transformer.set_input_scale("data", 0.017)
    out = transformer.preprocess("data", image)
    expected = ((image[:, :, ::-1] * 255.0 - [104, 117, 123]) * 0.017).transpose(2, 0, 1)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, expected, atol=1e-5)
    np.testing.assert_allclose(transformer.deprocess("data", out), image, atol=1e-6)
    assert np.array_equal(image, kept)  # the caller's image stays as it is


def test_transformer_resizes_images_and_means(rng):
    transformer = io.Transformer({"data": (1, 3, 4, 5)})
    transformer.set_transpose("data", (2, 0, 1))
    image = rng.random((9, 7, 3)).astype(np.float32)
    np.testing.assert_allclose(
        transformer.preprocess("data", image), io.resize_image(image, (4, 5)).transpose(2, 0, 1)
    )
    mean = rng.random((3, 8, 10)) * 100
    transformer.set_mean("data", mean)
    assert transformer.mean["data"].shape == (3, 4, 5)
    assert abs(transformer.mean["data"].mean() - mean.mean()) < 5
    transformer.set_mean("data", mean[:, :4, :5])
    assert np.array_equal(transformer.mean["data"], mean[:, :4, :5])


@pytest.mark.parametrize(
    "setting, value, message",
    [
        ("set_transpose", (1, 0), "Transpose order"),
        ("set_channel_swap", (1, 0), "Channel swap"),
        ("set_mean", np.zeros(2), "Mean channels"),
        ("set_mean", np.zeros((1, 3, 4, 5)), "Mean shape"),
    ],
)
def test_transformer_refuses(setting, value, message):
    transformer = io.Transformer({"data": (1, 3, 4, 5)})
    with pytest.raises(DataError, match=message):
        getattr(transformer, setting)("data", value)
    with pytest.raises(DataError, match="label is not one of the net inputs: data"):
        getattr(transformer, setting)("label", value)


# ---- Classifier, Detector

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } } }
layer { name: "pool" type: "Pooling" bottom: "data" top: "pool"
  pooling_param { pool: AVE global_pooling: true } }
layer { name: "prob" type: "Flatten" bottom: "pool" top: "prob" }
"""


@pytest.fixture
def model(tmp_path):
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "net.caffemodel").write_bytes(
        pb.NetParameter(
            name="none", layer=[pb.LayerParameter(name="pool", type="Pooling")]
        ).SerializeToString()
    )
    return str(tmp_path / "net.prototxt"), str(tmp_path / "net.caffemodel")


def test_classifier_crops(model, rng):
    """The net averages each channel, so a prediction is the mean colour of the crops."""
    images = [rng.random((6, 8, 3)).astype(np.float32) for _ in range(3)]
    classifier = Classifier(
        *model, image_dims=(6, 8), channel_swap=(2, 1, 0), raw_scale=255, mean=np.array([1.0, 2.0, 3.0])
    )
    centre = classifier.predict(images, oversample=False)
    assert centre.shape == (3, 3)
    for prediction, image in zip(centre, images):
        expected = image[1:5, 2:6].mean((0, 1))[::-1] * 255 - [1, 2, 3]
        np.testing.assert_allclose(prediction, expected, rtol=1e-4)
    for prediction, image in zip(classifier.predict(images), images):
        crops = [image[y : y + 4, x : x + 4] for y, x in ((0, 0), (0, 4), (2, 0), (2, 4), (1, 2))]
        expected = np.mean([c.mean((0, 1)) for c in crops], 0)[::-1] * 255 - [1, 2, 3]
        np.testing.assert_allclose(prediction, expected, rtol=1e-4)


def test_detector_windows(model, tmp_path, rng):
    bgr = rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "x.png"), bgr)
    windows = np.array([[0, 0, 4, 4], [5, 3, 9, 7]])
    found = Detector(*model).detect_windows([(str(tmp_path / "x.png"), windows)])
    assert [d["filename"] for d in found] == [str(tmp_path / "x.png")] * 2
    for detection, (y0, x0, y1, x1) in zip(found, windows):
        assert detection["window"].tolist() == [y0, x0, y1, x1]
        expected = bgr[y0:y1, x0:x1, ::-1].mean((0, 1)) / 255
        np.testing.assert_allclose(detection["prediction"], expected, rtol=1e-5)
    with pytest.raises(DataError, match="detect_windows"):
        Detector(*model).detect_selective_search(["x.png"])


def test_detector_context_is_padded_with_the_mean(model):
    """Box 0..3, input 4 wide, context 1: half 2, centre 2, doubled: -2..6, nine pixels on four."""
    mean = np.array([10.0, 20.0, 30.0])
    detector = Detector(*model, mean=mean, raw_scale=100, channel_swap=(2, 1, 0), context_pad=1)
    crop = detector.crop(np.ones((20, 20, 3), np.float32), np.array([0, 0, 3, 3]))
    assert crop.shape == (4, 4, 3)
    np.testing.assert_allclose(crop[0], [[0.3, 0.2, 0.1]] * 4, rtol=1e-6)  # round(2 * 4/9) = 1 row and column
    np.testing.assert_allclose(crop[:, 0], [[0.3, 0.2, 0.1]] * 4, rtol=1e-6)
    assert (crop[1:, 1:] == 1).all()


# ---- draw, Timer


def test_draw(tmp_path):
    from caffe_gp import proto

    net = proto.parse_net_param(
        'name: "n" layer { name: "d" type: "Input" top: "data" } '
        'layer { name: "c" type: "Convolution" bottom: "data" top: "c" '
        "convolution_param { num_output: 8 kernel_size: 3 stride: 2 } } "
        'layer { name: "r" type: "ReLU" bottom: "c" top: "c" } '
        'layer { name: "p" type: "Pooling" bottom: "c" top: "p" include { phase: TEST } '
        "pooling_param { pool: AVE kernel_size: 2 } }"
    )
    draw.draw_net_to_file(net, tmp_path / "net.raw", "TB")
    text = (tmp_path / "net.raw").read_text()
    assert text.startswith('digraph "n" {\nrankdir=TB;')
    assert '"c (Convolution) kernel size: 3 stride: 2 pad: 0"' in text
    assert '"c_Convolution" -> "c_blob" [label="8"];' in text
    assert '"data_blob" -> "c_Convolution";' in text
    assert text.count("{") == text.count("}")
    assert "(Pooling AVE)" in text and "(Pooling" not in draw.to_dot(net, phase=caffe_pb2.TRAIN)
    assert draw.get_layer_label(net.layer[1], "LR", True) == (
        r'"c\n(Convolution)\nkernel size: 3\nstride: 2\npad: 0\nlr mult: 1.0, 1.0"'
    )
    with pytest.raises(NetError, match="learning rate"):
        draw.get_layer_lr_mult(net.layer[2])


def test_timer():
    timer = Timer()
    timer.start()
    time.sleep(0.02)
    timer.stop()
    assert timer.ms >= 20
    assert timer.ms == timer.ms

"""Released detectors on the embedded Caffe and on OpenCV 4, from the image to the boxes."""

from __future__ import annotations

import re

import numpy as np
import pytest

import caffe_gp.caffe as caffe
from caffe_gp import proto
from caffe_gp.errors import NetError
from tests.forks.harness import both, close, net_with

cv2 = pytest.importorskip("cv2")
ROUNDING = 2e-5  # of a net's sums, which the two add up in other orders


@pytest.fixture(scope="module")
def photographs(shared_data):
    """Two of VOC2012, with people."""
    folder = shared_data / "voc2012/VOCdevkit/VOC2012/JPEGImages"
    return [cv2.imread(str(path)) for path in sorted(folder.glob("*.jpg"))[7:15:7]]


def fed(photograph, size, mean, scale=1.0):
    image = cv2.resize(photograph, size).astype(np.float32)
    return ((image - np.float32(mean)) * np.float32(scale)).transpose(2, 0, 1)[None]


def rows_agree(ours, theirs):
    """Boxes of two DetectionOutput layers, of which OpenCV's fills up with zeros; our rows."""
    rows = theirs.reshape(-1, 7)
    rows = rows[rows[:, 2] > 0]
    rows = rows[np.lexsort((-rows[:, 2], rows[:, 1], rows[:, 0]))]
    assert (ours[0, 0, :, :2] == rows[:, :2]).all()
    close(ours[0, 0, :, 2:], rows[:, 2:], ROUNDING)
    return ours[0, 0]


def compared(opencv, text, caffemodel, x, layers):
    """Assert that layers agree, and after them 'detection_out'; our rows."""
    pairs = both(opencv, text, {"data": x}, [*layers, "detection_out"], caffemodel=caffemodel)
    for layer in layers:
        [(ours, theirs)] = pairs[layer]
        close(ours, theirs.reshape(ours.shape), ROUNDING)
    return rows_agree(*pairs["detection_out"][0])


def test_libfacedetection(opencv, shared_data, photographs):
    """Normalize with a scale for each channel; a face is found for sure."""
    folder = shared_data / "released/ShiqiYu+libfacedetection"
    text = (folder / "yu1.prototxt").read_text()
    layers = ["conv3_3_norm", "mbox_loc", "mbox_conf_flatten", "mbox_priorbox"]
    best = []
    for photograph in photographs:
        x = fed(photograph, (320, 240), (103.94, 116.78, 123.68))
        best.append(compared(opencv, text, folder / "yu1.caffemodel", x, layers)[:, 2].max())
    assert max(best) > 0.99


def test_hyperlpr(opencv, shared_data, photographs, caplog):
    """Sizes that are no integers: SSD's layer drops what is behind the point, OpenCV's keeps it."""
    folder = shared_data / "released/szad670401+HyperLPR"
    text, caffemodel = (folder / "mini.prototxt").read_text(), folder / "mini.caffemodel"
    x = fed(photographs[0], (512, 512), (127.5, 127.5, 127.5), 1 / 127.5)
    as_opencv = text.replace("offset: 0.5", "offset_h: 0.5 offset_w: 0.5")
    layers = ["ssd0_concat1", "flatten0", "concat0"]
    compared(opencv, as_opencv, caffemodel, x, layers)
    assert not caplog.text
    [(ours, theirs)] = both(opencv, text, {"data": x}, ["concat0"], caffemodel=caffemodel)["concat0"]
    assert "51.2 counts as 51" in caplog.text
    difference = np.abs(ours - theirs)[0, 0].max() * 512
    assert 0.2 < difference < 0.5  # half of what is behind the point, on either side


def test_faceboxes(opencv, shared_data, photographs):
    """Its density boxes OpenCV does not know: they are given to it."""
    folder = shared_data / "released/lippman1125+faceboxes_lqy"
    text = (folder / "faceboxes_deploy.prototxt").read_text().replace("dim: 1024", "dim: 512")
    x = fed(photographs[1], (512, 512), (104, 117, 123))
    net = net_with(text, {}, folder / "faceboxes_iter_120000.caffemodel")
    net.blobs["data"].data[...] = x
    net.forward()
    priors = net.blobs["mbox_priorbox"].data.copy()
    assert priors.shape == (1, 2, 4 * (21 * 16**2 + 8**2 + 4**2))
    given = re.sub(r"layer \{[^{}]*type: \"PriorBox\"[^{}]*\{[^{}]*\}[^{}]*\}", "", text)
    given = re.sub(r"layer \{\s*name: \"mbox_priorbox\"[^{}]*\{[^{}]*\}[^{}]*\}", "", given)
    dims = " ".join(f"dim: {n}" for n in priors.shape)
    given = f'input: "mbox_priorbox" input_shape {{ {dims} }}\n{given}'
    theirs = opencv.forward(
        given,
        {"data": x, "mbox_priorbox": priors},
        ["mbox_loc", "mbox_conf_flatten", "detection_out"],
        folder / "faceboxes_iter_120000.caffemodel",
    )
    for layer in ("mbox_loc", "mbox_conf_flatten"):
        close(net.blobs[layer].data, theirs[layer][0], ROUNDING)
    assert len(rows_agree(net.blobs["detection_out"].data, theirs["detection_out"][0]))


def test_ultra_light_face_detector(opencv, shared_data, photographs):
    """Permute, Reshape and a Softmax of the last axis."""
    folder = shared_data / "released/Linzaer+Ultra-Light-Fast-Generic-Face-Detector-1MB"
    x = fed(photographs[0], (320, 240), (127, 127, 127), 1 / 128)[:, ::-1]
    pairs = both(
        opencv,
        (folder / "RFB-320.prototxt").read_text(),
        {"input": x},
        ["boxes", "scores"],
        caffemodel=folder / "RFB-320.caffemodel",
    )
    for layer in ("boxes", "scores"):
        [(ours, theirs)] = pairs[layer]
        close(ours, theirs, ROUNDING)
    assert ours[0, :, 1].max() > 0.9


def random_weights(text, path):
    """Weights that keep values about the same from layer to layer, and what is predicted small."""
    rng, net = np.random.RandomState(0), net_with(text, {})
    for name, blobs in net.params.items():
        for blob in blobs:
            if len(blob.shape) > 1:
                spread = 0.05 if "loc" in name else 0.2 if "conf" in name else 1
                blob.data[...] = rng.randn(*blob.shape) * spread * np.sqrt(2 / np.prod(blob.shape[1:]))
            else:
                blob.data[...] = 0.5 + rng.rand(*blob.shape) * ("loc" not in name)  # variances, too
    net.save(str(path))


@pytest.mark.parametrize("batch", [1, 2])
def test_mobilenet_ssd(opencv, shared_data, photographs, tmp_path, batch):
    folder = shared_data / "released_prototxts/chuanqi305+MobileNet-SSD"
    text = (folder / "deploy.prototxt").read_text().replace("dim: 1\n", f"dim: {batch}\n", 1)
    text = text.replace("confidence_threshold: 0.25", "confidence_threshold: 0.05")
    random_weights(text, tmp_path / "weights")
    x = [fed(photograph, (300, 300), (127.5,) * 3, 0.007843)[0] for photograph in photographs]
    layers = ["mbox_loc", "mbox_conf_flatten", "mbox_priorbox"]
    rows = compared(opencv, text, tmp_path / "weights", np.stack(x[:batch]), layers)
    assert len(np.unique(rows[:, 1])) > 1 and set(rows[:, 0]) == set(range(batch))


def test_textboxes(opencv, shared_data, photographs, tmp_path):
    """Its prototxt is refused until it says that it is TextBoxes'. The net is made thinner."""
    folder = shared_data / "released_prototxts/MhLiao+TextBoxes"
    text = (folder / "examples__TextBoxes__deploy.prototxt").read_text().replace("dim: 700", "dim: 300")
    text = re.sub(r"num_output: (64|128|256|512|1024)\b", lambda m: f"num_output: {int(m[1]) // 8}", text)
    with pytest.raises(NetError, match="'detection_out'.*Twice as many: .*additional_y_offset: true"):
        caffe.Net.from_param(proto.parse_net_param(text), caffe.TEST)
    said = text.replace("flip: false", "flip: false additional_y_offset: true")
    as_opencv = text.replace(
        "flip: false", "flip: false" + " offset_w: 0.5" * 2 + " offset_h: 0.5 offset_h: 1"
    )
    random_weights(said, tmp_path / "weights")
    x = fed(photographs[0], (300, 300), (104, 117, 123))
    layers = ["conv4_3_norm", "mbox_loc", "mbox_conf_flatten", "mbox_priorbox"]
    pairs = both(opencv, as_opencv, {"data": x}, layers, caffemodel=tmp_path / "weights")
    net = net_with(said, {}, tmp_path / "weights")
    net.blobs["data"].data[...] = x
    net.forward()
    for layer in layers:  # the boxes are those of scores that nearly tie
        [(ours, theirs)] = pairs[layer]
        close(ours, theirs.reshape(ours.shape), 1e-4)
        assert (net.blobs[layer].data == ours).all()
    assert net.blobs["detection_out"].shape[2] > 10

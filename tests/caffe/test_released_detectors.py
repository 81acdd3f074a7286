"""Released detectors with the embedded Caffe alone: from the prototxt to regions, and back to the image.

tests/forks compares their values with OpenCV's.
"""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest

import caffe_gp.caffe as caffe
from caffe_gp import engines, proto
from caffe_gp.cli.inspect import describe_file
from caffe_gp.errors import NetError

FASTER_RCNN = "rbgirshick+py-faster-rcnn/models__pascal_voc__VGG16__faster_rcnn_end2end__test.prototxt"


@pytest.fixture
def faster_rcnn(shared_data, tmp_path):
    """A file of py-faster-rcnn's test net, with an eighth of the channels."""
    text = (shared_data / "released_prototxts" / FASTER_RCNN).read_text()
    text = re.sub(r"num_output: (64|128|256|512|4096)\b", lambda m: f"num_output: {int(m[1]) // 8}", text)
    path = tmp_path / "test.prototxt"
    path.write_text("force_backward: true\n" + text)
    return path


def random_weights(net):
    rng = np.random.RandomState(0)
    for name, blobs in net.params.items():
        for blob in blobs:
            if len(blob.shape) > 1:
                spread = 0.02 if "bbox_pred" in name else 1
                blob.data[...] = rng.randn(*blob.shape) * spread * np.sqrt(2 / np.prod(blob.shape[1:]))


def test_py_faster_rcnn(faster_rcnn):
    """Its Python layer is built in; regions, boxes and classes come out, a gradient goes back."""
    net = caffe.Net(str(faster_rcnn), caffe.TEST)
    random_weights(net)
    image = np.random.RandomState(1).rand(1, 3, 200, 320) * 255 - 110
    net.blobs["data"].reshape(*image.shape)
    net.blobs["data"].data[...] = image
    net.blobs["im_info"].data[...] = [200, 320, 1]
    out = net.forward()
    rois = net.blobs["rois"].data
    count = len(rois)
    assert 20 < count <= 300
    assert out["cls_prob"].shape == (count, 21) and out["bbox_pred"].shape == (count, 84)
    np.testing.assert_allclose(out["cls_prob"].sum(1), 1, rtol=1e-5)
    assert (rois[:, 0] == 0).all() and rois[:, 1:].min() >= 0
    assert (rois[:, 3] <= 319).all() and (rois[:, 4] <= 199).all()
    assert (rois[:, 3:] - rois[:, 1:3] + 1 >= 16).all()  # the smallest side, at scale 1
    net.blobs["cls_score"].diff[...] = np.random.RandomState(2).randn(count, 21)
    net.backward(start="cls_score")
    assert net.blobs["data"].diff.any() and not net.blobs["rpn_bbox_pred"].diff.any()

    net.blobs["data"].reshape(1, 3, 120, 160)
    net.blobs["data"].data[...] = image[:, :, :120, :160]
    net.blobs["im_info"].data[...] = [120, 160, 1]
    smaller = net.forward()["cls_prob"].shape[0]
    assert smaller == net.blobs["rois"].shape[0] and net.blobs["rois"].data[:, 3].max() <= 159


def test_py_faster_rcnn_in_the_tools(faster_rcnn):
    """No leave is needed for its Python layer, but the image's size is; its parameters are known."""
    with pytest.raises(NetError, match="'im_info' .1 x 3., read by layer 'proposal'"):
        engines.prepare_net(faster_rcnn, engine="torch", allow_python_layers=())
    info = {"im_info": np.array([200, 320, 1.0])}
    net = engines.load_net(faster_rcnn, engine="torch", allow_python_layers=(), inputs=info)
    assert net.score == "cls_score"
    shapes = {layer.name: layer.blobs for layer in describe_file(faster_rcnn).layers}
    assert shapes["rpn_cls_score"] == [(18, 64, 1, 1), (18,)] and shapes["cls_score"] == [(21, 512), (21,)]


def test_the_gradient_of_a_face_detector(shared_data):
    """libfacedetection, from a confidence to the image: through Softmax, Permute and Normalize."""
    folder = shared_data / "released/ShiqiYu+libfacedetection"
    param = proto.read_net_param(str(folder / "yu1.prototxt"))
    param.force_backward = True
    net = caffe.Net.from_param(param, caffe.TEST)
    net.copy_from(str(folder / "yu1.caffemodel"))
    photographs = sorted((shared_data / "voc2012/VOCdevkit/VOC2012/JPEGImages").glob("*.jpg"))
    image = cv2.resize(cv2.imread(str(photographs[7])), (320, 240)).astype(np.float32)
    x = (image - np.float32([103.94, 116.78, 123.68])).transpose(2, 0, 1)[None]
    net.blobs["data"].data[...] = x
    found = net.forward()["detection_out"][0, 0, 0].copy()
    faces = net.blobs["mbox_conf_softmax"].data[0, :, 1].copy()
    best = int(faces.argmax())
    assert found[2] == faces[best] > 0.99
    net.blobs["mbox_conf_softmax"].diff[...] = 0
    net.blobs["mbox_conf_softmax"].diff[0, best, 1] = 1
    net.backward(start="mbox_conf_softmax")
    slope = net.blobs["data"].diff.copy()
    weight = np.abs(slope[0]).sum(0)
    x1, y1, x2, y2 = found[3:] * [320, 240, 320, 240]
    assert x1 < np.average(np.arange(320), weights=weight.sum(0)) < x2  # what the face depends on is there
    assert y1 < np.average(np.arange(240), weights=weight.sum(1)) < y2
    net.blobs["data"].data[...] = x - 4 * np.sign(slope)
    net.forward()
    assert net.blobs["mbox_conf_softmax"].data[0, best, 0] > 10 * (1 - faces[best])

"""Nets that others released, of shared/data: in PyTorch and ONNX they compute what they do in Caffe."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from caffe_gp import engines
from caffe_gp.export import export_net

pytestmark = pytest.mark.skipif(engines.resolve() == "bvlc", reason="of the embedded Caffe")
SHARED = Path(os.environ.get("CAFFE_GP_SHARED_DATA", "shared/data")) / "released"
# (prototxt, weights, outputs, whether of any size)
NETS = [
    ("CongWeilin+mtcnn-caffe/12net", "12net", "conv4-2 prob1", True),
    ("CongWeilin+mtcnn-caffe/24net", "24net", "conv5-2 prob1", False),
    ("CongWeilin+mtcnn-caffe/48net", "48net", "conv6-2 conv6-3 prob1", False),
    ("cholihao+mtcnn/det1", "det1", "prob bbox_pred landmark_pred", True),
    ("ElegantGod+face-detection-FCN/deploy_fcn", "face_fcn", "prob", True),
    ("ElegantGod+face-detection-FCN/deploy", "face", "prob", False),
    ("Elenajhy+caffe_verifycode/deploy", "verifycode_iter_10000", "prob", False),
    ("JachinShen+deploy-pycaffe/lenet_deploy", "lenet_iter_10000", "loss", False),
    ("Siamw+SRCNN_pycaffe/SRCNN_mat", "SRCNN_iter_9999500", "conv3", True),
    ("ishay2b+VanillaCNN/vanilla_deploy", "vanillaCNN", "Dense2", False),
    ("lsy17096535+face-landmark/landmark_deploy", "VanFace", "Dense3", False),
    ("iygnay+HyperLPR/CharacterRecognization", "CharacterRecognization", "prob", False),
    ("iygnay+HyperLPR/HorizonalFinemapping", "HorizonalFinemapping", "dense", False),
    ("dog-qiuqiu+MobileNet-Yolo/landmark106", "landmark106", "bn6_3", False),
    (
        "dog-qiuqiu+MobileNet-Yolo/yoloface-500k-v2",
        "yoloface-500k-v2",
        "layer71-conv layer83-conv layer95-conv",
        True,
    ),
    ("Linzaer+Ultra-Light-Fast-Generic-Face-Detector-1MB/RFB-320", "RFB-320", "boxes scores", True),
    ("ShiqiYu+libfacedetection/yu1", "yu1", "mbox_loc mbox_priorbox mbox_conf_flatten", False),
    (
        "lippman1125+faceboxes_lqy/faceboxes_deploy",
        "faceboxes_iter_120000",
        "mbox_priorbox mbox_loc mbox_conf_flatten",
        False,
    ),
    ("szad670401+HyperLPR/mini", "mini", "ssd0_concat1 flatten0 concat0", False),
    ("zbzb00zbzb+vision_lane_detection/deploy_three_class", "_iter_60000", "prob", False),
    ("lltcggie+waifu2x-caffe/scale2.0x_model", "noise0_scale2.0x_model.json", "/conv_post", True),
    ("WeChatCV+opencv_3rdparty/sr", "sr", "fc", True),
    ("wangxuewen99+Super-Resolution/ESPCN_mat", "espcn_iter_1000", "conv3", True),
    ("mtzelepi+GraphEmbeddedCNN/deploy", "crowd", "prob", True),
]


@pytest.mark.slow
@pytest.mark.parametrize("prototxt, weights, outputs, any_size", NETS, ids=lambda value: str(value))
def test_agrees(prototxt, weights, outputs, any_size, tmp_path):
    path = SHARED / f"{prototxt}.prototxt"
    if not path.exists():
        pytest.skip("needs the released nets of shared/data")
    files = {"torch_file": tmp_path / "net.py", "onnx_file": tmp_path / "net.onnx"}
    done = export_net(path, path.with_name(f"{weights}.caffemodel"), **files)
    assert done.outputs == outputs.split() and max(done.errors.values()) <= 1e-5, done.errors
    (shape,) = done.shapes.values()
    assert (shape[0] is None) and (shape[2:] == (None, None)) == any_size

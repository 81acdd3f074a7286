"""ENet for Cityscapes, released with its output: pooling masks, Upsample, BN and dilation together."""

from __future__ import annotations

import cv2
import numpy as np

import caffe_gp.caffe as caffe


def test_enet_gives_the_published_segmentation(shared_data):
    folder = shared_data / "caffemodels/enet_cityscapes_wanggao/caffe-app/caffe-enet/model"
    example = shared_data / "caffemodels/enet_timosaemann/example_image"
    net = caffe.Net(
        str(folder / "enet_deploy_final.prototxt"), str(folder / "cityscapes_weights.caffemodel"), caffe.TEST
    )
    assert net.blobs["data"].shape == (1, 3, 512, 1024)
    image = cv2.imread(str(example / "munich_000000_000019_leftImg8bit.png"))
    net.blobs["data"].data[0] = cv2.resize(image, (1024, 512)).transpose(2, 0, 1)
    (scores,) = net.forward().values()

    published = cv2.imread(str(example / "munich_000000_000019_leftImg8bit_enet.png"))
    palette = cv2.imread(str(folder / "cityscapes19.png"))[0, :19, ::-1]  # its channel order is the other one
    expected = (published[:, :, None] == palette).all(3).argmax(2)
    assert (palette[expected] == published).all()
    wrong = scores[0].argmax(0) != expected
    # Another Caffe, perhaps other weights made the picture: pixels differ where two classes nearly tie.
    assert wrong.mean() < 0.015
    ranked = np.sort(scores[0], axis=0)
    margin = ranked[-1] - ranked[-2]
    assert np.median(margin[wrong]) < 0.05 * np.median(margin)

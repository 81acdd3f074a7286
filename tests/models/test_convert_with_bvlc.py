"""Converted weights on the real Caffe (``make test-bvlc``)."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

caffe = pytest.importorskip("caffe", reason="BVLC Caffe is not here (make test-bvlc)")

pytestmark = pytest.mark.engine
if not hasattr(caffe, "_caffe") and not hasattr(caffe, "pycaffe"):
    pytest.skip("this 'caffe' is not BVLC's", allow_module_level=True)

from caffe_gp.models import zoo  # noqa: E402
from caffe_gp.models.convert import convert_file  # noqa: E402
from caffe_gp.proto import to_text  # noqa: E402
from tests.models.foreign_files import ENDINGS, WRITERS, random_arrays, shrunk  # noqa: E402


@pytest.mark.parametrize(
    "format, model, runs",
    [
        ("chainer-fcn", "fcn-8s", "fcn-8s"),
        ("chainer-fcn", "fcn-8s-atonce", "fcn-8s-atonce"),
        ("matconvnet-fcn", "fcn-8s-coco", "fcn-8s-coco"),
        ("keras-crfasrnn", "crfasrnn-coco", "fcn-8s-coco"),  # stock Caffe skips the CRF's layer in the file
    ],
)
def test_converted_weights_load_and_score(tmp_path, monkeypatch, format, model, runs):
    param, net = shrunk(model), shrunk(runs)
    monkeypatch.setitem(zoo.MODELS, model, dataclasses.replace(zoo.get(model), net=lambda: param))
    arrays = random_arrays(param)
    source, target = tmp_path / f"weights.{ENDINGS[format]}", tmp_path / "out.caffemodel"
    WRITERS[format](source, arrays)
    convert_file(source, target, model)

    shape = net.layer[0].input_param.shape[0]
    shape.dim[2], shape.dim[3] = 33, 32
    prototxt = tmp_path / "deploy.prototxt"
    prototxt.write_text(to_text(net))
    loaded = caffe.Net(str(prototxt), str(target), caffe.TEST)
    filled = caffe.Net(str(prototxt), caffe.TEST)
    for name, blobs in filled.params.items():
        for blob, array, read in zip(blobs, arrays[name], loaded.params[name]):
            assert read.data.tobytes() == array.tobytes() and read.data.shape == array.shape
            blob.data[...] = array
    scores = []
    for engine in (loaded, filled):
        engine.blobs["data"].data[...] = np.random.RandomState(1).uniform(-100, 100, (1, 3, 33, 32))
        engine.forward()
        scores.append(engine.blobs[zoo.get(runs).score].data.copy())
    assert np.ptp(scores[0]) > 0
    np.testing.assert_allclose(*scores, rtol=0, atol=1e-5 * np.ptp(scores[0]))

"""Nets of the zoo, at full width on a small image with random weights, exported and compared.

The others differ from these in their last layers only; docs/export.md has the errors of all.
"""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("safetensors")

from caffe_gp import engines
from caffe_gp.errors import NetError
from caffe_gp.export import export_net
from caffe_gp.models import zoo
from conformance.networks import nets

pytestmark = pytest.mark.skipif(engines.resolve() == "bvlc", reason="of the embedded Caffe")


NAMES = (
    "camvid",
    "cifar10",
    "crfasrnn-coco",
    "deeplab-coco-largefov",
    "deeplab-resnet101",
    "fcn-8s",
    "lenet",
)


@pytest.fixture(params=NAMES)
def net(request, tmp_path):
    """(name, prototxt, caffemodel) of a net with random weights."""
    path = tmp_path / "net.caffemodel"
    nets.write_weights(request.param, str(path), "torch")
    yield request.param, zoo.get(request.param).prototxt(), path
    for large in (path, tmp_path / "net.safetensors"):
        large.unlink()


@pytest.mark.slow
def test_agrees(net, tmp_path):
    name, prototxt, caffemodel = net
    model, size = zoo.get(name), nets.SIZES[name][1:]
    options = {"torch_file": tmp_path / "net.py", "size": size, "scale": model.feed.scale}
    end = model.score
    if name == "crfasrnn-coco":
        with pytest.raises(NetError, match=r"\(MultiStageMeanfield\): .*") as caught:
            export_net(prototxt, caffemodel, ends=[end], **options)
        assert "--end 'unary'" in str(caught.value)
        assert [path.name for path in tmp_path.iterdir()] == ["net.caffemodel"]
        end = "unary"
    done = export_net(prototxt, caffemodel, ends=[end], **options)
    assert done.errors["torch"] <= 1e-5
    print(name, done.errors, done.shapes)
    any_size = name not in ("lenet", "cifar10")
    assert done.shapes["data"] == (None, len(model.feed.mean), *((None, None) if any_size else size))

"""The data layer of the classifiers' training nets: order, mirroring, preprocessing, both parts of a set."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from caffe_gp import engines, proto
from caffe_gp.datasets import classification
from caffe_gp.errors import DataError, NetError
from caffe_gp.models.builder import Builder
from caffe_gp.training import trainer
from caffe_gp.training.recipe import read_recipe

pytestmark = pytest.mark.engine


@pytest.fixture
def folder(tmp_path):
    """A set of 20 colour images of 4 x 3."""
    random = np.random.RandomState(2)
    for name in ("a", "b"):
        (tmp_path / "own" / name).mkdir(parents=True)
        for i in range(10):
            pixels = random.randint(0, 256, (3, 4, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(str(tmp_path / "own" / name / f"{i}.png"))
    return tmp_path / "own"


def net_of(tmp_path, tops=("data", "label"), **options):
    net = Builder("layer", None)
    layer = {"module": "caffe_gp.python_layers.classes", "layer": "ClassesLayer"}
    net.add("Python", "data", [], list(tops), python_param={**layer, "param_str": json.dumps(options)})
    proto.write_text(net.param, str(tmp_path / "net.prototxt"))
    return engines.load_caffe().Net(str(tmp_path / "net.prototxt"), 0)


def given(net, batches):
    """Images and labels of so many batches."""
    found = [(out["data"].copy(), out["label"].copy()) for out in (net.forward() for _ in range(batches))]
    return np.concatenate([data for data, _ in found]), np.concatenate([label for _, label in found])


def which(images, data):
    """The index in ``images`` of each of ``data`` (as they are or mirrored), and whether it is mirrored."""
    return [
        next((i, bool(m)) for i, image in enumerate(images) for m in (0, 1)
             if np.array_equal(image[..., ::-1] if m else image, one))
        for one in data
    ]  # fmt: skip


def test_a_set_in_its_own_order(folder, tmp_path):
    whole = classification.get(f"folder:{folder}")
    net = net_of(tmp_path, data=f"folder:{folder}", batch=8, mean=[10, 20, 30], scale=0.5)
    data, labels = given(net, 5)
    # Blue, green, red minus their means; 40 images of a set of 20 are two rounds.
    expected = (whole.images[..., ::-1] - np.float32([10, 20, 30])) * 0.5
    assert np.array_equal(data, np.concatenate([expected.transpose(0, 3, 1, 2)] * 2))
    assert np.array_equal(labels, np.tile(whole.labels, 2))


def test_a_seed_shuffles_each_epoch_anew(folder, tmp_path):
    whole = classification.get(f"folder:{folder}")
    images = whole.images[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
    orders = {}
    for seed in (1, 2):
        data, labels = given(net_of(tmp_path, data=f"folder:{folder}", batch=5, mean=[0], seed=seed), 8)
        found = which(images, data)
        assert not any(mirrored for _, mirrored in found)
        orders[seed] = [i for i, _ in found]
        assert sorted(orders[seed][:20]) == sorted(orders[seed][20:]) == list(range(20))
        assert orders[seed][:20] != orders[seed][20:]
        assert np.array_equal(labels, whole.labels[orders[seed]])
    assert orders[1] != orders[2]


def test_half_the_images_are_mirrored(folder, tmp_path):
    whole = classification.get(f"folder:{folder}")
    images = whole.images[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
    net = net_of(tmp_path, data=f"folder:{folder}", batch=10, mean=[0], seed=1, mirror=True)
    data, labels = given(net, 20)
    found = which(images, data)
    assert 70 < sum(mirrored for _, mirrored in found) < 130
    assert np.array_equal(labels, whole.labels[[i for i, _ in found]])
    # The same images are mirrored when a run goes on in the middle.
    again = net_of(tmp_path, data=f"folder:{folder}", batch=10, mean=[0], seed=1, mirror=True)
    again.layers[0].position = 70
    assert np.array_equal(given(again, 1)[0], data[70:80])


def test_a_stopped_training_ends_where_an_uninterrupted_one_does(folder, tmp_path):
    options = {
        "data": f"folder:{folder}",
        "batch": 6,
        "mean": [128],
        "seed": 1,
        "mirror": True,
        "scale": 0.01,
    }
    net = Builder("small", None)
    layer = {"module": "caffe_gp.python_layers.classes", "layer": "ClassesLayer"}
    layer["param_str"] = json.dumps(options)
    net.add("Python", "data", [], ["data", "label"], python_param=layer)
    net.inner_product("ip", "data", 2, weight_filler={"type": "xavier"})
    net.add("SoftmaxWithLoss", "loss", ["ip", "label"])
    proto.write_text(net.param, str(tmp_path / "train.prototxt"))
    (tmp_path / "solver.prototxt").write_text(
        'base_lr: 0.1 momentum: 0.9 lr_policy: "fixed" max_iter: 12 snapshot: 7 random_seed: 1\n'
    )

    def run(out, iterations):
        recipe = read_recipe(
            tmp_path / "solver.prototxt",
            net=tmp_path / "train.prototxt",
            out=tmp_path / out,
            iterations=iterations,
        )
        return trainer.train(recipe, engine=engines.resolve(), quiet=True)

    whole = run("whole", 12)
    run("stopped", 7)
    resumed = run("stopped", 12)
    for mine, theirs in zip(resumed.params()["ip"], whole.params()["ip"]):
        assert np.array_equal(mine, theirs)
    assert not np.allclose(whole.params(7)["ip"][0], whole.params(12)["ip"][0])


def test_the_parts_share_nothing(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(classification, "TUNING", 6)
    monkeypatch.setattr(classification.ClassificationSet.split, "__defaults__", (6,))
    learning, _ = given(net_of(tmp_path, data=f"folder:{folder}", part="learning", batch=14, mean=[0]), 1)
    tuning, _ = given(net_of(tmp_path, data=f"folder:{folder}", part="tuning", batch=6, mean=[0]), 1)
    pictures = {image.tobytes() for image in np.concatenate([learning, tuning])}
    assert len(pictures) == 20


@pytest.mark.parametrize(
    ("options", "message"),
    (
        ({}, "unusable param_str"),
        ({"batch": 0}, "batch from 1"),
        ({"part": "test"}, "part 'learning' or 'tuning'"),
        ({"mirror": True}, "mirror with a seed"),
        ({"mean": [1, 2]}, "2 means for images of 3 channels"),
        ({"mean": "grey"}, "unusable param_str"),
        ({"tops": ("data",)}, "two tops .* found 1"),
    ),
)
def test_unusable_options(folder, tmp_path, options, message):
    complete = {"data": f"folder:{folder}", "batch": 2, "mean": [0], **options} if options else {}
    with pytest.raises(NetError, match=message):
        net_of(tmp_path, **complete)


def test_missing_data_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("CAFFE_GP_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="nowhere.*caffe_gp fetch data mnist"):
        net_of(tmp_path, data="mnist-train", batch=2, mean=[0])

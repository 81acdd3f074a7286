"""The examples of the pages about Python run as they are printed, in a folder with the files they name."""

from __future__ import annotations

import logging
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from conformance.folders import ROOT

pytest.importorskip("torch", reason="the pages are about the embedded Caffe and torch's modules")

from caffe_gp.evaluation.images import ImageRun, run  # noqa: E402
from caffe_gp.images.label_maps import save_label_png, voc_palette  # noqa: E402
from caffe_gp.models import weights, zoo  # noqa: E402

#: Page -> what each of its examples prints first.
PAGES = {
    "README.md": [""],
    "docs/modules.md": ["<GPResult of 2 x 48 x 64", "(1, 3, 64, 64)"],
    "docs/method.md": ["class scores: blob 'score'"],
    "docs/classification.md": [""],
    "docs/crf.md": [""],
    "docs/data.md": [""],
    "docs/pycaffe.md": ["[('data', (1, 3,"],
    "docs/reading_output.md": ["eps 0.5: "],
    "docs/start.md": ["<GPResult of 1 x 64 x 80"],
    "docs/results_schema.md": ["0."],
    "docs/python.md": ["0 of 2 images", "     item  eps", "", "[[0."],
}


def examples(page):
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.S)


CASES = [(page, i, printed) for page, all_printed in PAGES.items() for i, printed in enumerate(all_printed)]


def test_every_example_is_here():
    assert {page: len(examples(page)) for page in PAGES} == {page: len(one) for page, one in PAGES.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """photo.jpg, photos/, labels/, the nets under the names of the pages, and a run in finished."""
    found, random = tmp_path_factory.mktemp("pages"), np.random.RandomState(0)
    (found / "photos").mkdir()
    for name in ("first", "second"):
        pixels = random.randint(0, 256, (64, 80, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(found / "photos" / f"{name}.png")
        save_label_png(found / "labels" / f"{name}.png", random.randint(0, 11, (64, 80)))
    for name in ("photo.jpg", "photo.png"):
        Image.fromarray(pixels).save(found / name)
    Image.fromarray(voc_palette()[random.randint(0, 21, (6, 8))]).save(found / "colours.png")
    for net, prototxts, caffemodels in (
        ("digits", ("deploy", "train_val"), ("net", "weights")),
        ("lenet", ("lenet",), ("lenet",)),
    ):
        for name in prototxts:
            shutil.copy(zoo.get(net).prototxt(), found / f"{name}.prototxt")
        for name in caffemodels:
            shutil.copy(weights.require(net), found / f"{name}.caffemodel")
    common = {"images": found / "photos", "labels": str(found / "labels"), "quiet": True}
    run(ImageRun.of_model("digits", out=found / "finished", eps=0.5, save=(), **common))
    return found


@pytest.mark.parametrize("page, number, printed", CASES)
def test_example(page, number, printed, folder, tmp_path, monkeypatch, capsys):
    if "joblib" in examples(page)[number]:
        pytest.importorskip("joblib")
    if "to_frame" in examples(page)[number]:
        pytest.importorskip("pandas")
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    shutil.copytree(folder / "finished", tmp_path / "out")
    if "ImageRun" in examples(page)[number]:
        shutil.rmtree(tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    random = np.random.RandomState(0)
    given = {
        "images": random.uniform(-100, 100, (2, 3, 64, 64)).astype(np.float32),
        "image": random.randint(0, 256, (24, 32, 3)).astype(np.uint8),
        "scores": random.normal(size=(5, 24, 32)).astype(np.float32),
        "training_images": random.uniform(0, 1, (9, 1, 28, 28)).astype(np.float32),
        "training_labels": random.randint(0, 10, 9),
        "test_images": random.uniform(0, 1, (2, 1, 28, 28)).astype(np.float32),
    }
    levels = {name: logging.getLogger(name).level for name in (None, "caffe_gp", "caffe_gp.caffe")}
    try:
        exec(compile(examples(page)[number], page, "exec"), given)
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
    assert capsys.readouterr().out.startswith(printed)

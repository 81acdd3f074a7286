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
from caffe_gp.images.label_maps import save_label_png  # noqa: E402
from caffe_gp.models import weights, zoo  # noqa: E402

#: Page -> what each of its examples prints first.
PAGES = {
    "README.md": [""],
    "docs/modules.md": ["<GPResult of 2 x 48 x 64", "(1, 3, 64, 64)"],
    "docs/method.md": ["class scores: blob 'score'"],
    "docs/crf.md": [""],
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
    """photo.jpg, photos/, labels/, the digits net under the names of the pages, and a run of it in out."""
    found, random = tmp_path_factory.mktemp("pages"), np.random.RandomState(0)
    (found / "photos").mkdir()
    for name in ("first", "second"):
        pixels = random.randint(0, 256, (64, 80, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(found / "photos" / f"{name}.png")
        save_label_png(found / "labels" / f"{name}.png", random.randint(0, 11, (64, 80)))
    Image.fromarray(pixels).save(found / "photo.jpg")
    for name in ("deploy", "train_val"):
        shutil.copy(zoo.get("digits").prototxt(), found / f"{name}.prototxt")
    shutil.copy(weights.require("digits"), found / "weights.caffemodel")
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
    }
    levels = {name: logging.getLogger(name).level for name in (None, "caffe_gp", "caffe_gp.caffe")}
    try:
        exec(compile(examples(page)[number], page, "exec"), given)
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
    assert capsys.readouterr().out.startswith(printed)

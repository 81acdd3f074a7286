"""The page of a run: what it counts is what the label maps say; however many images, few pictures."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from caffe_gp.evaluation import class_changes, images, segmentation_page
from caffe_gp.evaluation.image_panel import Seen, panel
from caffe_gp.evaluation.images import ImageRun
from caffe_gp.evaluation.segmentation_page import LISTED, SHOWN, evaluate_with_page
from caffe_gp.images.label_maps import read_label_png
from caffe_gp.report import panels
from caffe_gp.report.page import read_picture
from tests.evaluation import tiny_run as tiny
from tests.report.checked_page import checked_page

IMAGES = LISTED + 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("net")
    tiny.make_net(path)
    return path


@pytest.fixture(scope="module")
def data(folder):
    return tiny.make_data(folder, IMAGES)


def texts(root, tag):
    return ["".join(element.itertext()) for element in root.iter(tag)]


def test_the_page_of_many_images(folder, data, tmp_path):
    run = evaluate_with_page(tiny.settings(folder, data, tmp_path, eps=[2.0], save=("labels",), quiet=True))
    root = checked_page(tmp_path / "index.html")
    captions = [text for text in texts(root, "figcaption") if text.startswith("Image ")]
    assert len(captions) == len(list(root.iter("img"))) == sum(SHOWN.values())

    # By rule, and counted from the label maps on disk.
    counts = {}
    for item in data.ids:
        base, gp = (read_label_png(tmp_path / "labels" / name / f"{item}.png") for name in ("base", "eps_2"))
        truth = data.truth(item)
        changed = (base != gp) & (truth != 255)
        counts[item] = int((changed & (gp == truth)).sum()), int((changed & (base == truth)).sum())
    ranked = sorted(data.ids, key=lambda item: counts[item][1] - counts[item][0])
    shown = [
        re.match(r"Image (\S+), eps 2: ([\d,]+) pixels put right, ([\d,]+) broken", one) for one in captions
    ]
    assert all((int(one[2]), int(one[3])) == counts[one[1]] for one in shown)
    net = {item: fixed - broken for item, (fixed, broken) in counts.items()}
    assert [net[one[1]] for one in shown[:2]] == [net[item] for item in ranked[:2]]
    assert [net[one[1]] for one in shown[-2:]] == [net[item] for item in ranked[::-1][:2]]
    assert net[shown[2][1]] == net[ranked[(IMAGES - 1) // 2]]

    # The verdict has the run's gain; a long table is cut, and says so.
    gain = run.gain(2.0)
    assert (
        f"{100 * gain.gain:+.2f} ({100 * gain.low:+.2f} to {100 * gain.high:+.2f})"
        in texts(root, "strong")[0]
    )
    lengths = [len(table.findall(".//tbody/tr")) for table in root.iter("table")]
    assert lengths == [2, tiny.CLASSES, LISTED]
    assert f"The first and last {LISTED // 2} of {IMAGES}" in "".join(root.itertext())


def test_several_steps_without_labels(folder, data, tmp_path):
    plain = replace(data.first(3), labels=None)
    settings = tiny.settings(folder, plain, tmp_path, eps=[1.0, 3.0], quiet=True)
    settings = replace(settings, save=("labels", "panel"))
    run = evaluate_with_page(settings, "images")
    root = checked_page(tmp_path / "index.html")
    assert not root.findall(".//section") and "no ground truth" in "".join(root.itertext())
    captions = [text for text in texts(root, "figcaption") if text.startswith("Image ")]
    found = {one.split(",")[0][6:]: int(re.search(r"(\d+) pixels changed", one)[1]) for one in captions}
    assert found == dict(zip(run.ids, run.changed[0].tolist()))
    assert not list((tmp_path / "page").glob("*/records"))  # the run's own panels
    said = segmentation_page.said(run, True)
    assert "labels/ (9), panel/ (3)" in said and "index.html" in said


def test_a_panel_counts_what_its_label_maps_say(monkeypatch):
    random = np.random.RandomState(0)
    truth, base, gp = (random.randint(0, 3, (40, 60)) for _ in range(3))
    truth[:6] = 255
    titles = []
    monkeypatch.setattr(
        panels, "grid", lambda rows, *rest: titles.extend(c.title for row in rows for c in row)
    )
    image = random.randint(0, 256, (40, 60, 3)).astype(np.uint8)
    panel(Seen(image, truth, base, [gp], [0.5], random.randint(-1, 2, (3, 40, 60))))
    counted = truth != 255
    fixed = int(((base != gp) & (gp == truth) & counted).sum())
    broken = int(((base != gp) & (base == truth) & counted).sum())
    assert any(f"{fixed:,} put right, {broken:,} broken" in title for title in titles)
    assert titles[:4] == ["Image", "Ground truth", titles[2], "Perturbation\namplified"]

    def mean_iu(labels):
        pairs = [((labels == k) & counted, (truth == k) & counted) for k in range(3)]
        return np.mean([(a & b).sum() / (a | b).sum() for a, b in pairs])

    assert titles[2] == f"Base\nmean IU {100 * mean_iu(base):.1f}"
    gain = 100 * (mean_iu(gp) - mean_iu(base))
    assert titles[4] == f"GP, eps 0.5\nmean IU {100 * mean_iu(gp):.1f} ({gain:+.1f})"


def test_a_large_image_makes_a_small_panel():
    image, labels = np.zeros((1024, 2048, 3), np.uint8), np.zeros((1024, 2048), np.uint8)
    after = labels.copy()
    after[100:200, 300:500] = 1
    found = panel(Seen(image, labels, labels, [after], [0.5]))
    assert found.shape[1] <= panels.WIDTH and found.shape[0] < 600


def test_the_page_of_a_classifier_shows_its_images(tmp_path):
    """The committed CIFAR-10 net on noise: those whose class changes come first, in picture and table."""
    random = np.random.RandomState(3)
    photos = tmp_path / "photos"
    photos.mkdir()
    for k in range(10):
        Image.fromarray(random.randint(0, 256, (32, 32, 3)).astype(np.uint8)).save(photos / f"{k}.png")
    settings = ImageRun.of_model("cifar10", images=[photos], eps=[-0.2], out=tmp_path / "out", quiet=True)
    run = images.run(settings, page=True)
    found = class_changes.classes_of(run)
    changed = {item for item, ((before, _), (after, _)) in found if before != after}
    assert 0 < len(changed) < 10
    root = checked_page(tmp_path / "out" / "index.html")
    rows = [row.find(".//*").text for row in root.findall(".//tbody/tr")]
    assert set(rows[: len(changed)]) == changed and len(rows) == 10
    assert f"{len(changed)} of 10 images change their class" in "".join(root.itertext())
    drawn = read_picture(tmp_path / "out" / "page" / "images.jpg")
    assert drawn.shape[1] > 4 * 200 and drawn.shape[0] > 2 * 200

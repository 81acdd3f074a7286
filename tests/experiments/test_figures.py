"""The figures: figure 9 against the paper's digits; on a tiny net, against records and brute force."""

from __future__ import annotations

import json
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from caffe_gp.errors import NetError
from caffe_gp.experiments import chosen_images, figure4, figure6, figure8, figure9, inside_net
from caffe_gp.experiments.bench import Bench
from caffe_gp.experiments.reproduce import EXPERIMENTS, missing, reproduce
from caffe_gp.images.label_maps import IGNORE
from caffe_gp.report import figures
from tests.report.checked_page import checked_page

pytest.importorskip("caffe_gp.caffe")

CLASSES, HIGH, WIDE = 3, 48, 64  # of the fixture "suite"
# Figure 11 belongs to the paper's suite.
NAMES = [name for name, one in EXPERIMENTS.items() if name.startswith("figure") and not one.paper_only]


@pytest.fixture(scope="module")
def bench(suite, tmp_path_factory):
    return Bench(suite, tmp_path_factory.mktemp("reports"), quiet=True, command="test")


@pytest.fixture(scope="module")
def drawn(bench):
    """Pages of all figures, and the matplotlib figures behind their pictures."""
    kept, save = {}, figures.save

    def keeping(figure, folder, name, kinds=figures.SHEET):
        kept[name] = figure
        save(figure, folder, name, kinds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "save", keeping)
        patch.setattr(figures, "DPI", 50)  # faster
        pages = reproduce(NAMES, bench)
    return pages, kept


# ---- figure 9


def test_figure9_is_the_papers(bench):
    """Every printed digit; and equation (5) in exact fractions."""
    report = figure9.run(bench)
    verdicts = [cell.verdict for row in report.tables[0].rows for cell in row if cell.verdict]
    assert verdicts == ["good"] * 20
    for (shape, label), found in figure9.signals().items():
        y = [Fraction(str(value)) for value in figure9.OUTPUTS[shape]]
        largest = y.index(max(y))
        l = [Fraction(int(i == largest)) if label == "onehot" else Fraction(1, 5) for i in range(5)]  # noqa: E741
        product = sum(a * b for a, b in zip(l, y))
        exact = [product * (a - b) for a, b in zip(l, y)]
        assert found == pytest.approx([float(value) for value in exact], abs=1e-15)


@pytest.mark.parametrize(
    "value, printed, expected",
    [
        (-0.1575, "-0.157", True),  # cut off
        (-0.1575, "-0.158", True),  # rounded
        (0.2475, "0.246", False),
        (0.25, "0.24", False),
        (0.0, "0.0", True),
        (-0.24, "0.24", False),
    ],
)
def test_matching_printed_digits(value, printed, expected):
    assert figure9.matches(value, printed) is expected


def test_figure9_needs_nothing(suite, tmp_path):
    nowhere = Bench(suite, tmp_path, data_root=tmp_path / "none", ids=tmp_path / "unknown.txt")
    assert missing(["figure9"], nowhere) == [] and missing(["figure10"], nowhere) != []


# ---- all of them


def test_every_figure_leaves_its_report(drawn, bench):
    pages, kept = drawn
    assert [page.parent.name for page in pages] == NAMES
    for page in pages:
        results = json.loads(page.with_name("results.json").read_text())
        assert results["name"] == page.parent.name
        assert results["provenance"]["runs"] or page.parent.name == "figure9"
        assert results["claims"]
        for picture in page.parent.glob("*.png"):
            with Image.open(picture) as opened:
                assert opened.size[0] > 3 * 50
            assert picture.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    assert set(kept) == {path.stem for page in pages for path in page.parent.glob("*.png")}


def test_every_page_is_valid(drawn, bench):
    for page in [*drawn[0], bench.out / "index.html"]:
        root = checked_page(page)
        assert list(root.iter("img")) or "<svg" in page.read_text()


def test_texts_can_be_read_in_print(drawn):
    """Nothing smaller than 7 points, nothing written across the edge, nothing wider than the page."""
    for name, figure in drawn[1].items():
        assert figure.get_figwidth() <= figures.WIDTH
        texts = list(figure.texts)
        for legend in [*figure.legends, *(axes.get_legend() for axes in figure.axes)]:
            texts += legend.get_texts() if legend is not None else []
        for axes in figure.axes:
            texts += [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
            texts += [*axes.get_xticklabels(), *axes.get_yticklabels()] if axes.axison else []
        assert texts and min(text.get_fontsize() for text in texts) >= 7, name
        page = figure.bbox.padded(2)
        for text in figure.texts:
            box = text.get_window_extent(figure.canvas.get_renderer())
            assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1, text


def test_the_same_numbers_give_the_same_files(drawn, bench, monkeypatch):
    page = drawn[0][NAMES.index("figure4")]
    before = {path.name: path.read_bytes() for path in page.parent.glob("figure4*")}
    monkeypatch.setattr(figures, "DPI", 50)
    reproduce(["figure4"], bench)
    assert before == {path.name: path.read_bytes() for path in page.parent.glob("figure4*")}


def test_figure8_is_what_the_records_say(drawn, bench):
    found = json.loads((bench.out / "figure8" / "results.json").read_text())
    assert set(found["encodings"]) == set(figure8.ENCODINGS) and found["images"] == 10
    net = bench.suite.nets[0]
    steps = [-0.5, -0.1, 0.1, 0.5]
    assert found["encodings"]["top2"]["eps"] == steps
    run = bench.run(net, steps, bench.data(), encoding="top2")
    for eps, score in zip(steps, found["encodings"]["top2"]["mean_iu"]):
        total = run.at(eps).sum(axis=0)
        hits = np.diag(total)
        assert score == pytest.approx(100 * np.mean(hits / (total.sum(0) + total.sum(1) - hits)))


def test_figure6_scores_are_the_nets(drawn, bench):
    """A position's scores, against a plain forward pass of the perturbed image."""
    found = json.loads((bench.out / "figure6" / "results.json").read_text())
    net, patch = bench.suite.nets[0], found["patch"]
    labeller = bench.labeller(net, [0.5])
    canvas = labeller.preprocess.load(bench.data().image(found["image"]["item"]))
    result = labeller.label([canvas], [None])
    loaded = labeller.gp.net
    for eps in (0.0, 0.5):
        loaded.blobs["data"].data[...] = canvas.data + eps * result.perturbation[0]
        loaded.forward()
        scores = loaded.blobs["fc"].data[0, :, patch["row"], patch["column"]]
        k = found["eps"].index(eps)
        for name, values in found["scores"]["2,2"].items():
            assert values[k] == pytest.approx(scores[int(name)], abs=1e-5)


# ---- parts


def test_images_are_ranked_by_rule():
    run = SimpleNamespace(
        eps=[0.5], ids=list("abcd"), fixed=np.array([[5, 9, 0, 3]]), broken=np.array([[5, 1, 4, 1]])
    )
    assert [image.item for image in chosen_images.successes(run, 0.5, 9)] == ["b", "d"]
    assert [image.item for image in chosen_images.failures(run, 0.5, 9)] == ["c"]
    assert chosen_images.best(run, 0.5) == chosen_images.Picked("b", 9, 1)


def test_boundary_distance_by_brute_force():
    truth = np.zeros((14, 17), np.uint8)
    truth[4:9, 5:12] = 1
    truth[0, 16] = 255
    edge = [
        (y, x)
        for y, x in np.ndindex(truth.shape)
        if truth[y, x] == 255
        or any(
            0 <= v < 14 and 0 <= u < 17 and truth[v, u] != truth[y, x]
            for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1))
        )
    ]
    found = figure4.boundary_distance(truth)
    for y, x in np.ndindex(truth.shape):
        assert found[y, x] == pytest.approx(min(np.hypot(y - v, x - u) for v, u in edge), abs=1e-3)


def test_pixels_find_their_scores(bench):
    """Stride 4, crop 2: centres of the kernel lie at 4 i + 3.5, so pixel y at (y + 2 - 3.5) / 4."""
    labeller = bench.labeller(bench.suite.nets[0], [0.1])
    assert inside_net.before_upsampling(labeller.gp) == "fc"
    rows, columns = inside_net.grid(labeller.gp, "fc")
    for places, size in ((rows, HIGH), (columns, WIDE)):
        inner = slice(2, size - 6)  # beyond, the outermost score alone counts
        assert places[inner] == pytest.approx((np.arange(size)[inner] - 1.5) / 4, abs=1e-4)
    with pytest.raises(NetError, match="do not interpolate"):
        labeller.gp.net.params["up"][0].data[...] *= -np.arange(8)
        inside_net.grid(labeller.gp, "conv2")


def test_a_fed_image_can_be_seen_again(bench):
    labeller = bench.labeller(bench.suite.nets[0], [0.1])
    canvas = labeller.preprocess.load(bench.data().image("0"))
    assert np.array_equal(inside_net.pixels(labeller, canvas), canvas.image)
    brighter = inside_net.pixels(labeller, canvas, np.full(canvas.data.shape, 0.1))
    assert np.array_equal(brighter, np.minimum(canvas.image.astype(int) + 2, 255))


def test_the_patch_has_most_corrected_pixels(bench):
    """Against counting every 3 x 3 window by itself."""
    labeller = bench.labeller(bench.suite.nets[0], [0.5])
    canvas = labeller.preprocess.load(bench.data().image("0"))
    rows, columns = inside_net.grid(labeller.gp, "fc")
    high, wide = labeller.gp.net.blobs["fc"].data.shape[2:]
    seen = figure6._Seen(labeller, canvas, rows, columns, np.zeros((1, CLASSES, high, wide)), np.zeros(0))
    truth = bench.data().truth("0")
    fixed = np.random.RandomState(2).rand(HIGH, WIDE) < 0.2
    fixed &= truth != IGNORE
    patch = figure6.choose(seen, fixed, truth)
    assert patch.apart == 2  # 8 pixels at a stride of 4

    def most(row, column):
        near = [np.abs(np.round(places) - centre) <= 2 for places, centre in ((rows, row), (columns, column))]
        area = np.ix_(*near)
        return max(int((fixed[area] & (truth[area] == label)).sum()) for label in range(CLASSES))

    centres = [(row, column) for row in range(2, high - 2) for column in range(2, wide - 2)]
    assert most(patch.row, patch.column) == max(most(*centre) for centre in centres)

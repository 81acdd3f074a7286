"""eps without labels: the search on curves that are known, and runs that choose it, stop and resume."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from caffe_gp.errors import DataError, UsageError
from caffe_gp.evaluation import segmentation
from caffe_gp.evaluation.choose_eps import WithoutLabels, find_eps, words
from caffe_gp.evaluation.results import read_run, table
from caffe_gp.evaluation.segmentation import Evaluation, chosen_eps, evaluate
from caffe_gp.evaluation.settings import NetSettings
from tests.evaluation import tiny_run

pytestmark = pytest.mark.engine


def measured(curve, base=0.8):
    """A ``measure`` of a curve of shares of the gap, and the list of what it was asked."""
    asked = []

    def measure(steps):
        asked.append(list(steps))
        return base, [base + (1 - base) * curve(eps) for eps in steps]

    return measure, asked


@pytest.mark.parametrize("scale", [1e-6, 0.03, 1.0, 700.0])
@pytest.mark.parametrize("share", [0.1, 0.25, 0.4])
def test_a_rising_curve_is_met_wherever_it_rises(scale, share):
    measure, asked = measured(lambda eps: 0.6 * eps / (eps + scale))
    found = find_eps(measure, unit=1.0, share=share)
    assert found.closed == pytest.approx(share, rel=0.041) and found.note == "" and found.share == share
    exact = scale * share / (0.6 - share)
    assert found.eps == pytest.approx(exact, rel=0.1)
    assert found.eps in [eps for steps in asked for eps in steps]  # it was measured, not only reckoned
    assert found.passes == sum(2 + len(steps) for steps in asked)
    assert [eps for eps, _, _ in found.curve] == sorted(eps for steps in asked for eps in steps)


def test_the_first_rise_counts_where_the_confidence_falls_later():
    measure, _ = measured(lambda eps: 0.5 * np.exp(-(np.log(eps) ** 2) / 8))
    found = find_eps(measure, unit=1.0)
    assert found.eps < 1 and found.closed == pytest.approx(0.25, abs=0.011)


def test_a_gap_that_is_never_closed_that_far_is_said():
    measure, _ = measured(lambda eps: 0.12 * np.exp(-(np.log(eps) ** 2) / 2))
    found = find_eps(measure, unit=1.0)
    assert found.closed == pytest.approx(0.06, rel=0.041) and found.eps < 1
    assert "rises by 0.120 of the gap at most, at eps 1," in found.note and "at most" in words(
        {**found.record(), "images": ["a"]}
    )


@pytest.mark.parametrize(
    "curve, base, message",
    [
        (lambda eps: -eps / (1 + eps), 0.8, "no step of .* closes more than 0 of"),
        (lambda eps: 0.0, 0.8, "no step of"),
        (lambda eps: 0.1, 1.0, "the net is sure of every pixel"),
        (lambda eps: float("nan"), 0.8, "the net's confidence is no number"),
    ],
)
def test_confidences_that_say_nothing_are_refused(curve, base, message):
    measure, asked = measured(curve, base)
    with pytest.raises(DataError, match=message):
        find_eps(measure, unit=1.0)
    assert len(asked) <= 6


@pytest.mark.parametrize("share", [0, 1, -0.1, float("nan")])
def test_bad_shares(share):
    with pytest.raises(UsageError, match="share of the confidence gap"):
        find_eps(lambda steps: (0.5, [0.6] * len(steps)), unit=1.0, share=share)


# ---- runs


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    folder = tmp_path_factory.mktemp("case")
    tiny_run.make_net(folder)
    return folder, tiny_run.make_data(folder, 6)


def auto(case, out, **options):
    given = {"eps": "auto", "eps_images": 3, **options}
    return tiny_run.settings(*case, out, **given)


def test_a_run_chooses_reports_and_resumes(case, tmp_path):
    out = tmp_path / "run"
    found = evaluate(auto(case, out))
    (eps,) = found.eps
    report = json.loads((out / "results.json").read_text())
    choice = report["eps_choice"]
    assert report["key"]["eps"] == [eps] == [choice["eps"]]
    assert choice["images"] == list(case[1].ids[:3]) and abs(choice["gap_closed"] - 0.25) < 0.02
    assert found.origin["model"]["eps_source"] == "chosen without labels"
    assert f"eps {eps:g} was chosen without labels" in table(read_run(out))
    # By hand, from an evaluation of the same images with labels.
    direct = evaluate(tiny_run.settings(case[0], case[1].first(3), tmp_path / "direct", eps=[eps]))
    base, after = direct.confidence.mean(axis=1)
    assert choice["gap_closed"] == pytest.approx((after - base) / (1 - base), abs=1e-9)
    before = (out / "results.json").read_bytes()
    lines = tiny_run.lines(out)
    evaluate(auto(case, out))
    assert (out / "results.json").read_bytes() == before and tiny_run.lines(out) == lines
    shutil.rmtree(out / "records")
    (out / "results.json").unlink()
    evaluate(auto(case, out))
    assert (out / "results.json").read_bytes() == before


def test_an_interrupted_search_resumes_with_what_it_has(case, tmp_path, monkeypatch):
    real, calls = segmentation.evaluate, []

    def stops(settings, kind, **options):
        calls.append(settings.eps)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(settings, kind, **options)

    monkeypatch.setattr(segmentation, "evaluate", stops)
    with pytest.raises(KeyboardInterrupt):
        chosen_eps(auto(case, tmp_path / "run"))
    (first,) = (tmp_path / "run" / "choice").glob("*/records/0.jsonl")
    before = first.read_bytes()
    monkeypatch.setattr(segmentation, "evaluate", real)
    resumed = chosen_eps(auto(case, tmp_path / "run"))
    assert first.read_bytes() == before
    assert resumed == chosen_eps(auto(case, tmp_path / "other"))


def test_labels_play_no_part(case, tmp_path, monkeypatch):
    data = case[1]
    monkeypatch.setattr(type(data), "truth", lambda *_: pytest.fail("a label map was read"))
    assert chosen_eps(auto(case, tmp_path)).eps > 0
    with pytest.raises(DataError, match="without labels"):
        WithoutLabels.first(data, 2).truth(data.ids[0])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"eps_share": 1.5}, "share of the confidence gap"),
        ({"eps_images": 0}, "at least one image"),
        ({"encoding": "ground-truth"}, "needs them: give eps"),
        ({"eps": "Auto"}, "eps 'Auto'"),
    ],
)
def test_bad_settings(case, tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        evaluate(auto(case, tmp_path / "run", **options))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("eps", None, "eps_choice.eps"),
        ("images", [], "eps_choice.images"),
        ("curve", [{"eps": 1}], "eps_choice.curve"),
        ("gap_closed", 0.5, "not made of this folder's records"),
    ],
)
def test_an_edited_choice_is_noticed(case, tmp_path, name, value, message):
    out = tmp_path / "run"
    evaluate(auto(case, out))
    (path,) = (out / "records").glob("*.jsonl")
    head, *records = map(json.loads, path.read_text().splitlines())
    head["made"]["eps_choice"][name] = value
    path.write_text("".join(json.dumps(line) + "\n" for line in [head, *records]))
    with pytest.raises(DataError, match=message):
        read_run(out)


def test_runs_that_share_a_folder_choose_there_too(case, tmp_path):
    found = evaluate(auto(case, tmp_path / "runs", by_key=True))
    assert found.folder.parent == tmp_path / "runs" and found.eps_choice["eps"] == found.eps[0]
    assert found.eps == evaluate(auto(case, tmp_path / "run")).eps


def test_models_without_eps_and_inner_blobs_leave_it_to_the_run(case, tmp_path):
    files = {"caffemodel": "w", "data": case[1], "out": tmp_path}
    assert Evaluation.of_model("fcn-32s", **files).eps == [0.55]
    assert Evaluation.of_model("fcn-32s", blob="pool3", **files).eps == "auto"
    assert Evaluation.of_model("fcn-16s", **files).eps == "auto"
    with pytest.raises(UsageError, match="only a run over images"):
        NetSettings.of_model("fcn-16s", caffemodel="w").resolve()

"""What a script or a notebook sees: progress, tables, reprs of one line, the log, pickles, single values."""

from __future__ import annotations

import copy
import logging
import pickle

import numpy as np
import pytest

from caffe_gp import load_model
from caffe_gp.cli.main import main
from caffe_gp.errors import CaffeGPError, UsageError
from caffe_gp.evaluation import classification, images
from caffe_gp.evaluation.confusion import ConfusionMatrix
from caffe_gp.evaluation.results import read_run
from caffe_gp.evaluation.segmentation import evaluate
from caffe_gp.gp import GuidedPerturbation, NeighbourPerturbation
from caffe_gp.runs.progress import is_log_shown
from tests.evaluation import tiny_classifier, tiny_run

IMAGES = 5


class Told(list):
    """Calls of on_progress."""

    def __call__(self, done, total, what):
        self.append((done, total, what))

    def counts(self, phase=""):
        return sorted({done for done, _, what in self if what.startswith(phase)})


def test_progress_of_evaluate(net, data, tmp_path):
    told = Told()
    evaluate(tiny_run.settings(net, data, tmp_path / "out"), on_progress=told)
    assert told[0][:2] == (0, 5) and told[-1][:2] == (5, 5) and told.counts() == [0, 1, 2, 3, 4, 5]
    assert told[-1][2].startswith("mean IU ")
    again = Told()
    evaluate(tiny_run.settings(net, data, tmp_path / "out"), on_progress=again)
    assert [call[:2] for call in again] == [(5, 5)]


def test_progress_of_an_image_run_and_of_choosing_eps(net, data, tmp_path):
    told, files = Told(), (str(net / "net.prototxt"), str(net / "net.caffemodel"))
    found = images.run(
        images.ImageRun(
            *files,
            images=str(data.images),
            out=tmp_path / "out",
            eps_images=2,
            save=(),
            quiet=True,
            threads=1,
        ),
        on_progress=told,
    )
    assert told.counts("choosing eps") == [0, 1, 2] and told[-1][:2] == (5, 5)
    assert any("forward" in what for _, _, what in told) and len(found.eps) == 1


def test_progress_of_a_classifier(tmp_path):
    tiny_classifier.make_net(tmp_path)
    told, tune = Told(), tiny_classifier.make_set("tiny-tune", 12, seed=3)
    settings = tiny_classifier.settings(tmp_path, tmp_path / "out", tune=tune, k=1, gradient_at="test")
    assert settings.k == (1,) and settings.gradient_at == ("test",)
    found = classification.evaluate(settings, on_progress=told)
    assert (23, 23) in {call[:2] for call in told} and told[-1] == (12, 12, "tuning")
    frame_of_labels(found)


def frame_of_labels(found):
    pytest.importorskip("pandas")
    frame = found.to_frame()
    assert len(frame) == 23 * 2 and set(frame.eps) == {0.05, -0.1}
    some = frame[frame.eps == 0.05]
    assert (some.label == some.truth).mean() == found.outcome(found.variants[0], 0.05).accuracy
    assert repr(found).startswith("<ClassificationResults of 23 images: accuracy ") and "\n" not in repr(
        found
    )
    assert found._repr_html_().count("<tr>") == 4


def test_an_exception_of_on_progress_ends_the_run_which_resumes(net, data, tmp_path):
    def stop(done, total, what):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(tiny_run.settings(net, data, tmp_path / "out"), on_progress=stop)
    told = Told()
    evaluate(tiny_run.settings(net, data, tmp_path / "out"), on_progress=told)
    assert told[0][0] == 2 and told[-1][0] == 5


def test_a_table_of_pandas(net, data, tmp_path):
    pytest.importorskip("pandas")
    run = evaluate(tiny_run.settings(net, data, tmp_path / "out", switch=True))
    frame = run.to_frame()
    assert list(frame["item"]) == 2 * list(data.ids) and list(frame.eps) == [0.5] * 5 + [-1.0] * 5
    row = frame[(frame["item"] == data.ids[3]) & (frame.eps == -1)].iloc[0]
    expected = ConfusionMatrix.from_state(run.at(-1.0)[3]).measures()["mean_iu"]
    assert row.mean_iu == pytest.approx(expected, abs=1e-12) and row.changed_pixels == run.changed[1, 3]
    assert row.confidence == run.confidence[2, 3] and (row.width, row.height) == tuple(run.sizes[3])
    np.testing.assert_allclose(
        frame.mean_iu - frame.mean_iu_before, np.concatenate(list(map(run.image_gains, run.eps)))
    )
    assert {"fixed_pixels", "broken_pixels", "mean_iu_switched"} <= set(frame)


def test_without_pandas(net, data, tmp_path, monkeypatch):
    run = evaluate(tiny_run.settings(net, data, tmp_path / "out"))
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(
        CaffeGPError, match=r"needs the Python package pandas: pip install 'caffe_gp\[notebook\]'"
    ):
        run.to_frame()


def test_reprs_fit_a_notebook(net, data, tmp_path):
    settings = tiny_run.settings(net, data, tmp_path / "out")
    run, loaded = evaluate(settings), tiny_run.load(net)
    result = GuidedPerturbation(loaded)(np.zeros((1, 3, 24, 30), np.float32) + 1, [0.5, 1.0])
    digits = load_model("digits")
    shown = [settings, data, run, read_run(run.folder), loaded, result, digits, GuidedPerturbation(loaded)]
    for one in shown:
        assert "\n" not in repr(one) and len(repr(one)) < 600, repr(one)
    assert "data=<SegmentationSet tiny: 5 images, 4 classes>" in repr(settings) and "level" not in repr(
        settings
    )
    for one in (run, loaded, result, digits):
        assert one._repr_html_().startswith("<div>") and len(one._repr_html_()) < 20_000
    assert result._repr_html_().count("<img") == 3 and "eps 0.5" in run._repr_html_()


def test_names_in_notebooks_are_no_html(net, tmp_path):
    loaded = tiny_run.load(net)
    loaded.changes.append("<script>alert(1)</script>")
    assert "<script>" not in loaded._repr_html_()


@pytest.mark.parametrize("do", [pickle.dumps, copy.deepcopy])
def test_weights_are_not_pickled(net, tmp_path, do):
    tiny_classifier.make_net(tmp_path)
    loaded, classifier = tiny_run.load(net), tiny_classifier.load(tmp_path)
    for one in (loaded, GuidedPerturbation(loaded), NeighbourPerturbation(classifier), {"net": loaded}):
        with pytest.raises(UsageError, match="have each process open its own. Give joblib .* calls load_net"):
            do(one)


def test_settings_take_single_values(net, data, tmp_path):
    settings = tiny_run.settings(
        net, data, tmp_path / "out", eps=np.float32(0.5), mean=104, save="labels", pad_to=32
    )
    assert settings.eps == [0.5] and settings.mean == (104,) and settings.save == ("labels",)
    assert settings.pad_to == (32, 32)
    run = evaluate(settings)
    assert run.eps == [0.5] and len(list((tmp_path / "out").rglob("labels/*/*.png"))) == 10


def test_the_log_is_the_package_s_and_shown_by_the_command_line_only(net, data, tmp_path, caplog, capfd):
    files = ["--prototxt", str(net / "net.prototxt"), "--caffemodel", str(net / "net.caffemodel")]
    loud = tiny_run.settings(net, data, tmp_path / "out", quiet=False)
    with caplog.at_level(logging.INFO, "caffe_gp"):
        evaluate(loud)
    ours = [record for record in caplog.records if record.name == "caffe_gp.runs.run"]
    assert any("pixels 0..255" in record.getMessage() for record in ours)
    assert "pixels 0..255" not in capfd.readouterr().err and not is_log_shown()
    assert logging.getLogger("caffe_gp").handlers == []
    image = next(data.images.glob("*.png"))
    words = ["run", *files, "--image", str(image), "--eps", "1", "--save", "none"]
    assert main([*words, "--out", str(tmp_path / "shown")]) == 0
    assert "pixels 0..255" in capfd.readouterr().err and not is_log_shown()
    assert main([*words, "--out", str(tmp_path / "quiet"), "--quiet"]) == 0
    assert capfd.readouterr().err == ""

"""The throughput model, by hand."""

from __future__ import annotations

import pytest

from caffe_gp.cli import cost
from caffe_gp.cli.main import main
from caffe_gp.errors import CaffeGPError
from caffe_gp.evaluation.segmentation import evaluate
from tests.evaluation import tiny_run

pytestmark = pytest.mark.engine


def test_a_job_by_hand():
    # 8 workers of 0.5 s an image: 16 images/s; 57,600 images take an hour; a minute to start.
    job = cost.estimate(57_600, 0.5, workers=8, price_per_hour=3.0, image_bytes=1e5, record_bytes=1e3)
    assert job.images_per_second == 16 and job.hours == pytest.approx(1 + 1 / 60)
    assert job.bytes_per_second == 1.6e6 and job.record_bytes == 57.6e6
    assert job.cost == pytest.approx(24 * (1 + 1 / 60))
    with pytest.raises(CaffeGPError, match="must be positive"):
        cost.estimate(1, 0.5, workers=0)


def test_figures_of_a_run(tmp_path, capsys):
    tiny_run.make_net(tmp_path)
    run = evaluate(tiny_run.settings(tmp_path, tiny_run.make_data(tmp_path, 3), tmp_path / "run"))
    first = cost.estimates_of_run(tmp_path / "run", workers=2)[0]
    seconds = sum(values.mean() for values in run.seconds.values())
    assert first.images == 5105 and first.images_per_second == pytest.approx(2 / seconds)
    assert main(["cost", str(tmp_path / "run"), "--workers", "2", "--price", "1", "--image-kb", "90"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 5 and rows[4].startswith("| 1,000,000,000 |")
    assert main(["cost", str(tmp_path / "nothing")]) == 2

"""Evaluations whose step and CRF are computed where the layers compute: here on tensors of the CPU."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the embedded Caffe needs torch")

import caffe_gp.caffe as caffe  # noqa: E402
from caffe_gp.caffe import device_array, mode  # noqa: E402
from caffe_gp.caffe.permutohedral import TensorRows  # noqa: E402
from caffe_gp.crf import CRFSettings, NumpyRows  # noqa: E402
from caffe_gp.evaluation.segmentation import evaluate  # noqa: E402
from tests.evaluation import tiny_run  # noqa: E402

CRF = CRFSettings(1, 10, 20, 1, 2, max_iter=3)


IMAGES = 4


def test_the_same_results_byte_for_byte(net, data, tmp_path, monkeypatch):
    options = {"switch": True, "save": ("labels", "probabilities"), "batch_size": 2, "iterations": 2}
    here = evaluate(tiny_run.settings(net, data, tmp_path / "here", **options))
    monkeypatch.setattr(device_array, "_on_cpu_too", True)
    there = evaluate(tiny_run.settings(net, data, tmp_path / "there", **options))
    files = sorted(path.relative_to(here.folder) for path in here.folder.glob("*/*/*"))
    assert len(files) >= 4 * 3
    for file in [*files, "results.json"]:
        assert (here.folder / file).read_bytes() == (there.folder / file).read_bytes(), file


def test_the_crf_computes_where_the_layers_do(net, data, tmp_path, monkeypatch):
    assert caffe.crf_rows() is NumpyRows
    expected = evaluate(tiny_run.settings(net, data, tmp_path / "here", crf=CRF))
    used = []

    def tensors():
        used.append(TensorRows(torch.device("cpu")))
        return used[-1]

    monkeypatch.setattr(caffe, "crf_rows", tensors)
    found = evaluate(tiny_run.settings(net, data, tmp_path / "there", crf=CRF))
    assert len(used) == len(data.ids)
    # The lattice's sums come in another order: a label may differ where two are as probable.
    pixels = expected.after_crf.sum()
    assert np.abs(found.after_crf - expected.after_crf).sum() <= 2e-3 * pixels
    assert np.array_equal(found.after, expected.after)


def test_crf_rows_of_a_device(monkeypatch):
    monkeypatch.setattr(mode, "_device", torch.device("cuda", 0))
    assert caffe.crf_rows().device == torch.device("cuda", 0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
@pytest.mark.parametrize("crf", [None, CRF])
def test_on_a_gpu(net, data, tmp_path, crf):
    """Within what other sums than the CPU's may change."""
    here = evaluate(tiny_run.settings(net, data, tmp_path / "here", crf=crf))
    try:
        there = evaluate(tiny_run.settings(net, data, tmp_path / "there", crf=crf, device="cuda"))
    finally:
        mode.set_mode_cpu()
    pairs = [(there.after, here.after)] if crf is None else [(there.after_crf, here.after_crf)]
    for found, expected in pairs:
        assert np.abs(found - expected).sum() <= 1e-2 * expected.sum()

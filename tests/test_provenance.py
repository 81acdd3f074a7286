"""CAFFE_GP_COMMIT says an image's commit."""

from __future__ import annotations

import caffe_gp
from caffe_gp import provenance


def test_the_commit_of_an_image(monkeypatch, tmp_path):
    monkeypatch.setattr(caffe_gp, "__file__", str(tmp_path / "caffe_gp" / "__init__.py"))  # no .git there
    monkeypatch.setenv("CAFFE_GP_COMMIT", "0123abc")
    assert provenance.code_version.__wrapped__() == f"{caffe_gp.__version__} 0123abc"
    monkeypatch.delenv("CAFFE_GP_COMMIT")
    assert provenance.code_version.__wrapped__() == caffe_gp.__version__

"""The demo's net gives BVLC Caffe's label maps, base and GP, at the input and at inner blobs."""

from __future__ import annotations

import importlib.util

import numpy as np


def test_label_maps_are_bvlcs(project_root):
    folder = project_root / "tests" / "experiments" / "golden"
    spec = importlib.util.spec_from_file_location("record", str(folder / "record.py"))
    record = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(record)
    with np.load(str(folder / "bvlc_digit_fcn.npz")) as file:
        golden = {name: file[name] for name in file.files}
    ours = record.label_maps("torch", golden["images"])
    assert set(ours) == {"base", "gp_data", "gp_pool1", "gp_pool3"}
    for name, labels in ours.items():
        # Another processor may round a tie differently: at most one pixel in ten thousand.
        assert np.mean(labels != golden[name]) <= 1e-4, name
    for blob in record.EPS:
        assert np.mean(golden[f"gp_{blob}"] != golden["base"]) > 0.01

"""The demo's net gives BVLC Caffe's label maps, base and GP, at the input and at inner blobs."""

from __future__ import annotations

import numpy as np

from conformance import closeness, record_digits


def test_label_maps_are_bvlcs():
    with np.load(str(record_digits.GOLDEN)) as file:
        golden = {name: file[name] for name in file.files}
    ours = record_digits.label_maps("torch", golden["images"])
    assert set(ours) == {"base", "gp_data", "gp_pool1", "gp_pool3"}
    for name, labels in ours.items():
        # Another processor may round a tie differently.
        assert closeness.differing(labels, golden[name]) <= closeness.LABELS_LIMIT * labels.size, name
        # Moved by a rounding error's size, BVLC Caffe itself stays within the limit.
        assert golden[f"own_change/{name}"] <= closeness.LABELS_LIMIT * labels.size, name
    for blob in record_digits.EPS:
        assert np.mean(golden[f"gp_{blob}"] != golden["base"]) > 0.01

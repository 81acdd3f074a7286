"""Base and GP label maps: the embedded Caffe against those that BVLC Caffe made (record_gp.py)."""

from __future__ import annotations

import numpy as np
import pytest

from conformance import record_gp

MAX_DISAGREEMENT = 1e-4


@pytest.mark.parametrize("name", record_gp.CASES)
def test_label_maps_agree_with_bvlc_caffe(name, shared_data):
    path = record_gp.RECORDINGS / f"{name}.npz"
    if not path.exists():
        pytest.skip(f"no recording of BVLC Caffe: tools/in_bvlc.sh python3 -m conformance.record_gp {name}")
    with np.load(path) as recording:
        expected = {key: recording[key] for key in recording.files}
    inputs = [expected[key] for key in sorted(expected) if key.endswith("/input")]
    found = record_gp.run_case(name, "torch", shared_data, inputs)
    assert set(found) == set(expected)
    kinds = sorted({key.split("/")[1] for key in expected if "/" in key} - {"input"})
    for kind in kinds:
        keys = [key for key in expected if key.endswith(f"/{kind}")]
        if "confidence" in kind:
            # A sign that is rounding noise may differ, and a large step carries that further.
            tolerance = 1e-5 if kind == "base_confidence" else 1e-3
            for key in keys:
                assert abs(found[key] - expected[key]) < tolerance, key
        else:
            pixels = sum(expected[key].size for key in keys)
            differing = sum(int((expected[key] != found[key]).sum()) for key in keys)
            print(f"{kind}: {differing} of {pixels} labels differ")  # pytest -rP shows it
            assert differing <= MAX_DISAGREEMENT * pixels, f"{kind}: {differing} of {pixels} labels differ"

"""Base and GP label maps: the embedded Caffe against those that BVLC Caffe made (record_gp.py)."""

from __future__ import annotations

import numpy as np
import pytest

from conformance import closeness, record_gp


@pytest.fixture(params=record_gp.CASES)
def case(request):
    """A case, what BVLC Caffe made of it, and how much of that rounding decides: (differing, all) by kind."""
    name = request.param
    path = record_gp.RECORDINGS / f"{name}.npz"
    if not path.exists():
        pytest.skip(f"no recording of BVLC Caffe: tools/in_bvlc.sh python3 -m conformance.record_gp {name}")
    expected, change = {}, {}
    with np.load(path) as recording:
        for key in recording.files:
            if key.startswith("own_change/"):
                change[key.split("/")[1]] = tuple(recording[key])
            else:
                expected[key] = recording[key]
    return name, expected, change


def test_label_maps_agree_with_bvlc_caffe(case, shared_data):
    name, expected, _ = case
    inputs = [expected[key] for key in sorted(expected) if key.endswith("/input")]
    found = record_gp.run_case(name, "torch", shared_data, inputs)
    assert set(found) == set(expected)
    for key in found:
        if "confidence" in key:
            # A sign that is rounding noise may differ, and a large step carries that further.
            tolerance = 1e-5 if key.endswith("base_confidence") else 1e-3
            assert abs(found[key] - expected[key]) < tolerance, key
    counts = record_gp.differing(found, expected)
    print(counts)  # pytest -rP shows it
    assert len(counts) > 1 and not closeness.too_many(counts)


def test_the_recording_is_of_stable_images(case):
    """Moved by a rounding error's size, BVLC Caffe itself stays within the limit."""
    _, expected, change = case
    assert set(change) == set(record_gp.differing(expected, expected)) and not closeness.too_many(change)

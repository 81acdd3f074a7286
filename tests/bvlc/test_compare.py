"""Every comparison case: the embedded Caffe against what BVLC Caffe computed.

CAFFE_GP_RECORDINGS names a folder of full recordings (make test-bvlc makes them); without it the committed
goldens are used: a part of the cases and a sample of their numbers.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the embedded Caffe needs torch")

from conformance import compare, goldens, recordings  # noqa: E402
from conformance.case import Case  # noqa: E402
from conformance.cases import FAMILIES  # noqa: E402
from conformance.closeness import BACKWARD_LIMIT, FORWARD_LIMIT  # noqa: E402
from conformance.outcome import compare_case  # noqa: E402

FOLDER = Path(os.environ.get("CAFFE_GP_RECORDINGS", str(goldens.FOLDER)))


@lru_cache(maxsize=None)
def recorded(family: str) -> dict[str, Any]:
    return recordings.load(FOLDER / f"{family}.npz")


def all_cases() -> list[Any]:
    found = []
    for family, make_cases in FAMILIES.items():
        for case in make_cases():
            if FOLDER != goldens.FOLDER or case.name in recorded(family):
                found.append(pytest.param(family, case, id=case.name))
    return found


@pytest.fixture(scope="module")
def caffe() -> Any:
    return compare.embedded()


@pytest.mark.parametrize("family, case", all_cases())
def test_agrees_with_bvlc_caffe(caffe: Any, family: str, case: Case) -> None:
    assert case.name in recorded(family), "not recorded: run 'make test-bvlc'"
    outcome = compare_case(caffe, case, recorded(family)[case.name])
    assert not outcome.problems, "\n".join(outcome.problems)


@pytest.mark.parametrize("family", FAMILIES)
def test_recordings_are_of_stable_cases(family: str) -> None:
    """Moved by a rounding error's size, BVLC Caffe itself stays within the limits."""
    recorded_there = [result for result in recorded(family).values() if "error" not in result]
    assert recorded_there
    for result in recorded_there:
        moved = result["moved"]
        assert moved["forward"] <= FORWARD_LIMIT and moved["backward"] <= BACKWARD_LIMIT
        assert moved["labels"] == 0 and "unstable" not in result


def test_names_are_unique() -> None:
    for family, make_cases in FAMILIES.items():
        names = [case.name for case in make_cases()]
        assert len(names) == len(set(names)), family

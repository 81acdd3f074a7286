"""The goldens: a few cases of every kind and a sample of their numbers, which are committed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from conformance import folders, recordings
from conformance.case import Case
from conformance.cases import FAMILIES

FOLDER = folders.GOLDENS / "cases"
SAMPLE = 24  # the numbers kept of an array of more than 120
# Bytes of numbers, before compression, for a layer type and for kinds of nets.
ROOM, ROOM_OF = (
    20_000,
    {
        "random nets": 1_100_000,
        "random nets, not forced": 250_000,
        "whole nets": 80_000,
        "edited blobs": 40_000,
        "need_backward": 60_000,
        "reshape": 60_000,
        "forward(start, end)": 60_000,
        "backward(start, end)": 60_000,
        "Convolution": 50_000,
        "Deconvolution": 50_000,
        "Pooling": 50_000,
    },
)


def sample(array: np.ndarray) -> np.ndarray:
    """Numbers from all over an array, or all of a small one."""
    flat = array.ravel()
    return flat if flat.size <= 120 else flat[np.linspace(0, flat.size - 1, SAMPLE).astype(np.int64)]


def golden(case: Case, result: dict[str, Any]) -> dict[str, Any]:
    """A sample of a recording, without what the case itself says: inputs and unchanging parameters."""

    def told(key: str) -> bool:
        kind, name = key.split("/")[1:3]
        changes = case.solver or "BatchNorm" in case.text or "save_load" in [step[0] for step in case.steps]
        return (kind == "data" and name in case.inputs) or (kind == "param" and not changes)

    arrays = {key: sample(array) for key, array in result["arrays"].items() if not told(key)}
    return dict(result, arrays=arrays, sampled=True)


def write(source: Path) -> None:
    """Choose the goldens from the recordings in ``source``."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    total = kept = 0
    for family, make_cases in FAMILIES.items():
        results = recordings.load(source / f"{family}.npz")
        chosen = _choose(make_cases(), results)
        path = FOLDER / f"{family}.npz"
        recordings.save(path, chosen, compress=True)
        kept += len(chosen)
        total += os.path.getsize(path)
        print(f"{family:14} {len(chosen):4} of {len(results):4} cases, {os.path.getsize(path) // 1000} kB")
    print(f"{kept} cases, {total / 1e6:.2f} MB")


def _choose(cases: list[Case], results: dict[str, Any]) -> dict[str, Any]:
    """A few cases of every row, spread over the row's list, as many as there is room for."""
    by_row: dict[str, list[Case]] = {}
    for case in cases:
        by_row.setdefault(case.layer, []).append(case)
    chosen = {}
    for row, of_row in by_row.items():
        room = ROOM_OF.get(row, ROOM)
        # Every seventh, then what lies between: neighbours in the list differ little.
        for case in [case for first in range(7) for case in of_row[first::7]]:
            result = golden(case, results[case.name])
            size = sum(array.nbytes for array in result["arrays"].values())
            if size <= min(room, ROOM_OF.get(row, ROOM) / 2):
                chosen[case.name] = result
                room -= size
    return chosen

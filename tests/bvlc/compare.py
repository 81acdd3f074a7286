#!/usr/bin/env python3
"""Compares the embedded Caffe with recordings of BVLC Caffe, and writes the table of what was found.

python tests/bvlc/compare.py [--recordings DIR] [--only FAMILY ...] [--match TEXT]
    python tests/bvlc/compare.py --recordings DIR --table docs/faithfulness.md
python tests/bvlc/compare.py --recordings DIR --write-goldens     the small subset that is committed
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from dataclasses import dataclass, field
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(os.path.dirname(HERE))]

import numpy as np  # noqa: E402
import recordings  # noqa: E402
from cases import FAMILIES  # noqa: E402
from net_case import Case  # noqa: E402
from run_case import Run  # noqa: E402

from caffe_gp.errors import CaffeGPError  # noqa: E402

FORWARD_LIMIT, BACKWARD_LIMIT = 1e-5, 1e-4
# Below this a blob counts as rounding noise around zero: errors are relative to at least this much.
FLOOR = 1e-3
GOLDENS = os.path.join(HERE, "goldens")


@dataclass
class Outcome:
    """What comparing one case gave. ``problems`` is empty where all is well."""

    forward: float = 0.0
    backward: float = 0.0
    problems: list[str] = field(default_factory=list)


def relative_error(ours: np.ndarray, theirs: np.ndarray, least: float = FLOOR) -> float:
    """max|a - b| / max(max|b|, least); infinities and NaNs at the same places count as equal."""
    if not theirs.size:
        return 0.0
    finite = np.isfinite(theirs)
    if not np.array_equal(finite, np.isfinite(ours)) or not np.array_equal(
        ours[~finite], theirs[~finite], equal_nan=True
    ):
        return float("inf")
    if not finite.any():
        return 0.0
    a, b = ours[finite].astype(np.float64), theirs[finite].astype(np.float64)
    return float(np.abs(a - b).max() / max(np.abs(b).max(), least))


def compare_case(caffe: Any, case: Case, recorded: dict[str, Any]) -> Outcome:
    """Run ``case`` on the embedded Caffe and hold it against its recording."""
    outcome = Outcome()
    if recorded["fingerprint"] != case.fingerprint:
        outcome.problems.append("the recording is of an older version of this case: run 'make test-bvlc'")
        return outcome
    error = None
    with tempfile.TemporaryDirectory() as folder:
        try:
            run = Run(caffe, case, folder).run()
        except CaffeGPError as caught:
            error = caught
        except Exception as crash:
            outcome.problems.append(f"the embedded Caffe crashes: {crash!r}")
            return outcome
    if "error" in recorded:
        if error is None and case.ours != "accepts":
            outcome.problems.append(
                "BVLC Caffe refuses this ({}), the embedded Caffe accepts it".format(recorded["error"])
            )
        return outcome
    if error is not None and case.ours == "refuses":
        return outcome
    if error is not None:
        outcome.problems.append(f"BVLC Caffe accepts this, the embedded Caffe says: {error}")
        return outcome
    for key, theirs in recorded["structure"].items():
        if run.structure[key] != theirs:
            outcome.problems.append(f"{key}: expected {theirs}, found {run.structure[key]}")
    # A bias' diff is a sum whose terms may cancel to nothing (below a Softmax, say), so the diffs of a
    # layer's parameters are measured against the largest of them.
    largest: dict[str, float] = {}
    for key, array in recorded["arrays"].items():
        if "/param_diff/" in key and array.size and np.isfinite(array).all():
            of_layer = key.rsplit("/", 1)[0]
            largest[of_layer] = max(largest.get(of_layer, FLOOR), float(np.abs(array).max()))
    arrays = run.arrays
    if recorded.get("sampled"):
        arrays = {key: sample(array) for key, array in arrays.items() if key in recorded["arrays"]}
    for key in list(recorded["arrays"]) + [key for key in arrays if key not in recorded["arrays"]]:
        least = largest.get(key.rsplit("/", 1)[0], FLOOR)
        compare_array(key, arrays.get(key), recorded["arrays"].get(key), least, outcome)
    return outcome


def compare_array(
    key: str, ours: np.ndarray | None, theirs: np.ndarray | None, least: float, outcome: Outcome
) -> None:
    if ours is None or theirs is None or ours.shape != theirs.shape:
        outcome.problems.append(
            "{}: expected {}, found {}".format(
                key, "nothing" if theirs is None else theirs.shape, "nothing" if ours is None else ours.shape
            )
        )
        return
    error = relative_error(ours, theirs, least)
    if "/diff/" in key or "/param_diff/" in key:
        outcome.backward, limit = max(outcome.backward, error), BACKWARD_LIMIT
    else:
        outcome.forward, limit = max(outcome.forward, error), FORWARD_LIMIT
    if not error <= limit:
        outcome.problems.append(f"{key}: relative error {error:.2e}, limit {limit:.0e}")
    blob = key.split("/")[-1]
    if "/data/" in key and blob in ("score", "prob") and ours.ndim > 1:  # the label map
        different = int((ours.argmax(1) != theirs.argmax(1)).sum())
        if different:
            outcome.problems.append("%s: %d labels differ" % (key, different))


def embedded() -> Any:
    """The embedded Caffe, on one thread and without its warnings about unusual nets."""
    import torch

    import caffe_gp.caffe

    logging.getLogger("caffe").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    return caffe_gp.caffe


# ---- the table


def write_table(path: str, rows: dict[str, list[Outcome]], refused: int) -> None:
    """docs/faithfulness.md: the largest errors of every layer type."""
    total = sum(map(len, rows.values()))
    lines = [
        "# How close the embedded Caffe is to BVLC Caffe",
        "",
        "Generated by `make faithfulness` from what `make test-bvlc` recorded on BVLC Caffe 1.0 (Debian 11,",
        "CPU, OpenBLAS): the same net, weights and inputs on both; every blob's data and diff and every",
        "parameter's diff compared after each pass. An error is max|a - b| / max|b| of one blob, with",
        f"{FLOOR:g} at least below the fraction; a parameter's diff is measured against the largest",
        "of its layer.",
        f"Required: at most {FORWARD_LIMIT:g} forward and {BACKWARD_LIMIT:g} backward, and the same labels.",
        "",
        "%d cases; in %d of them BVLC Caffe refuses the net and so does the embedded Caffe."
        % (total, refused),
        "",
        "| layer or kind of net | cases | largest error forward | backward | outside the limits |",
        "|---|---:|---:|---:|---:|",
    ]
    for name in sorted(rows):
        outcomes = rows[name]
        lines.append(
            "| %s | %d | %.1e | %.1e | %d |"
            % (
                name,
                len(outcomes),
                max(o.forward for o in outcomes),
                max(o.backward for o in outcomes),
                sum(bool(o.problems) for o in outcomes),
            )
        )
    with open(path + ".partial", "w") as file:
        file.write("\n".join(lines) + "\n")
    os.replace(path + ".partial", path)


# ---- goldens

SAMPLE = 24  # the numbers kept of an array of more than 120
# Bytes of numbers, before compression, for a layer type and for kinds of nets.
ROOM, ROOM_OF = (
    20_000,
    {
        "random nets": 1_100_000,
        "random nets, not forced": 250_000,
        "whole nets": 80_000,
        "edited blobs": 40_000,
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


def write_goldens(source: str) -> None:
    """Keep a few cases of every row, spread over the row's list, as many as there is room for."""
    os.makedirs(GOLDENS, exist_ok=True)
    total = kept = 0
    for family, make_cases in FAMILIES.items():
        results = recordings.load(os.path.join(source, family + ".npz"))
        by_row: dict[str, list[Case]] = {}
        for case in make_cases():
            by_row.setdefault(case.layer, []).append(case)
        chosen = {}
        for row, cases in by_row.items():
            room = ROOM_OF.get(row, ROOM)
            # Every seventh, then what lies between: neighbours in the list differ little.
            for case in [case for first in range(7) for case in cases[first::7]]:
                result = golden(case, results[case.name])
                size = sum(array.nbytes for array in result["arrays"].values())
                if size <= min(room, ROOM_OF.get(row, ROOM) / 2):
                    chosen[case.name] = result
                    room -= size
        path = os.path.join(GOLDENS, family + ".npz")
        recordings.save(path, chosen, compress=True)
        kept += len(chosen)
        total += os.path.getsize(path)
        print(
            "%-14s %4d of %4d cases, %d kB"
            % (family, len(chosen), len(results), os.path.getsize(path) // 1000)
        )
    print("%d cases, %.2f MB" % (kept, total / 1e6))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--recordings", default=GOLDENS, help="folder of recordings (default: the committed goldens)"
    )
    parser.add_argument(
        "--only", nargs="+", choices=list(FAMILIES), default=list(FAMILIES), help="families to compare"
    )
    parser.add_argument("--match", default="", help="only cases with this text in their name")
    parser.add_argument("--table", help="write the table to this file")
    parser.add_argument(
        "--write-goldens", action="store_true", help="choose the committed goldens from the recordings"
    )
    args = parser.parse_args()
    if args.write_goldens:
        write_goldens(args.recordings)
        return 0
    caffe, rows, refused, bad = embedded(), {}, 0, 0
    for family in args.only:
        results = recordings.load(os.path.join(args.recordings, family + ".npz"))
        for case in FAMILIES[family]():
            if args.match in case.name and case.name in results:
                outcome = compare_case(caffe, case, results[case.name])
                rows.setdefault(case.layer, []).append(outcome)
                refused += case.refused
                bad += bool(outcome.problems)
                if outcome.problems:
                    print("\n".join([case.name] + ["    " + problem for problem in outcome.problems]))
    for name in sorted(rows):
        print(
            "%-28s %4d cases  forward %.1e  backward %.1e  bad %d"
            % (
                name,
                len(rows[name]),
                max(o.forward for o in rows[name]),
                max(o.backward for o in rows[name]),
                sum(bool(o.problems) for o in rows[name]),
            )
        )
    print("%d cases, %d outside the limits" % (sum(map(len, rows.values())), bad))
    if args.table:
        write_table(args.table, rows, refused)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

"""Records what BVLC Caffe computes for every case; runs inside its file system (tools/in_bvlc.sh).

Usage:

    tools/in_bvlc.sh python3 -m conformance.record [--out DIR] [--only FAMILY ...]

A case whose numbers change by more than the limits when everything in it moves by a rounding error's size
(``moves``) is refused and gets other values: its seed is raised until it is stable.
The recording says which seed it was made with.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from caffe_gp import engines
from conformance import folders, recordings
from conformance.case import Case
from conformance.cases import FAMILIES
from conformance.run_case import Run
from conformance.stability import own_change

SEEDS = 10
# Nets live as long as their process: some cases scribble over memory, and BVLC Caffe dies freeing it.
_kept: list[Run] = []


def record(caffe: Any, case: Case) -> dict[str, Any]:
    """What BVLC Caffe computes for a case, with the first seed that makes it stable, or its error.

    'moved' is how far the case moves by itself; 'unstable' is there if no seed makes it stable.
    """
    for seed in range(SEEDS):
        case = replace(case, seed=seed)
        result: dict[str, Any] = {"fingerprint": case.fingerprint, "seed": seed}
        try:
            with tempfile.TemporaryDirectory() as folder:
                result.update(engines.run_guarded(_run, caffe, case, folder))
        except Exception as error:  # pycaffe raises RuntimeError and the like, and a CHECK is an EngineError
            return {**result, "error": f"{type(error).__name__}: {error}"}
        change = own_change(caffe, case, result["arrays"])
        result["moved"] = {"forward": change.forward, "backward": change.backward, "labels": change.labels}
        if not change.problems:
            return result
        print(f"{case.name}\n    seed {seed} is unstable: {change.problems[0]}", flush=True)
    return {**result, "unstable": True}


def _run(caffe: Any, case: Case, folder: str) -> dict[str, Any]:
    _kept.append(Run(caffe, case, folder).run())
    return {"structure": _kept[-1].structure, "arrays": _kept[-1].arrays}


def _unexpected(case: Case, result: dict[str, Any]) -> str:
    """What is wrong with the result; empty if nothing is."""
    if "unstable" in result:
        return (
            f"refused: none of {SEEDS} seeds makes it stable. Change the case, or leave out with 'skip' what "
            "ties decide"
        )
    if ("error" in result) != (case.refused or case.ours == "accepts"):
        return result.get("error", "was expected to be refused, but is accepted")
    return ""


def main() -> int:
    """Record; nonzero if a case did not go as expected."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=folders.RECORDINGS, help="folder of the recordings")
    parser.add_argument(
        "--only", nargs="+", choices=list(FAMILIES), default=list(FAMILIES), help="families to record"
    )
    parser.add_argument("--again", action="store_true", help="also the cases that are recorded already")
    args = parser.parse_args()
    import caffe

    args.out.mkdir(parents=True, exist_ok=True)
    unexpected = 0
    for family in args.only:
        path, start = args.out / f"{family}.npz", time.time()
        known = recordings.load(path) if path.exists() and not args.again else {}
        results, new = {}, 0
        for case in FAMILIES[family]():
            result = known.get(case.name)
            if result is None or result["fingerprint"] != case.fingerprint:
                result, new = record(caffe, case), new + 1
            problem = _unexpected(case, result)
            if problem:
                unexpected += 1
                print(f"{case.name}\n    {problem}", flush=True)
            if "unstable" not in result:
                results[case.name] = result
        recordings.save(path, results)
        print(f"{family:14} {len(results):4} cases, {new:4} new, {time.time() - start:.1f} s", flush=True)
    if unexpected:
        print(f"{unexpected} cases did not go as expected on BVLC Caffe")
    return 1 if unexpected else 0


if __name__ == "__main__":
    sys.exit(main())

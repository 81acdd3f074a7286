"""Records what BVLC Caffe computes for every case; runs inside its file system (tools/in_bvlc.sh).

tools/in_bvlc.sh python3 -m conformance.record [--out DIR] [--only FAMILY ...]
"""

from __future__ import annotations

import argparse
import os
import pickle
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from conformance import folders, recordings
from conformance.case import Case
from conformance.cases import FAMILIES
from conformance.run_case import Run


def last_words(log: str) -> str:
    """Caffe's message in the log of a process that it aborted."""
    fatal = [line for line in log.splitlines() if line.startswith("F") or "Check failed" in line]
    return (fatal or log.strip().splitlines() or ["no message"])[0].split("] ", 1)[-1]


def record_in_child(caffe: Any, case: Case) -> dict[str, Any]:
    """Run a case in a forked child, so that an abort loses this case only."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as log:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            os.dup2(log.fileno(), 2)
            os.dup2(log.fileno(), 1)
            try:
                run = Run(caffe, case, folder).run()
                answer = {"structure": run.structure, "arrays": run.arrays}
            except BaseException as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            with os.fdopen(writer, "wb") as pipe:
                pickle.dump(answer, pipe, protocol=4)
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            data = pipe.read()
        os.waitpid(child, 0)
        if data:
            answer = pickle.loads(data)
        else:
            log.seek(0)
            answer = {"error": "abort: " + last_words(log.read().decode(errors="replace"))}
    answer["fingerprint"] = case.fingerprint
    return answer


def main() -> int:
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
                result, new = record_in_child(caffe, case), new + 1
            if ("error" in result) != (case.refused or case.ours == "accepts"):
                unexpected += 1
                print(
                    "{}\n    {}".format(
                        case.name, result.get("error", "was expected to be refused, but is accepted")
                    )
                )
            results[case.name] = result
        recordings.save(path, results)
        print(
            "%-14s %4d cases, %4d new, %.1f s" % (family, len(results), new, time.time() - start), flush=True
        )
    if unexpected:
        print("%d cases did not go as expected on BVLC Caffe" % unexpected)
    return 1 if unexpected else 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m fuzz TARGET`: fuzz a target; `--replay [FILE...]`: give it the seeds, or files, once."""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from typing import Sequence

ROOT = Path(__file__).resolve().parent.parent
# What fuzzing keeps, a folder a target: its corpus, and the inputs that crashed it.
KEPT = ROOT / ".cache" / "fuzz"
_MOST_BYTES = 1 << 16  # of an input
_ENDLESS_SECONDS = 60  # by the clock, for one input
_SAME_ADDRESSES = ("setarch", "--addr-no-randomize")
_RSS_MB = 4096  # of the whole process, which PyTorch's own 200 and the corpus are part of


def main() -> int:
    """0, or 1 where something was found, or 2 for what cannot be run."""
    from fuzz.limits import MAX_BYTES

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["CAFFE_GP_MAX_BYTES"] = str(MAX_BYTES)
    from fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("target", nargs="?", default="", help=f"one of: {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=int, default=60, help="how long to fuzz (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=-1, help="or how many inputs")
    parser.add_argument("--seed", type=int, default=0, help="of what is tried (default: another each time)")
    parser.add_argument("--replay", nargs="*", metavar="FILE", help="try these files once, or all seeds")
    options = parser.parse_args()
    if options.replay is not None and not options.target:
        return max(replay(name, []) for name in TARGETS)
    if options.target not in TARGETS:
        found = f"no target '{options.target}'" if options.target else "no target is given"
        print(f"fuzz: {found}; the targets are", file=sys.stderr)
        print("\n".join(f"  {name:<14} {one.about}" for name, one in TARGETS.items()), file=sys.stderr)
        print("for example: make fuzz TARGET=net_build SECONDS=60", file=sys.stderr)
        return 2
    if options.replay is not None:
        return replay(options.target, options.replay)
    if importlib.util.find_spec("atheris") is None:
        print("fuzz: atheris is missing: pip install --constraint constraints.txt '.[fuzz]'", file=sys.stderr)
        return 2
    return fuzz(options.target, options.seconds, options.runs, options.seed)


def replay(target: str, files: Sequence[str]) -> int:
    """Give a target the files, or all that is kept for it, once; 1 if one of them is a finding."""
    from fuzz.corpus import write_seeds
    from fuzz.limits import bounded
    from fuzz.targets import TARGETS, compile_kernels

    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    paths = [Path(file).resolve() for file in files]
    here, act, failed = os.getcwd(), bounded(TARGETS[target].run), 0
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        os.chdir(folder)
        compile_kernels()
        if not paths:
            write_seeds(target, Path("seeds"))
            paths = sorted(Path("seeds").resolve().iterdir())
        for path in paths:
            try:
                act(path.read_bytes())
            except BaseException:  # a SystemExit is a finding, too
                failed += 1
                print(f"\n{path}:\n{traceback.format_exc()}", file=sys.stderr)
        os.chdir(here)
    print(f"{target:<14} {len(paths):6} inputs, {failed} findings", flush=True)
    return int(failed > 0)


def fuzz(target: str, seconds: int, runs: int, seed: int) -> int:
    """Fuzz in a child process; says what was found, where it lies, and how to see it again."""
    from fuzz.corpus import write_seeds

    corpus, crashes = KEPT / target / "corpus", KEPT / target / "crashes"
    crashes.mkdir(parents=True, exist_ok=True)
    here = os.getcwd()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        os.chdir(folder)  # seeds are made with the help of files
        write_seeds(target, corpus)
        os.chdir(here)
    before = set(crashes.iterdir())
    command = [sys.executable, "-m", "fuzz.one", target, str(corpus), f"-artifact_prefix={crashes}/"]
    command += [f"-max_total_time={seconds}", f"-runs={runs}", f"-timeout={_ENDLESS_SECONDS}"]
    command += [f"-rss_limit_mb={_RSS_MB}", f"-max_len={_MOST_BYTES}", f"-seed={seed}"]
    command += ["-print_final_stats=1", "-verbosity=1", "-reload=0"]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {**os.environ, "PYTHONPATH": path}
    if seed:  # hashes and addresses, by which sets are ordered, are part of what is tried
        env["PYTHONHASHSEED"] = str(seed)
        command = [*_same_addresses(), *command]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace", env=env)
    stats = dict(re.findall(r"stat::(\w+):\s*(\d+)", done.stderr))
    executions, rate = stats.get("number_of_executed_units", "?"), stats.get("average_exec_per_sec", "?")
    print(f"{target:<14} {executions} executions, {rate} a second", flush=True)
    if done.returncode == 0:
        return 0
    print(done.stderr[-4000:], file=sys.stderr)
    for crash in sorted(set(crashes.iterdir()) - before):
        print(
            f"fuzz: kept {crash}; to see it again: python -m fuzz {target} --replay {crash}", file=sys.stderr
        )
    return 1


def _same_addresses() -> Sequence[str]:
    """What a command begins with to get the same addresses each time; nothing where that is not allowed."""
    if not shutil.which(_SAME_ADDRESSES[0]):
        return ()
    tried = subprocess.run([*_SAME_ADDRESSES, "true"], stderr=subprocess.DEVNULL)
    return _SAME_ADDRESSES if tried.returncode == 0 else ()  # in many containers it is not


if __name__ == "__main__":
    sys.exit(main())

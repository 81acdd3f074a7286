"""Benchmarks run each measurement in a process of its own; these start them, here or beside BVLC Caffe."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Sequence

from .folders import BVLC_ROOT, ROOT


def bvlc_is_here() -> bool:
    """Whether the file system of ``make bvlc`` is there."""
    return (BVLC_ROOT / ".caffe_gp_stamp").exists()


class OutOfMemory(Exception):
    """A worker needed more memory than it was allowed."""


def run_worker(command: Sequence[str], *, bvlc: bool, threads: int) -> dict:
    """Run a module (its dotted name, arguments) in a process of its own, return the JSON of its last line.

    bvlc: in the file system of ``make bvlc``. Raises OutOfMemory (see ``limit_memory``); if the worker fails
    otherwise, ends the program with its last words.
    """
    python = ["tools/in_bvlc.sh", "python3"] if bvlc else [sys.executable]
    settings = {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    settings["OPENBLAS_CORETYPE"] = core_type()
    env = {**os.environ, **{name: value for name, value in settings.items() if value}}
    done = subprocess.run([*python, "-m", *command], cwd=ROOT, env=env, capture_output=True, text=True)
    if done.returncode and re.search("alloc|MemoryError", done.stderr[-3000:]):  # C++, torch, Python
        raise OutOfMemory(f"{' '.join(command)}: {done.stderr[-3000:]}")
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def memory_limit_gb() -> int:
    """What a worker may use: seven eighths of the machine's memory, so that the rest of it can go on."""
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 7 / 8 / 1e9)


def limit_memory() -> None:
    """Make this process fail where it would need more than ``memory_limit_gb``."""
    limit = memory_limit_gb() * 10**9
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def peak_gb() -> float:
    """Largest memory of this process so far, in GB (VmHWM: getrusage's figure starts with the parent's)."""
    return memory_bytes("VmHWM") / 1e9


def memory_bytes(field: str) -> int:
    """A memory field of /proc/self/status (VmRSS: now, VmHWM: at most so far) in bytes."""
    with open("/proc/self/status") as stream:
        for line in stream:
            if line.startswith(field):
                return int(line.split()[1]) * 1024
    sys.exit("this benchmark needs Linux's /proc/self/status")


def core_type() -> str:
    """The kernels that OpenBLAS is told to use; empty to let it choose.

    Debian 11's OpenBLAS does not know processors newer than itself and runs its slowest kernels there,
    several times slower; unless OPENBLAS_CORETYPE is set, it gets the best ones that the processor's flags
    allow.
    """
    flags = _cpu_flags()
    known = [core for flag, core in (("avx512vl", "SkylakeX"), ("avx2", "Haswell")) if flag in flags]
    return os.environ.get("OPENBLAS_CORETYPE", known[0] if known else "")


def _cpu_flags() -> list[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    return next((line.split(":")[1].split() for line in lines if line.startswith("flags")), [])

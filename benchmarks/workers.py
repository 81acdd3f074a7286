"""Benchmarks run each measurement in a process of its own; these start them, here or beside another Caffe."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys

from conformance import opencv

from .facts import core_type
from .folders import BVLC_ROOT, ROOT
from .measure import Setting


class OutOfMemory(Exception):
    """A worker needed more memory than it was allowed."""


def bvlc_is_here() -> bool:
    """Whether the file system of ``make bvlc`` is there."""
    return (BVLC_ROOT / ".caffe_gp_stamp").exists()


def why_missing(way: str) -> str:
    """Why a way cannot be measured here; empty if it can. A way's name begins with what it runs on."""
    if way.startswith("bvlc") and not bvlc_is_here():
        return f"{way}: not measured, because `.cache/bvlc` is missing (`make bvlc`)"
    if way.startswith("opencv") and not opencv.version():
        return f"{way}: not measured, because `.cache/opencv` is missing (`python -m conformance.opencv`)"
    return ""


def run_worker(module: str, way: str, setting: Setting, *arguments: str) -> dict | None:
    """Run a benchmark (its dotted name) with ``--worker way`` in a process of its own.

    Returns the JSON of its last line; None where the way is missing. Raises OutOfMemory (see
    ``limit_memory``); if the worker fails otherwise, ends the program with its last words.
    """
    if why_missing(way):
        return None
    command = ["-m", module, "--worker", way, "--settings", str(setting), *arguments]
    done = subprocess.run(
        [*_python(way), *command], cwd=ROOT, env=environment(setting), capture_output=True, text=True
    )
    if done.returncode and re.search("alloc|MemoryError", done.stderr[-3000:]):  # C++, torch, Python
        raise OutOfMemory(f"{' '.join(command)}: {done.stderr[-3000:]}")
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def environment(setting: Setting) -> dict[str, str]:
    """The environment of a process that is to use so many threads."""
    found = {**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(setting.threads))}
    return {**found, "OPENBLAS_CORETYPE": core_type()} if core_type() else found


def _python(way: str) -> list[str]:
    if way.startswith("bvlc"):
        return ["tools/in_bvlc.sh", "python3"]
    return [str(opencv.PYTHON) if way.startswith("opencv") else sys.executable]


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

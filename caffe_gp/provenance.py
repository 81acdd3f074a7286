"""What a reported number must say about its origin: code version, machine, time."""

from __future__ import annotations

import datetime
import functools
import os
import platform
import subprocess
from pathlib import Path

import caffe_gp

COMMIT_VARIABLE = "CAFFE_GP_COMMIT"
DEVICE_VARIABLE = "CAFFE_GP_DEVICE"  # the tools' default device; see also caffe.mode
PRECISIONS = ("float32", "tf32", "bf16")  # of the embedded Caffe: see caffe.precision


@functools.lru_cache(maxsize=None)
def code_version() -> str:
    """The package's version, with the commit (and '+' for local changes) when run from a checkout.

    A Docker image has no .git: its build leaves the commit in CAFFE_GP_COMMIT. Asked once a process: what
    runs is what was imported.
    """
    version = getattr(caffe_gp, "__version__", "0")
    root = Path(caffe_gp.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return f"{version} {os.environ.get(COMMIT_VARIABLE, '')}".strip()
    try:
        git = ["git", "-C", str(root)]
        commit = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, timeout=10)
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return version
    if commit.returncode:
        return version
    return f"{version} {commit.stdout.decode().strip()}{'+' if changed.stdout.strip() else ''}"


def cpu_name() -> str:
    """The processor's name as the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def gpu_name(device_id: int) -> str:
    """The name of a CUDA device as its driver tells it, or its number."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    if visible != [""] and device_id < len(visible):
        selected = visible[device_id].strip()
    else:
        selected = str(device_id)
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader", "-i", selected]
    try:
        answer = subprocess.run(query, capture_output=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return f"CUDA device {device_id}"
    return answer.stdout.decode().strip() if answer.returncode == 0 else f"CUDA device {device_id}"


def now() -> str:
    """The time, UTC, ISO 8601 to the second."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")

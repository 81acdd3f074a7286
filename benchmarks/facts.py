"""What a measured figure must say about the machine that it is from."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

from caffe_gp.provenance import code_version, cpu_name, now
from conformance import opencv

from .folders import BVLC_ROOT

# Of the processor's flags, those that decide which kernels are used.
INSTRUCTION_SETS = ("avx2", "fma", "avx512f", "avx512vl", "avx512_vnni", "avx512_bf16", "amx_tile")
PACKAGES = ("torch", "numba", "numpy", "pydensecrf2", "protobuf")
# Variables of the environment that change which kernels are used.
VARIABLES = ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "NUMBA_NUM_THREADS", "MKL_NUM_THREADS")


def facts() -> dict[str, str]:
    """The machine and its state, the versions of all that is measured, the commit and the date."""
    flags = cpu_flags()
    found = {
        "date": now(),
        "commit": code_version(),
        "processor": cpu_name(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.0f} GB",
        "instruction sets": " ".join(name for name in INSTRUCTION_SETS if name in flags) or "unknown",
        "load before": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "Python": platform.python_version(),
    }
    found.update({name: _installed(name) for name in PACKAGES})
    found["OpenCV"] = opencv.version() or "not here"
    debian = _debian_packages()
    found["BVLC Caffe"] = debian.get("python3-caffe", "not here")
    found["its OpenBLAS"] = debian.get("libopenblas0-pthread", "not here")
    found["its OPENBLAS_CORETYPE"] = core_type() or "not set"
    found.update({name: os.environ[name] for name in VARIABLES if name in os.environ})
    return found


def core_type() -> str:
    """The kernels that OpenBLAS is told to use; empty to let it choose.

    Debian 11's OpenBLAS does not know processors newer than itself and runs its slowest kernels there,
    several times slower; unless OPENBLAS_CORETYPE is set, it gets the best ones that the processor's flags
    allow.
    """
    flags = cpu_flags()
    known = [core for flag, core in (("avx512vl", "SkylakeX"), ("avx2", "Haswell")) if flag in flags]
    return os.environ.get("OPENBLAS_CORETYPE", known[0] if known else "")


def cpu_flags() -> list[str]:
    """The first processor's, as Linux tells them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    return next((line.split(":")[1].split() for line in lines if line.startswith("flags")), [])


def _installed(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not here"


def _debian_packages() -> dict[str, str]:
    """Package -> version in the file system of ``make bvlc``; Debian's version of Caffe names its commit."""
    status = BVLC_ROOT / "var/lib/dpkg/status"
    if not status.is_file():
        return {}
    found = {}
    for paragraph in status.read_text(encoding="utf-8", errors="replace").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line[1:])
        if "Package" in fields and "Version" in fields:
            found[fields["Package"]] = f"Debian {fields['Version']}"
    return found

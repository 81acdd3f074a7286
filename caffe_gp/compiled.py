"""numba, as this package uses it: its number of threads, and where it keeps compiled kernels."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

# numba knows only its own variable, which must not change once it runs; and when its threads start they give
# OpenMP, so PyTorch too, their own number.
if "numba" not in sys.modules and os.environ.get("OMP_NUM_THREADS", "").isdigit():
    os.environ.setdefault("NUMBA_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

# ruff: noqa: E402
import numba
from numba import config as numba_config
from numba import njit, prange

__all__ = ["ANY_ORDER", "CACHE", "announce", "njit", "prange"]
log = logging.getLogger(__name__)

config: Any = numba_config  # its values come from the environment, so type checkers know none of them

# Before 0.56 (Debian 11 has 0.52) compiled code is right only for up to as many threads as it was compiled
# for; with more, the last threads' share of the work is left out without a word. So each number of threads
# has a folder of its own.
_ANY_THREADS = hasattr(numba, "set_parallel_chunksize")
if not _ANY_THREADS and config.CACHE_DIR:
    config.CACHE_DIR = os.path.join(config.CACHE_DIR, f"{config.NUMBA_NUM_THREADS}_threads")


def _has_a_folder() -> bool:
    """Whether numba finds a folder for this package's code: NUMBA_CACHE_DIR, beside the code, or in HOME.

    A read-only installation without a writable HOME has none. A folder in /tmp would not do: what lies there
    is loaded and run, and others can write there.
    """
    try:
        njit(cache=True)(_nothing)
    except RuntimeError:  # numba: no locator available
        return False
    return True


def _nothing() -> None:
    pass


#: The ``cache`` of every ``njit`` here; without it kernels are compiled in every process, some seconds. Old
#: versions without a folder (NUMBA_CACHE_DIR) compile every time.
CACHE = (_ANY_THREADS or bool(config.CACHE_DIR)) and _has_a_folder()


#: The ``fastmath`` of kernels whose sums may be taken in any order; infinities and NaN stay what they are.
ANY_ORDER = {"contract", "reassoc", "nsz"}


def announce(what: str, *kernels: Any) -> None:
    """Say so where kernels, made by ``njit``, are not compiled yet: their first call takes some seconds."""
    if not all(CACHE and _is_kept(kernel) for kernel in kernels):
        log.warning("compiling %s: once on this machine, some seconds", what)


def _is_kept(kernel: Any) -> bool:
    function = kernel.py_func
    code = function.__code__
    name = f"{Path(code.co_filename).stem}.{function.__qualname__}-{code.co_firstlineno}.*.nbi"
    return any(Path(kernel.stats.cache_path).glob(name))

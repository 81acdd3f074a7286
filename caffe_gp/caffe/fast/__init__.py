"""Fast paths of the layers: small pieces, each tested against the plain path.

Which path a layer takes depends on shapes and on CAFFE_GP_OPTIMIZE alone, never on a timing, so results
repeat.
"""

from __future__ import annotations

import logging
import os
from functools import cache

from caffe_gp.errors import UsageError

VARIABLE = "CAFFE_GP_OPTIMIZE"
log = logging.getLogger(__name__)


def wanted() -> bool:
    """Unless CAFFE_GP_OPTIMIZE is 0. UsageError for another value than 0 and 1."""
    text = os.environ.get(VARIABLE, "").strip()
    if text not in ("", "0", "1"):
        raise UsageError(f"environment variable {VARIABLE}={text!r}: expected 0 or 1")
    return text != "0"


def compiled() -> bool:
    """Whether those are taken that numba compiles; without it a warning says, once, what that costs."""
    return wanted() and _has_numba()


@cache
def _has_numba() -> bool:
    try:
        import caffe_gp.compiled  # noqa: F401
    except ImportError as error:
        log.warning("numba cannot be imported (%s): convolutions on the CPU take twice as long", error)
        return False
    return True

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
log = logging.getLogger("caffe")


def wanted() -> bool:
    """Whether fast paths are taken: not where CAFFE_GP_OPTIMIZE is 0, nor without numba, which compiles them.

    UsageError for another value than 0 and 1.
    """
    text = os.environ.get(VARIABLE, "1").strip() or "1"
    if text not in ("0", "1"):
        raise UsageError(f"environment variable {VARIABLE}={text!r}: expected 0 or 1")
    return text == "1" and _has_numba()


@cache
def _has_numba() -> bool:
    try:
        import caffe_gp.compiled  # noqa: F401
    except ImportError as error:
        log.warning("numba cannot be imported (%s): convolutions on the CPU take twice as long", error)
        return False
    return True

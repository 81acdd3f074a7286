"""Whether nets take the fast paths that they have beside the plain one; both are within the same bounds."""

from __future__ import annotations

import os

VARIABLE = "CAFFE_GP_OPTIMIZE"


def wanted() -> bool:
    """Unless the environment variable says 0."""
    return os.environ.get(VARIABLE, "").strip() != "0"

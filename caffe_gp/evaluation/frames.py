"""What results need to be shown as tables of pandas (``to_frame``)."""

from __future__ import annotations

from typing import Any

from caffe_gp.errors import CaffeGPError


def need_pandas() -> Any:
    """The module; CaffeGPError with what to do where it is not installed."""
    try:
        import pandas
    except ImportError as error:
        raise CaffeGPError(
            "to_frame() needs the Python package pandas: pip install 'caffe_gp[notebook]'. results.json and "
            "the attributes of these results hold the same numbers"
        ) from error
    return pandas

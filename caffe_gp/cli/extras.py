"""Packages that only some of the work needs: reported before it begins, with the line that installs them."""

from __future__ import annotations

import importlib.util

from caffe_gp.errors import CaffeGPError

#: Extra of pyproject.toml -> the modules that it brings.
EXTRAS = {
    "demo": ("sklearn", "skimage"),
    "cluster": ("ray",),
    "lmdb": ("lmdb",),
    "draw": ("pydot",),
    "completion": ("shtab",),
    "explore": ("gradio", "fastapi", "uvicorn"),
    "export": ("safetensors", "onnx", "onnxruntime"),
    "notebook": ("pandas",),
}


def need(extra: str, what: str) -> None:
    """CaffeGPError where a module of an extra is missing. ``what`` begins the message: 'the demo'."""
    missing = [module for module in EXTRAS[extra] if importlib.util.find_spec(module) is None]
    if missing:
        raise CaffeGPError(
            f"{what} needs the Python package(s) {', '.join(missing)}, not installed here: "
            f"pip install 'caffe_gp[{extra}]'"
        )

"""Where things live: the checkout, the folders of the weights and of the data, the files that ship.

    places.models_folder() / "fcn32s-heavy-pascal.caffemodel"
    places.data_folder() / "VOCdevkit"
    places.shipped("prototxt", "fcn-32s", "deploy.prototxt")

From a checkout everything lies in it; an installed package keeps weights and data in the user's cache folder.
"""

from __future__ import annotations

import os
from pathlib import Path

from caffe_gp.errors import CaffeGPError

# Environment variables that name other folders; an empty value counts as none.
MODELS_VARIABLE = "CAFFE_GP_MODELS"
DATA_VARIABLE = "CAFFE_GP_DATA"

_PACKAGE = Path(__file__).resolve().parents[1]


def checkout() -> Path | None:
    """The root of the checkout (or of a copy of it, as in the Docker images) that this package runs from.

    None for an installed package.
    """
    root = _PACKAGE.parent
    return root if (root / "setup.py").is_file() and (root / "prototxt").is_dir() else None


def models_folder() -> Path:
    """Where weights lie: what CAFFE_GP_MODELS names, else ``models`` of the checkout or of the cache folder.

    Raises CaffeGPError where the cache folder cannot be told.
    """
    return _folder(MODELS_VARIABLE, "models")


def data_folder() -> Path:
    """Where data sets lie: what CAFFE_GP_DATA names, else ``data`` of the checkout or of the cache folder.

    Raises CaffeGPError where the cache folder cannot be told.
    """
    return _folder(DATA_VARIABLE, "data")


def shipped(*parts: str) -> Path:
    """The path of a file that ships with the package: the prototxts, the weights that were trained here.

    parts   from the project's root: ``"models", "digits", "digits.caffemodel"``
    In a checkout the file itself. An installed package holds copies of some, so the file may not be there.
    """
    return (checkout() or _PACKAGE / "shipped").joinpath(*parts)


def _folder(variable: str, name: str) -> Path:
    named = os.environ.get(variable, "").strip()
    if named:
        return Path(named).expanduser()
    return (checkout() or _user_cache(variable)) / name


def _user_cache(variable: str) -> Path:
    try:
        import platformdirs  # Debian 11 has none: there the package always runs from a checkout
    except ImportError:
        raise CaffeGPError(
            "where to keep weights and data cannot be told without the Python package platformdirs (pip "
            f"install platformdirs); or name the folder yourself: {variable}=FOLDER"
        ) from None
    return Path(platformdirs.user_cache_dir("caffe_gp", appauthor=False))

"""Guided perturbations: a trained Caffe net corrects itself at test time (ICCV 2017).

    from caffe_gp import GuidedPerturbation, load_model

    digits = load_model("digits")                     # or load_net("deploy.prototxt", "net.caffemodel")
    canvas = digits.preprocess.load("photo.png")
    result = GuidedPerturbation(digits.net)(canvas.data[None], eps=3.0)
    labels = digits.preprocess.labels_to_image(result.labels[0][0], canvas)

The names in ``__all__`` are the public interface, and ``caffe_gp.caffe``, the embedded Caffe, is pycaffe's.
Every other module is internal: it may change from one version to the next.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Public name -> the module that it is imported from when it is first asked for. Type checkers read the list
# below; a test holds the two against each other.
_FROM = {
    "CaffeGPError": "errors",
    "DataError": "errors",
    "DownloadError": "errors",
    "ENCODINGS": "gp",
    "EngineError": "errors",
    "Evaluation": "evaluation.segmentation",
    "GPNet": "engines",
    "GPResult": "gp",
    "GuidedPerturbation": "gp",
    "LoadedModel": "models.load",
    "NetError": "errors",
    "OutOfMemoryError": "errors",
    "Preprocess": "images.preprocess",
    "PrototxtError": "errors",
    "RunResults": "evaluation.segmentation",
    "UnknownLayerTypeError": "errors",
    "UsageError": "errors",
    "WeightsError": "errors",
    "ZeroGradientError": "errors",
    "evaluate": "evaluation.segmentation",
    "load_model": "models.load",
    "load_net": "engines",
    "wrap_module": "engines.module",
}

__all__ = [
    "CaffeGPError",
    "DataError",
    "DownloadError",
    "ENCODINGS",
    "EngineError",
    "Evaluation",
    "GPNet",
    "GPResult",
    "GuidedPerturbation",
    "LoadedModel",
    "NetError",
    "OutOfMemoryError",
    "Preprocess",
    "PrototxtError",
    "RunResults",
    "UnknownLayerTypeError",
    "UsageError",
    "WeightsError",
    "ZeroGradientError",
    "__version__",
    "evaluate",
    "load_model",
    "load_net",
    "models",
    "wrap_module",
]


if TYPE_CHECKING:
    from caffe_gp import models as models
    from caffe_gp.engines import GPNet as GPNet
    from caffe_gp.engines import load_net as load_net
    from caffe_gp.engines.module import wrap_module as wrap_module
    from caffe_gp.errors import CaffeGPError as CaffeGPError
    from caffe_gp.errors import DataError as DataError
    from caffe_gp.errors import DownloadError as DownloadError
    from caffe_gp.errors import EngineError as EngineError
    from caffe_gp.errors import NetError as NetError
    from caffe_gp.errors import OutOfMemoryError as OutOfMemoryError
    from caffe_gp.errors import PrototxtError as PrototxtError
    from caffe_gp.errors import UnknownLayerTypeError as UnknownLayerTypeError
    from caffe_gp.errors import UsageError as UsageError
    from caffe_gp.errors import WeightsError as WeightsError
    from caffe_gp.errors import ZeroGradientError as ZeroGradientError
    from caffe_gp.evaluation.segmentation import Evaluation as Evaluation
    from caffe_gp.evaluation.segmentation import RunResults as RunResults
    from caffe_gp.evaluation.segmentation import evaluate as evaluate
    from caffe_gp.gp import ENCODINGS as ENCODINGS
    from caffe_gp.gp import GPResult as GPResult
    from caffe_gp.gp import GuidedPerturbation as GuidedPerturbation
    from caffe_gp.images.preprocess import Preprocess as Preprocess
    from caffe_gp.models.load import LoadedModel as LoadedModel
    from caffe_gp.models.load import load_model as load_model
else:  # not for type checkers: they would take every name for one that is there

    def __getattr__(name: str) -> Any:
        if name == "models":
            return importlib.import_module("caffe_gp.models")
        if name not in _FROM:
            raise AttributeError(f"module 'caffe_gp' has no attribute '{name}'")
        value = getattr(importlib.import_module(f"caffe_gp.{_FROM[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

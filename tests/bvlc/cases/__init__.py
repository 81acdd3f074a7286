"""Every comparison case, by family; a family is one recording file."""
from __future__ import annotations

from typing import Callable, Dict, List

from net_case import Case

from . import common, loss, neuron, normalisation, vision

FAMILIES: Dict[str, Callable[[], List[Case]]] = {
    "vision": vision.cases,
    "neuron": neuron.cases,
    "common": common.cases,
    "normalisation": normalisation.cases,
    "loss": loss.cases,
}

"""Every comparison case, by family; a family is one recording file."""

from __future__ import annotations

from typing import Callable

from conformance.case import Case
from conformance.cases import (
    common,
    data,
    loss,
    nets,
    neuron,
    normalisation,
    passes,
    random_nets,
    recurrent,
    solvers,
    vision,
)

FAMILIES: dict[str, Callable[[], list[Case]]] = {
    "vision": vision.cases,
    "neuron": neuron.cases,
    "common": common.cases,
    "normalisation": normalisation.cases,
    "loss": loss.cases,
    "recurrent": recurrent.cases,
    "data": data.cases,
    "nets": nets.cases,
    "passes": passes.cases,
    "random_nets": random_nets.cases,
    "solvers": solvers.cases,
}

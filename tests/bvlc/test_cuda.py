"""The comparison cases and the zoo's nets once more, computed on a CUDA device."""

from __future__ import annotations

from typing import Any, Iterator

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the embedded Caffe needs torch")

from caffe_gp.caffe import mode  # noqa: E402
from conformance import agreement, closeness  # noqa: E402
from conformance.case import Case  # noqa: E402
from conformance.networks import nets  # noqa: E402
from conformance.outcome import compare_case  # noqa: E402

from .test_compare import all_cases, caffe, recorded  # noqa: E402, F401
from .test_networks import CRF_FORWARD_LIMIT, FORWARD_LIMIT, GOLDENS, JUMPED_LABELS, JUMPS  # noqa: E402

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")


@pytest.fixture(autouse=True)
def on_the_device() -> Iterator[None]:
    mode.set_mode_gpu()
    assert mode.device().type == "cuda"
    yield
    mode.set_mode_cpu()


@pytest.mark.parametrize("family, case", all_cases())
def test_agrees_with_bvlc_caffe(caffe: Any, family: str, case: Case) -> None:  # noqa: F811
    outcome = compare_case(caffe, case, recorded(family)[case.name])
    assert not outcome.problems, "\n".join(outcome.problems)


@pytest.mark.parametrize("name", nets.SIZES)
def test_nets_agree_with_bvlc_caffe(name: str) -> None:
    theirs = GOLDENS[name]["arrays"]
    found = nets.run(name, "torch", seed=GOLDENS[name]["seed"])
    ours = agreement.sampled({kind: found[kind] for kind in theirs})
    limit = CRF_FORWARD_LIMIT if name in nets.BEFORE_CRF else FORWARD_LIMIT
    assert agreement.far_samples(ours["score"], theirs["score"], limit) == 0
    assert np.linalg.norm(ours["diff"] - theirs["diff"]) <= JUMPS * np.linalg.norm(theirs["diff"])
    assert closeness.differing(ours["moved"], theirs["moved"]) <= JUMPED_LABELS * theirs["moved"].size

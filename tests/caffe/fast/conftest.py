"""The same random numbers for every test, and its threads given back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _same_numbers() -> Iterator[None]:
    torch = pytest.importorskip("torch")  # where BVLC Caffe is, this file is read without it
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)

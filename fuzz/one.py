"""One target in this process, under libFuzzer: what ``python -m fuzz`` starts.

python -m fuzz.one TARGET CORPUS LIBFUZZER-OPTIONS...
"""

from __future__ import annotations

import logging
import os
import random
import sys
import tempfile
import warnings
from typing import Any

import atheris
import torch

with atheris.instrument_imports(include=["caffe_gp"]):
    from fuzz import mutate
    from fuzz.limits import bounded
    from fuzz.targets import TARGETS, compile_kernels


def main() -> None:
    """Does not return: libFuzzer ends the process, with 0 unless it found something."""
    name, corpus, *options = sys.argv[1:]
    target = TARGETS[name]
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    os.chdir(tempfile.mkdtemp(prefix=f"fuzz-{name}-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))

    def mutated(data: bytes, most: int, seed: int) -> bytes:
        if random.Random(seed).random() < target.damage:
            return atheris.Mutate(data, most)
        if target.grammar == "json":
            return mutate.documents(data, seed, most)
        return mutate.message(data, target.grammar, seed, most)

    def crossed(one: bytes, other: bytes, most: int, seed: int) -> bytes:
        return mutate.crossed(one, other, target.grammar, seed, most)

    hooks: dict[str, Any] = {}
    if target.grammar is not None:
        hooks["custom_mutator"] = mutated
        if target.grammar != "json":
            hooks["custom_crossover"] = crossed
    compile_kernels()
    atheris.Setup([sys.argv[0], *options, corpus], bounded(target.run), **hooks)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

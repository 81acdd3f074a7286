"""Writes every file of prototxt/, and the table of docs/models.md, from the code.

    python -m caffe_gp.training.prototxts            # write those that differ from the code, and name them
    python -m caffe_gp.training.prototxts --check    # only name them; exit code 2 if there are any

The deploy nets are the zoo's; train.prototxt and solver.prototxt are those of the nets trained here.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Callable, Iterator

from caffe_gp import proto
from caffe_gp.errors import CaffeGPError
from caffe_gp.files import places
from caffe_gp.files.atomic import write_text
from caffe_gp.models import tables, zoo
from caffe_gp.training import camvid, classifier, digits

# The training net and the solver of each net that is trained here.
TRAINED: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "camvid": (camvid.train_net, camvid.solver),
    "digits": (digits.train_net, digits.solver),
    "lenet": (classifier.lenet_net, classifier.lenet_solver),
    "cifar10": (classifier.cifar10_net, classifier.cifar10_solver),
}


def files() -> Iterator[tuple[Path, str]]:
    """(path, text as it is to be) of every file."""
    for model in zoo.MODELS.values():
        scores = f"class scores: blob '{model.score}'"
        yield model.prototxt(), _text(model, scores, model.net())
    for name, (train_net, solver) in TRAINED.items():
        model = zoo.get(name)
        folder = model.prototxt().parent
        yield folder / "train.prototxt", _text(model, "the net in training", train_net())
        yield folder / "solver.prototxt", _text(model, "the recipe of its training", solver())
    document = places.shipped("docs", "models.md")
    yield document, tables.filled(document.read_text(encoding="utf-8"))


def _text(model: zoo.Model, what: str, message: Any) -> str:
    header = f"# {model.title}. Written by `make prototxts`: change the code, not this file.\n# {what}\n"
    return header + proto.to_text(message)


def is_current(path: Path, text: str) -> bool:
    """Whether the file is there and holds ``text``."""
    return path.is_file() and path.read_text(encoding="utf-8") == text


def main() -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m caffe_gp.training.prototxts",
        description="Write the files of prototxt/ and the table of docs/models.md from the code.",
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 2 if a file differs")
    check = parser.parse_args().check
    try:
        stale = [(path, text) for path, text in files() if not is_current(path, text)]
        for path, text in stale:
            print(path)
            if not check:
                write_text(path, text)
    except (CaffeGPError, OSError) as error:
        print(f"prototxts: {error}", file=sys.stderr)
        return 2
    if check and stale:
        print(f"prototxts: {len(stale)} file(s) are not what the code writes", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Write prototxt/<model>/deploy.prototxt and gp.prototxt of every model, and the table of docs/models.md.

    python -m caffe_gp.models.write            # write those that differ from the code, and name them
    python -m caffe_gp.models.write --check    # only name them; exit code 2 if there are any

``gp.prototxt`` is the deploy net as ``caffe_gp.surgery`` prepares it for guided perturbations: a Softmax on
the class scores, and the probe on the input. The tools do this in memory; the file is for users of Caffe.
(This is the one module beside the engine that calls the surgery, which itself needs only ``caffe_gp.proto``.)
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Iterable, Iterator

from caffe_gp import proto
from caffe_gp.cli.exit_codes import finish
from caffe_gp.errors import PrototxtError
from caffe_gp.files import places
from caffe_gp.files.atomic import write_text
from caffe_gp.models import tables, zoo
from caffe_gp.surgery.prepare import prepare

_HEADER = "# {}. Written by `python -m caffe_gp.models.write`: change the code, not this file.\n"


def texts(model: zoo.Model) -> dict[str, str]:
    """The content of the model's files: 'deploy' and 'gp'."""
    net = model.net()
    prepared = prepare(net, score=model.score)
    changes = "".join(f"# {change}\n" for change in prepared.changes)
    header = _HEADER.format(model.title)
    return {
        "deploy": f"{header}# class scores: blob '{model.score}'\n{proto.to_text(net)}",
        "gp": f"{header}{changes}{proto.to_text(prepared.net)}",
    }


def files(models: Iterable[zoo.Model], root: Path | None = None) -> Iterator[tuple[Path, str]]:
    """(path, content) of the files of ``models`` in ``root``/<name>/, by default the checkout's prototxt/."""
    root = root or places.shipped("prototxt")
    for model in models:
        for kind, text in texts(model).items():
            yield root / model.name / f"{kind}.prototxt", text


def write(path: Path, text: str) -> None:
    """Write a file and make its folder; PrototxtError where that cannot be."""
    try:
        write_text(path, text)
    except OSError as error:
        raise PrototxtError(f"{path}: cannot be written: {error.strerror or error}") from None


def is_current(path: Path, text: str) -> bool:
    """Whether the file is there and holds ``text``."""
    return path.is_file() and path.read_text(encoding="utf-8") == text


def main() -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m caffe_gp.models.write",
        description="Write deploy.prototxt and gp.prototxt of every model, and the table of docs/models.md.",
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 2 if a file differs")
    check = parser.parse_args().check

    def work() -> None:
        stale = 0
        for path, text in [*files(zoo.MODELS.values()), (tables.DOCUMENT, tables.filled())]:
            if is_current(path, text):
                continue
            stale += 1
            print(path)
            if not check:
                write(path, text)
        if check and stale:
            raise PrototxtError(f"{stale} file(s) are not what the code writes: run it without --check")

    return finish(work, tool="write")


if __name__ == "__main__":
    sys.exit(main())

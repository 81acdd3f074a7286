"""Write prototxt/<model>/deploy.prototxt and gp.prototxt of every model.

    python -m caffe_gp.models.write            # write them
    python -m caffe_gp.models.write --check    # say which differ from the code; exit code 1 if any does

``gp.prototxt`` is the deploy net as ``caffe_gp.surgery`` prepares it for guided perturbations: a Softmax on
the class scores, and the probe on the input. The tools do this in memory; the file is for users of Caffe.
(This is the one module beside the engine that calls the surgery, which itself needs only ``caffe_gp.proto``.)
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Iterable

from caffe_gp import proto, surgery
from caffe_gp.errors import PrototxtError
from caffe_gp.models import zoo
from caffe_gp.proto.text import write_atomically

_HEADER = "# {}. Written by `python -m caffe_gp.models.write`: change the code, not this file.\n"


def texts(model: zoo.Model) -> dict[str, str]:
    """The content of the model's files: 'deploy' and 'gp'."""
    net = model.net()
    prepared = surgery.prepare(net, score=model.score)
    changes = "".join(f"# {change}\n" for change in prepared.changes)
    header = _HEADER.format(model.title)
    return {
        "deploy": f"{header}# class scores: blob '{model.score}'\n{proto.to_text(net)}",
        "gp": f"{header}{changes}{proto.to_text(prepared.net)}",
    }


def write(models: Iterable[zoo.Model], root: Path = zoo.PROTOTXT) -> list[Path]:
    """Write the files of ``models`` into ``root``/<name>/; PrototxtError where that cannot be."""
    written = []
    for model in models:
        for kind, text in texts(model).items():
            path = root / model.name / f"{kind}.prototxt"
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(path, lambda stream, text=text: stream.write(text.encode("utf-8")))
            except OSError as error:
                raise PrototxtError(f"{path}: cannot be written: {error.strerror or error}") from None
            written.append(path)
    return written


def differing(models: Iterable[zoo.Model], root: Path = zoo.PROTOTXT) -> list[Path]:
    """The files below ``root`` that are missing or not what the code writes."""
    found = []
    for model in models:
        for kind, text in texts(model).items():
            path = root / model.name / f"{kind}.prototxt"
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                found.append(path)
    return found


def main() -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m caffe_gp.models.write",
        description="Write prototxt/<model>/deploy.prototxt and gp.prototxt of every model.",
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a file differs")
    if parser.parse_args().check:
        different = differing(zoo.MODELS.values())
        for path in different:
            print(f"{path}: not what the code writes; run python -m caffe_gp.models.write", file=sys.stderr)
        return 1 if different else 0
    for path in write(zoo.MODELS.values()):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What a command does with its options before the work begins."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any, Callable, TypeVar

from caffe_gp import engines
from caffe_gp.cli.extras import need
from caffe_gp.errors import UsageError
from caffe_gp.evaluation.choose_eps import AUTO
from caffe_gp.evaluation.settings import NetSettings

_PROBE = 1 << 12  # bytes that a folder must take

Given = TypeVar("Given", bound=NetSettings)
Result = TypeVar("Result")


def given(args: argparse.Namespace) -> dict[str, Any]:
    """The options that were given or have a default, by name."""
    found = {name: value for name, value in vars(args).items() if value is not None}
    if AUTO in found.get("eps", ()):
        if len(found["eps"]) > 1:
            raise UsageError("--eps auto chooses one step: give it alone, or give numbers")
        found["eps"] = AUTO
    if found.get("crf") == "none":
        del found["crf"]
    if "save" in found:
        found["save"] = tuple(kind for kind in found["save"] if kind != "none")
    if "inputs" in found:
        found["inputs"] = dict(found["inputs"])
    if "average" in found:
        found["average"] = tuple(found["average"])
    found["defines"] = dict(found["defines"])
    if "cluster" in found:
        need("cluster", "--cluster")
    return found


def settings_from(kind: type[Given], options: dict[str, Any]) -> Given:
    """Settings of a ``kind`` from ``given`` options.

    Raises UsageError for missing and wrong options, WeightsError where the model's weights have to be
    fetched first.
    """
    if "module" in options:
        return kind(**options)
    if "model" in options:
        return kind.of_model(options.pop("model"), **options)
    for needed in ("prototxt", "caffemodel"):
        if needed not in options:
            raise UsageError(
                f"without --model or --module, --{needed} is needed (--list-models prints the models)"
            )
    settings = kind(**options)
    if settings.eps == AUTO:
        settings.source()  # a net that cannot be read is told before any folder is made
    return settings


def on_engine(engine: str, function: Callable[..., Result], *args: Any) -> Result:
    """``function(*args)``, in a process of its own where BVLC Caffe would end this one."""
    if engines.resolve(engine) == "bvlc":
        return engines.run_guarded(function, *args)
    return function(*args)


def check_output(folder: Path | str, option: str = "--out") -> None:
    """Make a folder, and UsageError where that or writing in it fails, before hours of work find out."""
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path) as stream:
            stream.write(bytes(_PROBE))
    except OSError as error:
        in_the_way = next((place for place in (path, *path.parents) if place.is_file()), None)
        why = f"{in_the_way} is a file" if in_the_way is not None else error.strerror or str(error)
        raise UsageError(f"{folder}: cannot be written as a folder ({why}); give another {option}") from None


def check_file(file: Path | str, option: str = "--out") -> None:
    """UsageError for a file that could not be written. Makes its folder."""
    if Path(file).is_dir():
        raise UsageError(f"{file}: is a folder; give a file as {option}")
    check_output(Path(file).parent, option)


def sleeping_threads() -> None:
    """Threads that wait sleep instead of spinning; to be called before PyTorch is loaded.

    The same speed on a free machine, several times faster on a busy one.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

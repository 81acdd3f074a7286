"""argparse's ``type=`` of options: values from what was typed, or what was expected and found."""

from __future__ import annotations

import argparse
import math
import re
from typing import Any

from caffe_gp.errors import DataError, did_you_mean
from caffe_gp.evaluation.choose_eps import AUTO
from caffe_gp.evaluation.feeding import MEAN_SUFFIXES
from caffe_gp.evaluation.image_outputs import SAVE_CHOICES
from caffe_gp.images.inputs import read_array


def number_or_auto(text: str) -> float | str:
    """A finite number, or 'auto'."""
    if text == AUTO:
        return AUTO
    try:
        return number(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, or {AUTO}") from None


def port(text: str) -> int:
    """A port, 0 to 65535."""
    if not (text.isascii() and text.isdigit() and int(text[:6]) < 1 << 16):
        raise argparse.ArgumentTypeError(f"expected a port, 0 to 65535, found {text!r}")
    return int(text)


def mean(text: str) -> tuple[float, ...] | str:
    """Three numbers or one, or a file, of 'B,G,R', 'N', 'mean.binaryproto' or 'mean.npy'."""
    if text.endswith(MEAN_SUFFIXES):
        return text
    try:
        return numbers(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"expected three numbers with commas between them (blue,green,red), one number, or a "
            f"{' or '.join(MEAN_SUFFIXES)} file; found {text!r}"
        ) from None


def numbers(text: str) -> tuple[float, ...]:
    """Three numbers or one, of 'R,G,B' or 'N'."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) not in (1, 3):
        raise argparse.ArgumentTypeError(
            f"expected three numbers with commas between them, or one; found {text!r}"
        )
    return values


def input_values(text: str) -> tuple[str, Any]:
    """(blob, values) of 'NAME=FILE.npy' or 'NAME=1,2,3'."""
    name, equals, values = text.partition("=")
    if not name or not values:
        raise argparse.ArgumentTypeError(f"expected NAME=FILE.npy or NAME=1,2,3, found {text!r}")
    if values.endswith(".npy"):
        try:
            return name, read_array(values)
        except DataError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
    try:
        return name, [float(part) for part in values.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected NAME=FILE.npy or NAME=1,2,3, found {text!r}") from None


def byte_count(text: str) -> int:
    """Bytes of '500000000', '500M' or '4G'."""
    found = re.fullmatch(r"([1-9]\d{0,14})([KMG]?)", text.strip().upper())
    if found is None:
        raise argparse.ArgumentTypeError(f"expected a number of bytes, or like 500M or 4G, found {text!r}")
    return int(found[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[found[2]]


def define(text: str) -> tuple[str, str]:
    """(name, value) of 'NAME=VALUE'."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, found {text!r}")
    return name, value


def count(text: str) -> int:
    """A whole number of at least 1."""
    return _whole(text, 1, "a whole number of at least 1")


def count_or_none(text: str) -> int:
    """A whole number of at least 0."""
    return _whole(text, 0, "a whole number of at least 0")


def seed(text: str) -> int:
    """A seed of numpy's generators."""
    return _whole(text, 0, "a whole number in 0..2**32-1", 2**32 - 1)


def number(text: str) -> float:
    """A finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"expected a number, found '{text}'")
    return value


def share(text: str) -> float:
    """A number above 0 and below 1."""
    value = number(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"expected a share, above 0 and below 1, found '{text}'")
    return value


def factor(text: str) -> float:
    """A finite number other than 0."""
    value = number(text)
    if not value:
        raise argparse.ArgumentTypeError(f"expected a number other than 0, found '{text}'")
    return value


def amount(text: str) -> float:
    """A finite number of at least 0."""
    value = number(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"expected a number of at least 0, found '{text}'")
    return value


def _whole(text: str, least: int, what: str, most: int = 2**31 - 1) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"expected {what}, found '{text}'")
    return value


def device(text: str) -> str:
    """The name of a device as it is: 'cpu', 'cuda' or 'cuda:N'."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"unknown device '{text}': expected cpu, cuda or cuda:N")
    return text


def devices(text: str) -> tuple[str, ...]:
    """('cuda:0', 'cuda:1') of '0,1'."""
    numbers = text.split(",")
    if not all(part.isdecimal() for part in numbers) or len(set(numbers)) < len(numbers):
        raise argparse.ArgumentTypeError(
            f"expected different numbers of CUDA devices like 0,1, found '{text}'"
        )
    return tuple(f"cuda:{part}" for part in numbers)


def kinds(text: str) -> tuple[str, ...]:
    """What to save of every image: ('labels', 'panel') of 'labels,panel'; () of 'none'."""
    named = tuple(kind for kind in text.split(",") if kind)
    if named == ("none",):
        return ()
    if "none" in named or not named:
        raise argparse.ArgumentTypeError(f"expected kinds or none, found '{text}'")
    for kind in named:
        if kind not in SAVE_CHOICES:
            hint = did_you_mean(kind, SAVE_CHOICES)
            known = ", ".join(SAVE_CHOICES)
            raise argparse.ArgumentTypeError(f"unknown kind {kind!r}{hint} (known: {known}, none)")
    return named


def class_or_void(text: str) -> int | str:
    """'void', or the number of a class."""
    if text == "void" or text.isdigit():
        return text if text == "void" else int(text)
    raise argparse.ArgumentTypeError(f"expected void or the number of a class, found {text!r}")


def size(text: str) -> tuple[int, int]:
    """(width, height) of 'W,H' or 'N'."""
    try:
        parts = [int(part) for part in text.split(",")]
    except ValueError:
        parts = []
    if len(parts) not in (1, 2) or min(parts) < 1:
        raise argparse.ArgumentTypeError(
            f"expected W,H or N in whole pixels, like 500,375 or 500, found {text!r}"
        )
    return parts[0], parts[-1]


def size_or_length(text: str) -> int | tuple[int, int]:
    """(width, height) of 'W,H'; N of 'N'."""
    width, height = size(text)
    return (width, height) if "," in text else width

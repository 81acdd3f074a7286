"""The rules of Upsample and Unpooling, which enlarge what a pooling made small: sizes and windows.

Both engines' layers take them from here, and so does whoever wants to know a net's shapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Sequence, Tuple

MAX, AVE, TILE = 0, 1, 2  # of unpooling_param.unpool

Pair = Tuple[int, int]

_OF_THE_MASK = ("scale_h", "scale_w", "pad_out_h", "pad_out_w", "upsample_h", "upsample_w")


@dataclass(frozen=True)
class Upsample:
    """The fields of ``upsample_param`` that are set; the others None. ValueError for what makes no sense.

    masked   whether there is a second bottom, the mask of a MAX Pooling (SegNet, ENet); without one each
             value is repeated ``scale`` x ``scale`` times (the YOLO ports)
    """

    masked: bool
    scale: int | None = None
    scale_h: int | None = None
    scale_w: int | None = None
    pad_out_h: bool | None = None
    pad_out_w: bool | None = None
    upsample_h: int | None = None
    upsample_w: int | None = None

    def __post_init__(self) -> None:
        given = [field for field in _OF_THE_MASK if getattr(self, field) is not None]
        if given and not self.masked:
            raise ValueError(
                f"{given[0]} needs two bottoms, values and the mask of a MAX Pooling; found one bottom, as "
                "the YOLO ports have it, with scale alone"
            )
        for one, other in (("upsample_h", "upsample_w"), ("scale_h", "scale_w")):
            if (one in given) != (other in given):
                raise ValueError(f"{one} and {other} must be given together")
        for pad, factor in zip((self.pad_out_h, self.pad_out_w), self.factors):
            if pad and self.upsample_h is None and factor != 2:
                raise ValueError(f"pad_out_h and pad_out_w go with a scale of 2, found {factor}")

    @property
    def factors(self) -> Pair:
        """How many times the bottom's height and width, where ``upsample_h`` and ``_w`` do not say it."""
        if self.scale_h is not None and self.scale_w is not None:
            return self.scale_h, self.scale_w
        scale = (2 if self.masked else 1) if self.scale is None else self.scale
        return scale, scale

    def output_size(self, size: Sequence[int]) -> Pair:
        """(height, width) made from a bottom of ``size``. ValueError if nothing is left."""
        if self.upsample_h is not None and self.upsample_w is not None:
            height, width = self.upsample_h, self.upsample_w
        else:
            height, width = (n * factor for n, factor in zip(size, self.factors))
            height, width = height - bool(self.pad_out_h), width - bool(self.pad_out_w)
        if min(height, width) < 1:
            raise ValueError(f"the output size would be {height} x {width}")
        return height, width


class Windows(NamedTuple):
    """Along one axis of the top: ``number`` windows of ``extent`` cells, each ``step`` after the one before.

    Those that would begin outside of the top's ``size`` are left out; the last may reach beyond it.
    """

    number: int
    extent: int
    step: int
    size: int

    @property
    def reach(self) -> int:
        """Where the last one ends."""
        return (self.number - 1) * self.step + self.extent

    def cells(self) -> list[int]:
        """Of each window, how many of its cells are inside of the top."""
        return [min(self.extent, self.size - i * self.step) for i in range(self.number)]


@dataclass(frozen=True)
class Unpooling:
    """The fields of ``unpooling_param`` that are set; the others None. ValueError for what makes no sense.

    masked   whether there is a second bottom, the mask of a MAX Pooling
    """

    masked: bool
    unpool: int = MAX
    kernel_size: int | None = None
    kernel_h: int | None = None
    kernel_w: int | None = None
    stride: int | None = None
    stride_h: int | None = None
    stride_w: int | None = None
    pad: int = 0
    pad_h: int = 0
    pad_w: int = 0
    engine: int = 0
    unpool_size: int | None = None
    unpool_h: int | None = None
    unpool_w: int | None = None

    def __post_init__(self) -> None:
        if self.pad or self.pad_h or self.pad_w:
            raise ValueError("pad is not possible here, as in DeconvNet; expected 0")
        if self.masked and self.unpool != MAX:
            raise ValueError("takes a mask, the second bottom, with unpool: MAX only")
        sides = {"kernel_size": self.kernel, "stride": self.strides, "unpool_size": self.output_size}
        for field, (height, width) in sides.items():
            if min(height, width) < 1:
                short = field.split("_")[0]
                raise ValueError(
                    f"needs {field}, or {short}_h and {short}_w, from 1; found {height} and {width}"
                )

    @property
    def kernel(self) -> Pair:
        """Of the windows, height and width."""
        return self._pair("kernel_size", "kernel", 0)

    @property
    def strides(self) -> Pair:
        """Between the windows' beginnings."""
        return self._pair("stride", "stride", 1)

    @property
    def output_size(self) -> Pair:
        """The top's height and width."""
        return self._pair("unpool_size", "unpool", 0)

    def _pair(self, field: str, short: str, default: int) -> Pair:
        one, sides = getattr(self, field), (getattr(self, f"{short}_h"), getattr(self, f"{short}_w"))
        if sides == (None, None):
            return (default, default) if one is None else (one, one)
        if one is not None:
            raise ValueError(f"either {field} or {short}_h and {short}_w may be given, not both")
        return sides[0] or 0, sides[1] or 0

    def windows(self, size: Sequence[int]) -> tuple[Windows, Windows]:
        """Of AVE and TILE, for rows and columns, for a bottom of ``size``."""
        rows, columns = (_windows(*axis) for axis in zip(size, self.kernel, self.strides, self.output_size))
        return rows, columns


def _windows(count: int, kernel: int, stride: int, size: int) -> Windows:
    count = min(count, -(-size // stride))
    return Windows(count, min(kernel, size), stride if count > 1 else 1, size)

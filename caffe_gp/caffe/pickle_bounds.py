"""What it would take to read a pickle, told without reading it: some hundred bytes may ask for everything."""

from __future__ import annotations

import io
import pickletools
from typing import BinaryIO

MAX_OPERATIONS = 300_000  # a tensor has some 40: a checkpoint of 2,500 with both moments of Adam
MAX_OBJECTS = 10_000_000  # in one, counted as often as they are met, since hashing and printing meet them so
_REFUSED = {"builtins bytearray", "__builtin__ bytearray"}  # of any size; torch allows it
_PUTS, _GETS = ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), ("GET", "BINGET", "LONG_BINGET")


def check_pickle(content: bytes | BinaryIO) -> None:
    """ValueError for a pickle that would take time or memory beyond its bytes, or is none.

    content   a stream is left behind the pickle
    """
    stream = io.BytesIO(content) if isinstance(content, bytes) else content
    bounds = _Bounds()
    for number, (operation, argument, _) in enumerate(pickletools.genops(stream)):
        if number == MAX_OPERATIONS:
            raise ValueError(f"more than {MAX_OPERATIONS} operations of a pickle")
        if operation.name == "GLOBAL" and argument in _REFUSED:
            raise ValueError("it asks for a bytearray of any size")
        try:
            bounds.step(operation, argument)
        except LookupError:
            raise ValueError("it takes what it has not made") from None


class _Bounds:
    """The stack and the memo of an unpickler, with the number of objects in place of each object."""

    def __init__(self) -> None:
        self._stack: list[int] = []
        self._marks: list[int] = []  # where lists of arguments begin
        self._memo: dict[int, int] = {}

    def step(self, operation: pickletools.OpcodeInfo, argument: object) -> None:
        """Do what an operation does to them. LookupError where it takes what is not there."""
        if operation.name == "MARK":
            self._marks.append(len(self._stack))
        elif operation.name in _PUTS:
            place = len(self._memo) if operation.name == "MEMOIZE" else argument
            self._memo[place] = self._stack[-1]  # type: ignore[index]
        elif operation.name in _GETS:
            self._stack.append(self._memo[argument])  # type: ignore[index]
        else:
            self._make(operation)

    def _make(self, operation: pickletools.OpcodeInfo) -> None:
        before = [one for one in operation.stack_before if one is not pickletools.stackslice]
        taken = 1
        if pickletools.markobject in before:
            first = self._marks.pop()
            taken += sum(self._stack[first:])
            del self._stack[first:]
            before = before[: before.index(pickletools.markobject)]
        for _ in before:
            taken += self._stack.pop()
        if taken > MAX_OBJECTS:
            raise ValueError(f"more than {MAX_OBJECTS} objects in one")
        self._stack += [taken] * len(operation.stack_after)

"""Prototxt text: reading with errors that say where and what, and writing.

Accepts what Caffe's own reader accepts (protobuf text format, either dialect, comments, missing or
repeated separators) plus ``${VAR}`` placeholders, as template prototxts use them.
"""

from __future__ import annotations

import os
import re
from typing import IO, Any, Mapping, TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message

from ..errors import NetError, PrototxtError
from ..files.atomic import write_atomically
from ..files.kinds import NET, PROTOTXT, SOLVER, TEXT, is_text, wrong_content
from ..files.regular import open_regular
from . import messages as pb
from . import own_fields
from .explain import explain

M = TypeVar("M", bound=Message)

#: A prototxt has some 500 kB at most; what is bigger is something else (weights, a list, a dump).
MAX_TEXT_BYTES = 4 << 20
#: The deepest published nets have some 5,000 (ResNet-1001). Each costs some 300 microseconds: 2 s in all.
#: Inputs count, too: each becomes a layer.
MAX_LAYERS = 6_000
#: Words, numbers, strings and comments: 20 a layer of the deepest. Each costs up to 10 microseconds.
MAX_WORDS = 200_000
MAX_LINES = 1_000_000  # blank ones, too; each costs 0.3 microseconds
#: What a Python layer is given as a string is longer than anything else, and has less than a page.
MAX_STRING = 64 << 10
#: The longest published ones have about 60 characters. Names of Split layers repeat those of blobs.
MAX_NAME_LENGTH = 1_000
#: Of what ``to_text`` writes.
LINE_LENGTH = 110

_KINDS = {"NetParameter": NET, "SolverParameter": SOLVER}
# No longer than is allowed, since matching takes some 400 bytes for each character.
_STRING = (r"""(?P<string>"(?:\\.|[^"\\\n]){0,LENGTH}"?|'(?:\\.|[^'\\\n]){0,LENGTH}'?)""").replace(
    "LENGTH", str(MAX_STRING)
)
# A comment, a string, or (elsewhere) a placeholder; in this order, so that '#' in a string is no comment.
# Every character is looked at once: a string without an end is one too, a placeholder holds no other.
_TOKENS = re.compile(rf"(?P<comment>\#[^\n]*)|{_STRING}|\$\{{(?P<var>[^${{}}\n]*)\}}")
_PLACEHOLDER = re.compile(r"\$\{([^${}\n]*)\}")
_SHOWN, _LONGEST_SHOWN = 20, 60  # names of variables in a message, and their characters
# As the parser splits text, but for punctuation. A name may hold + and -, a number may hold letters.
_WORDS = re.compile(rf"\#[^\n]*|{_STRING}|(?P<begins>(?:layers?|input)(?![\w.+-]))|[\w.+-]+")


def decode_text(data: bytes, filename: str) -> str:
    """Bytes of a prototxt as str. Raises PrototxtError for a file of another kind."""
    wrong = wrong_content(data, PROTOTXT, NET, SOLVER, TEXT)
    if wrong:
        raise PrototxtError(f"{filename}: {wrong}")
    if len(data) > MAX_TEXT_BYTES:
        raise PrototxtError(
            f"{filename}: more than {MAX_TEXT_BYTES >> 20} MB is too big for a prototxt. "
            "Is it a caffemodel or a list?"
        )
    if not is_text(data[:65536]):
        raise PrototxtError(f"{filename}: this is a binary file, not a prototxt")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")  # comments in other encodings are common and harmless


def read_text(path: str | os.PathLike[str] | IO[Any], filename: str | None = None) -> str:
    """Text of the prototxt at ``path`` (a path or an object with ``read()``). Raises PrototxtError."""
    if hasattr(path, "read"):
        data = path.read()
        if isinstance(data, str):
            data = data.encode("utf-8")
        return decode_text(data, filename or str(getattr(path, "name", "<stream>")))
    path = os.fspath(path)
    try:
        with open_regular(path) as stream:
            data = stream.read(MAX_TEXT_BYTES + 1)
    except OSError as error:
        raise PrototxtError(f"{path}: cannot be read: {error.strerror or error}") from None
    return decode_text(data, filename or path)


def expand_variables(
    text: str,
    defines: Mapping[str, object] | None = None,
    filename: str = "<string>",
    *,
    strings_may_keep: bool = False,
) -> str:
    """Replace every ``${NAME}`` outside comments by ``defines[NAME]``.

    Raises PrototxtError, with line and column of the first and the names of all, for variables that have
    no value. With ``strings_may_keep`` those inside strings stay as they are.
    """
    if "${" not in text:
        return text
    known = dict(defines or {})
    unset: dict[str, int] = {}  # name: where it stands first, of those that must have a value

    def lookup(match: re.Match[str], position: int, may_stay: bool) -> str:
        name = match.group(1)
        if name not in known and not may_stay:
            unset.setdefault(name, position)
        return str(known.get(name, match.group(0)))

    def replace(match: re.Match[str]) -> str:
        if match.group("comment") is not None:
            return match.group(0)
        may_stay, start = strings_may_keep and match.group("string") is not None, match.start()
        return _PLACEHOLDER.sub(lambda inner: lookup(inner, start + inner.start(), may_stay), match.group(0))

    expanded = _TOKENS.sub(replace, text)
    if unset:
        first, position = next(iter(unset.items()))
        line = text.count("\n", 0, position) + 1
        column = position - (text.rfind("\n", 0, position) + 1) + 1
        raise PrototxtError(_unset(f"{filename}:{line}:{column}", first, expanded))
    return expanded


def _unset(where: str, name: str, text: str) -> str:
    """The message for a template variable without a value; ``text``: the prototxt with the others set."""
    left = (
        _PLACEHOLDER.findall(match.group(0))
        for match in _TOKENS.finditer(text)
        if match.group("comment") is None
    )
    names = sorted({name for found in left for name in found})
    short = [name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}..." for name in names]
    shown = ", ".join(short[:_SHOWN] + ["..."] * (len(names) > _SHOWN))
    return (
        f"{where}: the template variable ${{{name[:_LONGEST_SHOWN]}}} has no value: give --define NAME=VALUE "
        f"(in Python: defines={{'NAME': 'VALUE'}}); without a value in this file: {shown}"
    )


def reject_too_much(text: str, filename: str) -> None:
    """Raise PrototxtError for a text that holds more of something than any net, before it is parsed."""
    if text.count("\n") > MAX_LINES:
        raise PrototxtError(f"{filename}: more than {MAX_LINES} lines; is it really a net?")
    layers = 0
    for words, word in enumerate(_WORDS.finditer(text), 1):
        if word.lastgroup == "begins":
            layers += 1
        elif word.lastgroup == "string" and word.end() - word.start() > MAX_STRING:
            line = text.count("\n", 0, word.start()) + 1
            raise PrototxtError(f"{filename}:{line}: a string of more than {MAX_STRING} characters")
        if layers > MAX_LAYERS:
            raise PrototxtError(f"{filename}: more than {MAX_LAYERS} layers and inputs; is it really a net?")
        if words > MAX_WORDS:
            raise PrototxtError(f"{filename}: more than {MAX_WORDS} words; is it really a net?")


def reject_long_names(param: pb.NetParameter, filename: str) -> None:
    """Raise NetError for the name of a layer or blob that is longer than MAX_NAME_LENGTH."""
    for layer in param.layer:
        for name in [layer.name, *layer.bottom, *layer.top]:
            if len(name) > MAX_NAME_LENGTH:
                raise NetError(
                    f"{filename}: the name '{name[:40]}...' has {len(name)} characters; layers and blobs may "
                    f"have {MAX_NAME_LENGTH}"
                )


def reject_unset_names(param: pb.NetParameter, text: str, filename: str) -> None:
    """Raise PrototxtError for a template variable in the name of a layer or blob: no weights would match it.

    param   an upgraded NetParameter; ``text``: what ``expand_variables`` made of its prototxt
    Elsewhere, in the paths of a data layer that nobody runs, a variable without a value does no harm.
    """
    for layer in param.layer:
        for name in [layer.name, *layer.bottom, *layer.top]:
            found = _PLACEHOLDER.search(name)
            if found:
                raise PrototxtError(_unset(f"{filename}: layer or blob '{name}'", found.group(1), text))


def parse_message(text: str, message: M, filename: str = "<string>") -> M:
    """Parse prototxt ``text`` into ``message`` (a fresh instance) and return it. Raises PrototxtError."""
    reject_too_much(text, filename)
    text = own_fields.bracketed(text)
    try:
        text_format.Parse(text, message, descriptor_pool=pb.POOL)
    except text_format.ParseError as error:
        wanted = _KINDS.get(message.DESCRIPTOR.name)
        wrong = wrong_content(text.encode("utf-8"), wanted, TEXT) if wanted else ""
        raise PrototxtError(f"{filename}: {wrong}") if wrong else explain(error, text, filename) from None
    except (ValueError, RecursionError) as error:  # out-of-range numbers; thousands of nested braces
        raise PrototxtError(f"{filename}: not a readable prototxt: {error}") from None
    missing = message.FindInitializationErrors()
    if missing:
        raise PrototxtError(f"{filename}: required but missing: {', '.join(missing)}")
    return message


def reject_mixed_dialects(param: pb.NetParameter, text: str, filename: str) -> None:
    """Raise PrototxtError when a net has both ``layer { }`` (V2) and ``layers { }`` (V1) entries."""
    if not (len(param.layer) and len(param.layers)):
        return
    lines: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r"\s*(layers?)(?:\s*:)?\s*\{", line)
        if match:
            lines.setdefault(match.group(1), number)
    at = ", ".join(f"'{word}' first in line {lines[word]}" for word in ("layer", "layers") if word in lines)
    raise PrototxtError(
        f"{filename}: mixes 'layer {{' (type is a string) and 'layers {{' (type is an enum) "
        f"entries{f' ({at})' if at else ''}. Use one dialect for all of them"
    )


def to_text(message: Message) -> str:
    """A message as prototxt, fields in the order of their numbers, laid out as people write it.

    A message that holds no other stands on one line where it fits; layers never do.
    """
    lines: list[str] = []
    innermost: int | None = None  # where the open message starts that holds no other so far
    for line in map(own_fields.unbracketed, text_format.MessageToString(message, as_utf8=True).split("\n")):
        if line.endswith(" {"):  # a string ends with a quote
            innermost = len(lines)
        elif line.lstrip(" ") == "}":
            if innermost is not None and lines[innermost].strip() not in ("layer {", "layers {"):
                inside = [part.lstrip(" ") for part in lines[innermost + 1 :]]
                joined = " ".join([lines[innermost], *inside, "}"])
                if len(joined) <= LINE_LENGTH:
                    del lines[innermost:]
                    line = joined
            innermost = None
        lines.append(line)
    return "\n".join(lines)


def write_text(message: Message, path: str | os.PathLike[str]) -> None:
    """Write ``message`` as a prototxt; it appears under its name when it is whole."""
    write_atomically(path, lambda stream: stream.write(to_text(message).encode("utf-8")))

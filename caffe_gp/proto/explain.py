"""What is wrong with a prototxt: where, in which layer, and what to write instead."""

from __future__ import annotations

import re
from typing import Any, Iterable, Tuple

from google.protobuf import text_format

from ..errors import PrototxtError, nearest
from . import forks, own_fields
from . import messages as pb
from .upgrade import V1_TYPES

Block = Tuple[int, str]  # where its '{' is, and the word before

# Comments and strings first: what is in them counts for nothing.
_TOKENS = re.compile(
    r"""\#[^\n]* | (?P<string>"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?) | (?P<word>\w+) | (?P<brace>[{}])""",
    re.VERBOSE,
)
_PLACEHOLDER = re.compile(
    r"""\$\#[^#\n]*\#\$ | \{\{[^}\n]*\}\} | \{%[^%\n]*%\}
        | \$\w+ | %\(\w+\)\w | %\w | @\w+@ | <\w+> | __\w+__""",
    re.VERBOSE,
)
_LONGEST = 1000  # characters of a message
_SHOWN = 5  # blocks that a message lists
_REACH = 100  # characters on both sides in which a placeholder is looked for


def explain(error: text_format.ParseError, text: str, filename: str) -> PrototxtError:
    """The parser's complaint about ``text``: file, line, column, layer, what is wrong and what to do."""
    line, column = error.GetLine(), error.GetColumn()
    # The parser quotes the whole line, which is too long.
    message = re.sub(r"^\d+:\d+ : ('.*': )?", "", str(error), flags=re.DOTALL)
    if line is None:
        return PrototxtError(f"{filename}: {message}")
    place = sum(len(one) + 1 for one in text.split("\n")[: line - 1]) + (column or 1) - 1
    blocks = _open_blocks(text, place)
    said = (
        _placeholder(text, place)
        or _brace(message, text, place, blocks)
        or _unknown_field(message)
        or _unknown_value(message)
        or _type_without_quotes(message, text, place)
        or _escape(message)
        or message
    )
    layer = _layer(text, blocks)
    said = said if len(said) <= _LONGEST else f"{said[:_LONGEST]}..."  # it may quote a line of any length
    column = own_fields.column(text.split("\n")[line - 1], column or 1)
    return PrototxtError(f"{filename}:{line}:{column}: {layer + ': ' if layer else ''}{said}")


def _open_blocks(text: str, end: int) -> list[Block]:
    """The blocks that are open at ``end``, the outermost first."""
    blocks: list[Block] = []
    word = ""
    for token in _TOKENS.finditer(text, 0, end):
        word = token.group("word") or word
        if token.group("brace") == "{":
            blocks.append((token.start(), word))
        elif token.group("brace") and blocks:
            blocks.pop()
    return blocks


def _layer(text: str, blocks: list[Block]) -> str:
    """'layer 'conv1'', of the layer that is open; '' outside of layers and where it has no name."""
    if not blocks or blocks[0][1] not in ("layer", "layers"):
        return ""
    depth, word = 0, ""
    for token in _TOKENS.finditer(text, blocks[0][0]):
        if token.group("string") and word == "name" and depth == 1:
            return f"layer {token.group('string')[1:-1]!r}"
        if token.group("brace"):
            depth += 1 if token.group("brace") == "{" else -1
            if not depth:
                return ""
        word = token.group("word") or ""
    return ""


def _placeholder(text: str, place: int) -> str:
    for found in _PLACEHOLDER.finditer(text, max(0, place - _REACH), place + _REACH):
        if found.start() <= place < found.end():
            return f"'{found.group()}' is a placeholder of a template: put the value in its place"
    return ""


def _brace(message: str, text: str, place: int, blocks: list[Block]) -> str:
    if not blocks and text[place : place + 1] == "}":
        return "this '}' closes nothing: there is one too many, here or before"
    inner = re.search(r'has no field named "(layers?)"', message)
    if not inner:  # the parser stops at the last token
        blocks = _open_blocks(text, len(text)) if message.startswith('Expected "}"') else []
    if not blocks:
        return ""
    opened = ", ".join(
        f"'{word} {{' of line {text.count(chr(10), 0, at) + 1}" for at, word in blocks[:_SHOWN]
    )
    opened += ", ..." if len(blocks) > _SHOWN else ""
    what = f"'{inner.group(1)}' begins" if inner else "the file ends"
    return f"a '}}' is missing: {what} while this is open: {opened}"


def _unknown_field(message: str) -> str:
    found = re.search(r'Message type "([\w.]+)" has no field named "([^"]+)"', message)
    if not found:
        return ""
    owner, name = found.groups()
    known = [field.name for field in _message_named(owner).fields] if _message_named(owner) else []
    hints, kind = [], owner.split(".", 1)[-1]
    known += own_fields.names() if kind == "LayerParameter" else []
    of_layer = kind in ("LayerParameter", "V1LayerParameter") and name.endswith("_param")
    fork, near = forks.fork_of(name), _nearest(name, known)
    if of_layer and (fork or not nearest(name, known, cutoff=0.85)):
        where = f"It comes from a fork of Caffe: {fork}" if fork else "No fork that is known here has it"
        hints.append(f"{where}. If the net needs this layer, {forks.WRITE_IT}; else remove the field")
    elif fork:
        hints.append(f"It comes from a fork of Caffe: {fork}. Remove it, if the net does not depend on it")
    if near and not (fork and of_layer):
        hints.append(f"nearest known fields: {near}")
    return f"{kind} has no field named '{name}'" + (". " + "; ".join(hints) if hints else "")


def _unknown_value(message: str) -> str:
    found = re.search(r'Enum type "([\w.]+)" has no value (?:named|with number) ([^.]+)\.', message)
    if not found:
        return ""
    owner, name = found.groups()
    try:
        known = list(pb.POOL.FindEnumTypeByName(owner).values_by_name)
    except KeyError:
        known = []
    bare, kind = name.strip("\"'"), owner.split(".", 1)[-1]
    old = [one for one in known if one.replace("_", "").lower() == bare.lower()]
    if kind == "V1LayerParameter.LayerType" and (old or bare != name):
        one = old[0] if old else "CONVOLUTION"
        return (
            f"'layers {{' has its types without quotes, like type: {one}; or write 'layer {{' everywhere, "
            f'with type: "{V1_TYPES.get(one, bare) if old else bare}"'
        )
    if bare != name and bare in known:
        return f"{kind} is written without quotes: {bare}"
    near = _nearest(bare, known) or ", ".join(f"'{value}'" for value in known[:8])
    fork = forks.fork_of(bare)
    return f"{kind} has no value {name} (known: {near})" + (f"; it comes from {fork}" if fork else "")


def _type_without_quotes(message: str, text: str, place: int) -> str:
    found = re.search(r"Expected string but found: '(\w+)'", message)
    if not found or not re.search(r"\btype\s*:\s*$", text[max(0, place - _REACH) : place]):
        return ""
    name = found.group(1)
    return f"'layer {{' has its types in quotes: type: \"{V1_TYPES.get(name, name)}\"" + (
        f" ({name} is the form of 'layers {{')" if name in V1_TYPES else ""
    )


def _escape(message: str) -> str:
    if "escape" not in message:
        return ""
    return "a backslash begins an escape sequence in a string: write / in paths, or \\\\ for a backslash"


def _nearest(word: str, known: Iterable[str]) -> str:
    by_lower = {name.lower(): name for name in known}
    close = nearest(word.lower(), sorted(by_lower))
    return ", ".join(f"'{by_lower[name]}'" for name in close)


def _message_named(full_name: str) -> Any:
    try:
        return pb.POOL.FindMessageTypeByName(full_name)
    except KeyError:
        return None

"""Abuses by the folder of a run, and by lists of images."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any, Callable

from attacks.idea import Attack, written

KEY = {"eps": [0.5], "crf": None, "images": 1}
_MADE = {
    **dict.fromkeys(("date", "code_version", "command"), "today"),
    **{name: {} for name in ("model", "method", "preprocessing", "data")},
    "engine": {"device_name": "a processor"},
}
HEAD: dict[str, Any] = {
    "key": KEY, "classes": 3, "class_names": ["a", "b", "c"], "background_counts": True, "made": _MADE,
}  # fmt: skip
COUNTS = {"confusion": [[0, 0, 5], [2, 1, 3]], "confidence": 0.5}
CHANGED = {**COUNTS, "changed_pixels": 2, "fixed_pixels": 1, "broken_pixels": 1}
RECORD = {
    "item": "a", "width": 4, "height": 2, "image_sha256": "0" * 64, "truth_sha256": "1" * 64,
    "seconds": {"forward": 0.1}, "base": COUNTS, "gp": [CHANGED],
}  # fmt: skip


def _write(folder: Path, key: Any = KEY, ids: str = "a\n", lines: str = "") -> Path:
    """A finished run with one image."""
    run = folder / "run"
    (run / "records").mkdir(parents=True)
    (run / "key.json").write_text(json.dumps(key))
    (run / "ids.txt").write_text(ids)
    (run / "records" / "0.jsonl").write_text(lines or f"{json.dumps(HEAD)}\n{json.dumps(RECORD)}\n")
    return run


def _run(name: str, idea: str, make: Callable[[Path], Path], expected: str = "DataError") -> Attack:
    return Attack(f"run_{name}", idea, make, ("run",), expected)


def _edited(name: str, in_head: bool, *path: Any) -> list[Attack]:
    """The record, or the first line, with one value replaced: by nothing, null, text, a list, big numbers."""
    attacks = []
    values: list[Any] = ["gone", None, "x", [], -1, 10**30, [[[]]]]
    for number, value in enumerate(values):
        head, record = copy.deepcopy(HEAD), copy.deepcopy(RECORD)
        inner: Any = head if in_head else record
        for key in path[:-1]:
            inner = inner[key]
        if value == "gone":
            del inner[path[-1]]
        else:
            inner[path[-1]] = value
        lines = f"{json.dumps(head)}\n{json.dumps(record)}\n"
        key = head.get("key")

        def make(folder: Path, lines: str = lines, key: Any = key) -> Path:
            return _write(folder, key if isinstance(key, dict) else KEY, lines=lines)

        attacks.append(_run(f"edited_{name}_{number}", "a value that is none of a record's", make, ""))
    return attacks


def _long_line(folder: Path) -> Path:
    run = _write(folder)
    with open(run / "records" / "0.jsonl", "ab") as stream:
        stream.truncate(500 << 20)
    return run


def _deep(folder: Path) -> Path:
    return _write(folder, lines="[" * 200_000 + "\n")


def _deep_key(folder: Path) -> Path:
    run = _write(folder)
    (run / "key.json").write_text("[" * 200_000)
    return run


def _zero(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        run = _write(folder)
        (run / name).unlink()
        (run / name).symlink_to("/dev/zero")
        return run

    return make


def _pipe(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        run = _write(folder)
        (run / name).unlink()
        os.mkfifo(run / name)
        return run

    return make


def _many_digits(folder: Path) -> Path:
    return _write(folder, lines=json.dumps(HEAD).replace("3", "3" * 1_000_000, 1) + "\n")


def _many_classes(folder: Path) -> Path:
    lines = f"{json.dumps({**HEAD, 'classes': 65000})}\n{json.dumps(RECORD)}\n"
    return _write(folder, lines=lines)


def _list(name: str, idea: str, line: str) -> Attack:
    """A list of images, the first of which is there."""

    def make(folder: Path) -> Path:
        (folder / "a.png").touch()
        return written("list.txt", f"a.png\n{line}\n")(folder)

    return Attack(f"list_{name}", idea, make, ("image_list", "ids"), "DataError")


ATTACKS = [
    _run("whole", "a run as it should be", lambda folder: _write(folder), "loads"),
    _run("long_line", "a line of 500 MB", _long_line),
    _run("copies", "100,000 records of one item",
         lambda folder: _write(folder, lines=json.dumps(HEAD) + f"\n{json.dumps(RECORD)}" * 100_000 + "\n")),
    _run("deep", "JSON, 200,000 lists deep", _deep),
    _run("deep_key", "the same as its key", _deep_key),
    _run("digits", "a number of a million digits", _many_digits),
    _run("classes", "65,000 classes: a confusion matrix of 34 GB", _many_classes),
    _run("other_ids", "ids without records", lambda folder: _write(folder, ids="../../etc/passwd\n")),
    *(
        _run(f"{what}_{path.partition('/')[0]}", "what is no file", make(path))
        for path in ("key.json", "ids.txt", "records/0.jsonl")
        for what, make in (("zero", _zero), ("pipe", _pipe))
    ),
    *_edited("key", True, "key"),
    *_edited("eps", True, "key", "eps"),
    *_edited("classes", True, "classes"),
    *_edited("names", True, "class_names"),
    *_edited("made", True, "made"),
    *_edited("item", False, "item"),
    *_edited("width", False, "width"),
    *_edited("base", False, "base"),
    *_edited("confusion", False, "base", "confusion"),
    *_edited("label", False, "base", "confusion", 0),
    *_edited("gp", False, "gp"),
    *_edited("changed", False, "gp", 0, "changed_pixels"),
    *_edited("seconds", False, "seconds"),
    Attack("list_binary", "a list that is no text", written("list.txt", b"\0\1" * 500 + bytes(range(256))),
           ("image_list",), "NotTextError"),
    _list("digits", "digits that can be split in many ways", "a.png " + "1" * 60 + "x"),
    _list("long_line", "a line of a million characters", "a " * 500_000),
    _list("long_name", "a name that no file can have", "y" * 5_000),
]  # fmt: skip

"""`python -m attacks`: every attempt in a process of its own, a line each; exits 1 where one did harm."""

from __future__ import annotations

import argparse
import fnmatch
import logging
import os
import shutil
import sys
import tempfile
import warnings
from functools import partial
from pathlib import Path
from typing import Callable, Iterator, NamedTuple

# Before anything is imported. What a net may take, so that what comes out does not depend on the machine.
MAX_BYTES = 192 << 20
os.environ.setdefault("CAFFE_GP_MAX_BYTES", str(MAX_BYTES))
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch  # noqa: E402

from attacks import images, kernels, nets, runs, weights  # noqa: E402
from attacks.child import LOADS, Outcome, attempt  # noqa: E402
from attacks.idea import HARM, SECRET, Attack  # noqa: E402
from attacks.readers import READERS, readers_for  # noqa: E402
from caffe_gp import errors  # noqa: E402

MOST_BYTES = 256 << 20  # above what the process takes that loads and runs a tiny net
# Of the processor and not by the clock: CI's machine is shared.
MOST_SECONDS = 2.0

_BETWEEN = "\n=====\n"  # the files of a run's folder in one text: each a name and its content


class Tried(NamedTuple):
    """A line of the table."""

    name: str
    reader: str
    outcome: Outcome
    breach: str


def main() -> int:
    """0 where everything was refused, or loaded, within the limits; 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m attacks", description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path, help="files of others to try, instead of our own")
    parser.add_argument("--only", default="*", help="names to try, as a pattern (default: all)")
    parser.add_argument("--breaches", action="store_true", help="print those only that break a promise")
    options = parser.parse_args()
    _get_ready()
    tries = breaches = 0
    with tempfile.TemporaryDirectory(prefix="attacks-") as scratch:
        baseline = _baseline(Path(scratch))
        print(f"baseline: {baseline >> 20} MB; at most {MOST_BYTES >> 20} MB more and {MOST_SECONDS} s each")
        found = _foreign(options.folders) if options.folders else _ours()
        for attack in found:
            if not fnmatch.fnmatch(attack.name, options.only):
                continue
            for tried in _try(attack, Path(scratch), baseline):
                tries, breaches = tries + 1, breaches + bool(tried.breach)
                if tried.breach or not options.breaches:
                    print(_line(tried, baseline), flush=True)
    print(f"{tries} attempts, {breaches} broke a promise")
    return int(breaches > 0)


def _ours() -> Iterator[Attack]:
    for module in (nets, weights, images, runs):
        yield from module.ATTACKS


def _foreign(folders: list[Path]) -> Iterator[Attack]:
    """An attack for each file, or run's folder, in some folders; files beside each other stay together."""
    for folder in folders:
        for source in sorted(folder.iterdir()):

            def make(into: Path, source: Path = source) -> Path:
                if source.suffix == ".txt" and source.read_bytes().startswith(b"key.json\n"):
                    return _unpacked(source, into / "run")
                if source.is_dir():
                    return Path(shutil.copytree(source, into / source.name))
                for other in source.parent.glob("*.prototxt") if source.suffix == ".h5" else ():
                    shutil.copy(other, into / other.name)
                return Path(shutil.copy(source, into / source.name))

            with tempfile.TemporaryDirectory(prefix="attacks-") as scratch:
                readers = readers_for(make(Path(scratch)))
            yield Attack(source.name, "", make, readers, "")


def _unpacked(text: Path, folder: Path) -> Path:
    """A run's folder from one text."""
    for part in text.read_text(encoding="utf-8").split(_BETWEEN):
        name, _, content = part.partition("\n")
        path = (folder / name).resolve()
        if name and folder.resolve() in path.parents:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content + "\n", encoding="utf-8")
    return folder


def _get_ready() -> None:
    """Import and compile what attempts need once, in this process, of which they are forks."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    os.environ["CAFFE_GP_ATTACK"] = SECRET
    with tempfile.TemporaryDirectory(prefix="attacks-") as scratch:
        path = Path(scratch) / "net.prototxt"
        path.write_text(_TINY)
        READERS["net"](path)
        for text in kernels.NETS:
            path.write_text(text)
            # Not in this process, where numba's threads would stand in the way of forks.
            attempt(lambda: READERS["net"](path), Path(scratch))


_TINY = nets.on_data("Convolution", "convolution_param { num_output: 2 kernel_size: 3 }")


def _baseline(scratch: Path) -> int:
    path = scratch / "tiny.prototxt"
    path.write_text(_TINY)
    return attempt(lambda: READERS["net"](path), scratch).bytes


def _try(attack: Attack, scratch: Path, baseline: int) -> Iterator[Tried]:
    """The attack by each of its readers, each time with new files."""
    for number, reader in enumerate(attack.readers):
        folder = scratch / "attempt"
        folder.mkdir()
        path = _made(attack, folder)
        outcome = _fastest(partial(READERS[reader], path), folder)
        expected = attack.expected if number == 0 else ""
        yield Tried(attack.name, reader, outcome, _breach(outcome, expected, folder, baseline))
        shutil.rmtree(folder)


def _fastest(read: Callable[[], object], folder: Path) -> Outcome:
    """What comes of it, in the least time of up to three attempts: other work slows a processor, too."""
    outcome = attempt(read, folder)
    for _ in range(2):
        if outcome.seconds > MOST_SECONDS:
            outcome = outcome._replace(seconds=min(outcome.seconds, attempt(read, folder).seconds))
    return outcome


def _made(attack: Attack, folder: Path) -> Path:
    """The attack's file: made in a process of its own, since what that takes is not the reader's."""
    note = folder / "made"
    made = attempt(lambda: note.write_text(str(attack.make(folder))), folder)
    if made.what != LOADS:
        raise RuntimeError(f"{attack.name} cannot be made: {made.what}: {made.message}")
    path = Path(note.read_text())
    note.unlink()
    return path


def _breach(outcome: Outcome, expected: str, folder: Path, baseline: int) -> str:
    """Which promise an attempt broke; '' for none."""
    if not outcome.refused and outcome.what != LOADS:
        return f"{outcome.what}: {outcome.message[:200]}"
    if (folder / HARM).exists():
        return "it ran code, or wrote a file"
    if SECRET in outcome.message:
        return f"the message tells a secret: {outcome.message}"
    if any(not one.isprintable() and one not in "\n\t" for one in outcome.message):
        return "the message holds control characters"
    if outcome.bytes - baseline > MOST_BYTES:
        return f"{(outcome.bytes - baseline) >> 20} MB"
    if outcome.seconds > MOST_SECONDS:
        return f"{outcome.seconds:.1f} s"
    if expected and not _is_one(outcome.what, expected):
        return f"expected: {expected}; {outcome.message[:200]}"
    return ""


def _is_one(what: str, expected: str) -> bool:
    """Whether an outcome is what was expected: equal, or an error of a special kind of it."""
    kinds = vars(errors)
    return what == expected or what in kinds and issubclass(kinds[what], kinds.get(expected, ()))


def _line(tried: Tried, baseline: int) -> str:
    outcome = tried.outcome
    above = max(0, outcome.bytes - baseline) >> 20
    line = f"{tried.name[:44]:<45}{tried.reader:<14}{outcome.what:<22}{above:5} MB{outcome.seconds:6.2f} s"
    return f"{line}  BREACH: {tried.breach}" if tried.breach else line


if __name__ == "__main__":
    sys.exit(main())

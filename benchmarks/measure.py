"""What all benchmarks share: their options, the clock, and rounds that go through all ways in turn.

A figure is measured with so many threads, by one of two clocks: ``1-cpu`` is the processor time of one
thread, which waiting for a turn on a machine that others use too does not lengthen; ``2-wall`` is what two
threads take by the clock on the wall.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Callable, Dict, Iterable, List, NamedTuple

from .folders import RESULTS

CLOCKS: dict[str, Callable[[], float]] = {"cpu": time.process_time, "wall": time.perf_counter}
# setting -> way -> figure -> what every round found
Figures = Dict[str, Dict[str, Dict[str, List[float]]]]
# Figures of which the largest of all rounds counts; of the others, which are seconds, the smallest.
LARGEST = ("peak_gb", "peak_over_file", "unlike", "unlike_moved", "apart")


class Setting(NamedTuple):
    """How many threads, and which clock."""

    threads: int
    clock: str

    def __str__(self) -> str:
        return f"{self.threads}-{self.clock}"

    @classmethod
    def parse(cls, text: str) -> Setting:
        """'1-cpu', '2-wall', ..."""
        threads, _, clock = text.partition("-")
        if not threads.isdigit() or int(threads) < 1 or clock not in CLOCKS:
            raise argparse.ArgumentTypeError(f"'{text}' is not THREADS-cpu or THREADS-wall")
        return cls(int(threads), clock)

    def in_words(self) -> str:
        """For headings."""
        count = "one thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{count}, {'processor time' if self.clock == 'cpu' else 'wall time'}"

    def seconds(self, work: Callable[[], object]) -> float:
        """What one call takes by this clock."""
        clock = CLOCKS[self.clock]
        start = clock()
        work()
        return clock() - start

    def fastest(self, work: Callable[[], object], least: float = 0.5) -> float:
        """The fastest of two calls or more (for ``least`` seconds), after one that allocates."""
        work()
        calls: list[float] = []
        begin = time.perf_counter()
        while len(calls) < 2 or time.perf_counter() - begin < least:
            calls.append(self.seconds(work))
        return min(calls)


DEFAULT_SETTINGS = [Setting(1, "cpu"), Setting(2, "wall")]


def parser(documentation: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark has; ``--worker`` is for the processes that it starts."""
    made = argparse.ArgumentParser(
        description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("ways", nargs="*", metavar="WAY", help="only these (give --out too)")
    made.add_argument("--rounds", type=int, default=2, help="how often to go through all ways (default 2)")
    made.add_argument(
        "--settings",
        type=Setting.parse,
        nargs="+",
        default=DEFAULT_SETTINGS,
        metavar="THREADS-CLOCK",
        help="threads and clock (default: 1-cpu 2-wall)",
    )
    made.add_argument("--out", type=Path, default=RESULTS, help="folder for NAME.json and NAME.md")
    made.add_argument("--worker", metavar="WAY", help=argparse.SUPPRESS)
    return made


def in_turn(
    ways: Iterable[str],
    options: argparse.Namespace,
    measure: Callable[[str, Setting], dict[str, float] | None],
) -> Figures:
    """Figures of all ways, or of those that the options choose.

    Every round goes through all settings and ways: a slow minute of the machine hits all of them.

    measure    the figures of a way, or None where it cannot be measured here
    """
    figures: Figures = {}
    for number in range(options.rounds):
        for setting in options.settings:
            for way in options.ways or ways:
                found = measure(way, setting)
                if found is None:
                    continue
                print(f"round {number + 1}, {setting}, {way}: {json.dumps(found)}", flush=True)
                rows = figures.setdefault(str(setting), {}).setdefault(way, {})
                for name, value in found.items():
                    rows.setdefault(name, []).append(value)
    return figures


def best(ways: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, float]]:
    """Way -> figure -> the one of all rounds that counts."""
    return {
        way: {name: (max if name in LARGEST else min)(values) for name, values in rows.items()}
        for way, rows in ways.items()
    }

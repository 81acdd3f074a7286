"""What the benchmarks are to reach, and ratios that got worse: ``results/targets.md``.

    python -m benchmarks.targets [FOLDER]       from the results that are there

Ratios and peak memory are compared with the results of the last commit (git HEAD). Seconds are not: they say
as much of the machine as of the program.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Dict, NamedTuple

from caffe_gp.files import atomic, json_files

from .folders import RESULTS, ROOT
from .measure import Setting, best
from .report import NAMES, table

WORSE = 1.2  # times the committed ratio
Ways = Dict[str, Dict[str, float]]  # way -> figure -> the best one


class Target(NamedTuple):
    """A figure, divided by another one or not, and the limit that it is to stay below."""

    name: str
    limit: float  # inf: watched only
    benchmark: str  # results/BENCHMARK.json
    over: str  # 'WAY FIGURE'; the way '*': all of them, of which the worst counts
    under: tuple[str, ...] = ()  # 'WAY FIGURE'; of several the smallest counts
    unit: str = ""  # nothing for ratios
    setting: str = ""  # the only one that the limit is for; nothing: all

    def value(self, ways: Ways) -> float | None:
        """None where something that it needs was not measured."""
        if self.over.startswith("* "):
            each = [self._of(way).value(ways) for way in ways]
            return max((value for value in each if value is not None), default=None)
        over = _look_up(ways, self.over)
        under = [value for value in (_look_up(ways, name) for name in self.under) if value is not None]
        if over is None or (self.under and not under):
            return None
        return over / min(under) if under else over

    def _of(self, way: str) -> Target:
        here = [name.replace("*", way, 1) for name in (self.over, *self.under)]
        return self._replace(over=here[0], under=tuple(here[1:]))


def _look_up(ways: Ways, name: str) -> float | None:
    way, figure = name.split(" ")
    return ways.get(way, {}).get(figure)


def _net(name: str, limit: float = math.inf) -> Target:
    """GP of a net, embedded / BVLC's probe."""
    title = f"{name}: GP at data, embedded / BVLC probe"
    return Target(title, limit, "networks", f"embedded:{name} gp", (f"bvlc:{name} gp",))


PYTORCH = ("autograd data", "autograd-channels-last data")
# Seconds of GP in networks.md of 2026-11-23 (Intel Xeon, two threads), from which it is to get faster.
RESNET101 = 10.6
TARGETS = [
    Target("FCN-32s, GP at data: embedded / BVLC naive", 0.30, "gp", "embedded data", ("bvlc-naive data",)),
    Target("FCN-32s, GP at data: embedded / BVLC probe", 0.37, "gp", "embedded data", ("bvlc-probe data",)),
    Target("FCN-32s, GP at data: embedded / PyTorch eager", 0.43, "gp", "embedded data", PYTORCH),
    Target("FCN-32s, forward: embedded / OpenCV", 0.42, "gp", "embedded forward", ("opencv forward",)),
    Target("FCN-32s, GP at data / own forward", 3.4, "gp", "embedded data", ("embedded forward",)),
    Target("FCN-32s, GP at pool2 / own forward", 3.0, "gp", "embedded pool2", ("embedded forward",)),
    Target("FCN-32s, GP at pool3 / own forward", 2.6, "gp", "embedded pool3", ("embedded forward",)),
    Target("FCN-32s, GP at pool4 / own forward", 2.2, "gp", "embedded pool4", ("embedded forward",)),
    Target("FCN-32s, 21 eps at data / own forward", 24, "gp", "embedded sweep", ("embedded forward",)),
    Target("FCN-32s, GP at data: peak memory", 1.7, "gp", "embedded peak_gb", unit="GB"),
    _net("fcn-8s", 0.40),
    _net("deeplab-vgg16", 0.45),
    _net("deeplab-coco-largefov", 0.45),
    _net("crfasrnn-coco", 0.50),
    Target(
        f"deeplab-resnet101: GP, 0.75 x {RESNET101} s",
        0.75 * RESNET101,
        "networks",
        "embedded:deeplab-resnet101 gp",
        unit="s",
        setting="2-wall",
    ),
    Target("deeplab-resnet101: peak memory", 5, "networks", "embedded:deeplab-resnet101 peak_gb", unit="GB"),
    Target(
        "lenet, one image: forward, embedded / BVLC",
        1.2,
        "networks",
        "embedded:lenet forward",
        ("bvlc:lenet forward",),
    ),
    _net("lenet", 1.2),
    *map(_net, ("fcn-32s", "fcn-16s", "fcn-8s-atonce", "fcn-alexnet", "fcn-8s-context", "fcn-8s-coco")),
    _net("cifar10"),
    Target("MNIST, 10,000 images: embedded / our driver on BVLC", 0.6, "mnist", "embedded gp", ("bvlc gp",)),
    Target("MNIST, 10,000 images: embedded / plain pycaffe", 0.2, "mnist", "embedded gp", ("bvlc-plain gp",)),
    Target("import caffe_gp", 0.3, "start", "import seconds", unit="s"),
    Target("caffe_gp run --help", 0.5, "start", "help seconds", unit="s"),
    Target("mean field: forward / pydensecrf2", 1.0, "crf", "* forward", ("* pydensecrf2",)),
    Target("mean field: backward / forward", 1.5, "crf", "* backward", ("* forward",)),
    Target("mean field: the same, learning", 1.5, "crf", "* backward-learning", ("* forward-learning",)),
    Target("mean field: share of labels not pydensecrf2's", 0.005, "crf", "* unlike"),
    Target("caffemodel of 545 MB: seconds", 2, "weights", "caffe_gp seconds", unit="s"),
    Target("caffemodel of 545 MB: peak memory / file", 1.5, "weights", "caffe_gp peak_over_file"),
]


def read(folder: Path) -> dict[str, dict]:
    """Benchmark -> its result, of those that are in the folder."""
    paths = {name: folder / f"{name}.json" for name in NAMES}
    return {
        name: json_files.read_object(path, "the results") for name, path in paths.items() if path.is_file()
    }


def committed() -> dict[str, dict]:
    """The same of the last commit; nothing where this is no checkout."""
    found = {}
    for name in NAMES:
        file = f"HEAD:{(RESULTS / name).relative_to(ROOT)}.json"
        try:
            shown = subprocess.run(["git", "show", file], cwd=ROOT, capture_output=True)
        except OSError:
            break
        if not shown.returncode:
            found[name] = json.loads(shown.stdout)
    return found


def values(results: dict[str, dict]) -> dict[str, dict[Target, float]]:
    """Setting -> target -> what was measured for it."""
    found: dict[str, dict[Target, float]] = {}
    for target in TARGETS:
        for setting, ways in results.get(target.benchmark, {}).get("figures", {}).items():
            value = target.value(best(ways))
            if value is not None and target.setting in ("", setting):
                found.setdefault(setting, {})[target] = value
    return found


def worse(now: dict[str, dict[Target, float]], before: dict[str, dict[Target, float]]) -> list[list[str]]:
    """A row for each ratio and peak memory that grew by 20 % or more."""
    rows = []
    for setting, found in now.items():
        for target, value in found.items():
            old = before.get(setting, {}).get(target)
            if target.unit != "s" and old and value >= WORSE * old:
                row = [target.name, setting, _number(old, target), _number(value, target)]
                rows.append([*row, f"+{100 * (value / old - 1):.0f} %"])
    return rows


def page(results: dict[str, dict], before: dict[str, dict]) -> str:
    """The Markdown of ``results/targets.md``."""
    now = values(results)
    settings = sorted(now)
    lines = ["# What is to be reached", "", "Ratios unless a unit is given. Settings:", ""]
    lines += [f"- `{name}`: {Setting.parse(name).in_words()}" for name in settings]
    lines += ["", *table(["what", "at most", *settings], [_row(target, now, settings) for target in TARGETS])]
    left_out = [target for target in TARGETS if not any(target in found for found in now.values())]
    if left_out:
        lines += ["", "Not measured, because something was missing (the benchmark's page says what):", ""]
        lines += [f"- {target.name} ({target.benchmark})" for target in left_out]
    measured = [
        [f"[{name}]({name}.md)", *(result["facts"].get(key, "-") for key in ("date", "commit", "processor"))]
        for name, result in results.items()
    ]
    lines += ["", "## Where the figures are from", ""]
    lines += table(["benchmark", "date", "commit", "processor"], measured)
    lines += ["", "## Worse by 20 % or more than the committed ratio", ""]
    rows = worse(now, values(before))
    if rows:
        lines += table(["what", "setting", "committed", "now", "change"], rows)
    else:
        lines.append("None." if before else "Nothing to compare with: no results are committed.")
    return "\n".join(lines) + "\n"


def _row(target: Target, now: dict[str, dict[Target, float]], settings: list[str]) -> list[str]:
    cells = []
    for setting in settings:
        value = now[setting].get(target)
        verdict = "" if math.isinf(target.limit) else " reached"
        if value is not None and value > target.limit:
            verdict = " **NOT reached**"
        cells.append("-" if value is None else f"{_number(value, target)}{verdict}")
    return [target.name, "" if math.isinf(target.limit) else _number(target.limit, target), *cells]


def _number(value: float, target: Target) -> str:
    return f"{value:.3g} {target.unit}".strip()


def write(folder: Path) -> None:
    """Print the page of the results in the folder, and write it there."""
    text = page(read(folder), committed())
    atomic.write_text(folder / "targets.md", text)
    print(text)


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS)

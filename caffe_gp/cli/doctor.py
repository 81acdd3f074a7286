"""``caffe_gp doctor``: what this machine has, and what each experiment still needs."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

from caffe_gp import engines
from caffe_gp.cli import options
from caffe_gp.datasets.fetch import what_is_missing
from caffe_gp.datasets.sources import find, published
from caffe_gp.errors import CaffeGPError, printable
from caffe_gp.experiments import suites
from caffe_gp.experiments.bench import Bench
from caffe_gp.experiments.reproduce import EXPERIMENTS, missing
from caffe_gp.files import places
from caffe_gp.models import weights
from caffe_gp.provenance import code_version, cpu_name

EXAMPLES = """
examples:
  caffe_gp doctor                       versions, machine, engines, data, weights, experiments
  caffe_gp doctor --short               what a bug report needs
  caffe_gp doctor --data-folder ~/data
"""

# Distributions whose versions decide what a number is, or whether a file is read.
_PACKAGES = (
    *("torch", "numpy", "scipy", "numba", "protobuf", "h5py", "opencv-python-headless", "opencv-python"),
    *("pillow", "matplotlib", "lmdb", "ray", "onnx", "onnxruntime"),
)
# Variables that decide what computes, and how. No others: addresses and folders are nobody's business.
_SWITCHES = ("CAFFE_GP_ENGINE", "CAFFE_GP_DEVICE", "CAFFE_GP_OPTIMIZE", "OMP_NUM_THREADS")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the data is, and how much to say."""
    options.add_data_folder(parser)
    parser.add_argument(
        "--short", action="store_true", help="only versions, machine and engines: for a bug report"
    )


def work(args: argparse.Namespace) -> None:
    """Print the report."""
    print(printable(report(args.data_folder, short=args.short)))


def report(data_root: Path | None = None, *, short: bool = False) -> str:
    """The whole report as text: versions, machine, engines, data, weights, experiments.

    short   only the first three
    """
    root = data_root or places.data_folder()
    sections = [
        ("software", _software()),
        ("machine", _machine(root)),
        ("engines", [_engine(name) for name in engines.ENGINES[1:]]),
    ]
    if not short:
        sections += _what_is_here(root, data_root)
    return "\n\n".join(f"{title}\n" + "\n".join(f"  {line}" for line in lines) for title, lines in sections)


def _what_is_here(root: Path, data_root: Path | None) -> list[tuple[str, list[str]]]:
    """The sections on data, weights and experiments."""
    folder = places.models_folder()
    sections = [
        (f"data in {root}", [_data(name, root) for name in published()]),
        (
            f"weights in {folder}",
            [f"{weights.status(name, folder):<10} {name}" for name in weights.released()],
        ),
    ]
    for name in suites.NAMES:
        sections.append((f"experiments, suite {name}", _experiments(name, data_root)))
    return sections


def _software() -> list[str]:
    """Versions: of this package with its commit, of Python, the system and the packages that are there."""
    installed = []
    for name in _PACKAGES:
        try:
            installed.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            pass
    switches = [f"{name}={os.environ[name]}" for name in _SWITCHES if name in os.environ]
    return [
        f"caffe_gp {code_version()}, in {Path(__file__).resolve().parents[2]}",
        f"Python {platform.python_version()}, {platform.platform()}",
        ", ".join(installed),
        *switches,
    ]


def _machine(root: Path) -> list[str]:
    place = root if root.exists() else Path(".")
    free = shutil.disk_usage(place).free / 1e9
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    cores = f"{cpu_name()}, {os.cpu_count()} cores"
    lines = [f"{cores}, {memory:.0f} GB{_available()}; {free:.0f} GB free on the disk of {place.resolve()}"]
    return lines + [f"GPU {gpu}" for gpu in _gpus()]


def _available() -> str:
    """How much memory new programs may have, where Linux tells it."""
    try:
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        return f" ({int(fields['MemAvailable'].split()[0]) * 1024 / 1e9:.0f} free)"
    except (OSError, KeyError, ValueError):
        return ""


def _gpus() -> list[str]:
    """Name and memory of each NVIDIA GPU, as its driver tells them; 'none found' without a driver."""
    query = ["nvidia-smi", "--query-gpu=index,name,memory.total,memory.free", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ["none found (no nvidia-smi, or it finds no driver)"]
    rows = [line.split(", ") for line in answer.stdout.decode().splitlines()]
    return [f"{row[0]}: {row[1]}, {row[2]} ({row[3]} free)" for row in rows if len(row) == 4]


def _engine(name: str) -> str:
    try:
        found = engines.describe(name)
    except CaffeGPError as error:
        return f"{name:<6} not here: {str(error).split('.')[0]}"
    versions = (f"{key} {found[key]}" for key in ("engine_version", "torch", "numpy") if key in found)
    return f"{name:<6} {', '.join(versions)}"


def _data(name: str, root: Path) -> str:
    state = "missing" if what_is_missing(find(name), root) else "here"
    return f"{state:<10} {name:<15} {find(name).title}"


def _experiments(name: str, data_root: Path | None) -> list[str]:
    """A line an experiment, and under it what is missing for it."""
    suite = suites.get(name)
    lines: list[str] = []
    said: dict[str, None] = {}
    for experiment, what in EXPERIMENTS.items():
        if what.paper_only and not suite.paper:
            continue
        lacks = missing([experiment], Bench(suite, Path("reports"), data_root=data_root))
        lines.append(f"{'ready' if not lacks else 'waits':<10} {experiment:<9} {what.title.split(': ')[-1]}")
        said.update({sentence: None for sentence in lacks})
    return lines + [f"           {sentence}" for sentence in said]

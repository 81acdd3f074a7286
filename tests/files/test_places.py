"""Where weights, data and shipped files lie: in a checkout, installed, and where a variable says."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from caffe_gp.files import places


@pytest.fixture
def no_variables(monkeypatch):
    for name in ("CAFFE_GP_MODELS", "CAFFE_GP_DATA"):
        monkeypatch.delenv(name, raising=False)


def test_in_a_checkout(no_variables, project_root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the current folder has no say in it
    assert places.checkout() == project_root
    assert places.models_folder() == project_root / "models"
    assert places.data_folder() == project_root / "data"
    assert places.shipped("prototxt", "lenet", "deploy.prototxt").is_file()


def test_the_variables_go_before_everything_else(monkeypatch, tmp_path):
    monkeypatch.setenv("CAFFE_GP_MODELS", str(tmp_path / "m"))
    monkeypatch.setenv("CAFFE_GP_DATA", "~/d")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert places.models_folder() == tmp_path / "m" and places.data_folder() == tmp_path / "d"
    monkeypatch.setenv("CAFFE_GP_MODELS", " ")
    assert places.models_folder() == places.shipped("models")


@pytest.fixture
def installed(no_variables, project_root, tmp_path):
    """Runs code with a copy of the package in a folder without a checkout; its output's lines."""
    site = tmp_path / "site"
    shutil.copytree(project_root / "caffe_gp" / "files", site / "caffe_gp" / "files")
    shutil.copy(project_root / "caffe_gp" / "errors.py", site / "caffe_gp")
    (site / "caffe_gp" / "__init__.py").touch()

    def run(code):
        header = f"import sys; sys.path.insert(0, {str(site)!r}); from caffe_gp.files import places\n"
        environment = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
        command = [sys.executable, "-c", header + code]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


def test_an_installed_package_uses_the_cache_folder(installed, tmp_path):
    pytest.importorskip("platformdirs")
    names = "places.checkout(), places.models_folder(), places.data_folder(), places.shipped('a', 'b')"
    assert installed(f"print(*({names}), sep='\\n')") == [
        "None",
        str(tmp_path / "cache/caffe_gp/models"),
        str(tmp_path / "cache/caffe_gp/data"),
        str(tmp_path / "site/caffe_gp/shipped/a/b"),
    ]


def test_without_platformdirs_it_says_what_to_install(installed):
    hidden = "sys.modules['platformdirs'] = None\n"
    (message,) = installed(
        hidden + "try: places.data_folder()\nexcept places.CaffeGPError as error: print(error)"
    )
    assert "pip install platformdirs" in message and "CAFFE_GP_DATA=FOLDER" in message

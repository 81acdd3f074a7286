"""``caffe_gp.NAME``: what is public, light to import, and seen by type checkers."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import caffe_gp

PACKAGE = Path(caffe_gp.__file__).parent
SCRIPT = Path(__file__).resolve().parent / "wheel" / "user" / "script.py"


def test_all_is_there_and_what_it_says():
    wanted = "GuidedPerturbation GPResult load_net load_model models Preprocess evaluate Evaluation ENCODINGS"
    assert {*wanted.split(), "CaffeGPError", "__version__"} <= set(caffe_gp.__all__)
    assert sorted(set(caffe_gp.__all__)) == sorted(caffe_gp.__all__)
    for name in caffe_gp.__all__:
        assert getattr(caffe_gp, name) is not None and name in dir(caffe_gp)
    from caffe_gp import errors
    from caffe_gp.gp import ENCODINGS, GuidedPerturbation

    assert caffe_gp.GuidedPerturbation is GuidedPerturbation and caffe_gp.ENCODINGS is ENCODINGS
    assert issubclass(caffe_gp.NetError, errors.CaffeGPError)


def test_every_error_is_public():
    from caffe_gp import errors

    classes = {name: value for name, value in vars(errors).items() if isinstance(value, type)}
    family = {name for name, value in classes.items() if issubclass(value, errors.CaffeGPError)}
    # Never leaves a download: the next address is tried.
    assert family - {"SlowDownloadError"} <= set(caffe_gp.__all__)


def test_type_checkers_see_the_same_names():
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    (typed,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {}
    for node in typed.body:
        for alias in node.names:
            assert alias.asname == alias.name
            seen[alias.name] = node.module
    assert seen.pop("models") == "caffe_gp"
    assert seen == {name: f"caffe_gp.{module}" for name, module in caffe_gp._FROM.items()}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Guided'"):
        caffe_gp.Guided  # noqa: B018
    with pytest.raises(ImportError):
        from caffe_gp import Guided  # type: ignore[attr-defined]  # noqa: F401


def test_the_import_is_light():
    code = "import sys, caffe_gp; caffe_gp.__version__; dir(caffe_gp); print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_user_s_script_is_typed(tmp_path):
    api = pytest.importorskip("mypy.api")
    assert (PACKAGE / "py.typed").exists()
    # The package is this checkout's, so mypy would judge it by the user's rules too.
    options = ["--strict", "--config-file", "", "--follow-imports", "silent", "--cache-dir", str(tmp_path)]
    stdout, stderr, code = api.run([*options, str(SCRIPT)])
    assert code == 0, stdout + stderr
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "import caffe_gp\nnet = caffe_gp.load_model(3)\nreveal_type(caffe_gp.evaluate)\ncaffe_gp.nothing\n"
    )
    stdout, _, _ = api.run([*options, str(wrong)])
    assert 'wrong.py:2: error: Argument 1 to "load_model"' in stdout
    assert "def (settings: " in stdout and "wrong.py:4: error" in stdout

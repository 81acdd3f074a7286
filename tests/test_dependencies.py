"""What the package imports is what pyproject.toml declares; what an extra brings is known to the command."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

from caffe_gp.cli.extras import EXTRAS

tomllib = pytest.importorskip("tomllib")

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Module -> distribution, where the names differ.
DISTRIBUTIONS = {
    "cv2": "opencv-python-headless",
    "google": "protobuf",
    "PIL": "pillow",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
}
# BVLC Caffe's own Python module, which no package index has; what may be there in place of pydot.
NOT_DECLARED = {"caffe", "pydotplus"}
FOR_DEVELOPERS = {"dev", "docs", "fuzz"}


def declared(requirements):
    """Names of the distributions, in lower case."""
    return {re.match(r"[A-Za-z0-9._-]+", line).group(0).lower() for line in requirements}


def imports():
    """Distribution -> whether some module of the package imports it at its top."""
    found: dict[str, bool] = {}
    for path in (ROOT / "caffe_gp").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            for name in {name.split(".")[0] for name in names} - NOT_DECLARED - {"caffe_gp"}:
                if name not in sys.stdlib_module_names:
                    name = DISTRIBUTIONS.get(name, name).lower()
                    found[name] = found.get(name, False) or node in tree.body
    return found


def test_every_import_is_declared_and_the_other_way_round():
    extras = PROJECT["optional-dependencies"].items()
    core = declared(PROJECT["dependencies"])
    optional = declared(line for name, lines in extras if name not in FOR_DEVELOPERS for line in lines)
    # skimage is not imported: its photographs are read from where it lies.
    assert set(imports()) | {"scikit-image"} == core | optional
    assert not core & optional


def test_what_is_optional_is_imported_where_it_is_needed_only():
    core = declared(PROJECT["dependencies"])
    assert {name for name, at_top in imports().items() if at_top} <= core


def test_the_command_knows_the_extras():
    extras = {name for name in PROJECT["optional-dependencies"] if name not in FOR_DEVELOPERS}
    assert set(EXTRAS) == extras
    for name, modules in EXTRAS.items():
        lines = PROJECT["optional-dependencies"][name]
        assert declared(lines) == {DISTRIBUTIONS.get(module, module).lower() for module in modules}


def test_floors_and_no_ceilings():
    for line in PROJECT["dependencies"]:
        assert re.search(r">=\d", line) and not re.search(r"<|==|~=", line.split(";")[0]), line


def test_constraints_satisfy_the_floors():
    packaging = pytest.importorskip("packaging.requirements")
    pins = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            pin = packaging.Requirement(line)
            (version,) = [specifier.version for specifier in pin.specifier]
            pins[pin.name.lower()] = version
    extras = PROJECT["optional-dependencies"].items()
    lines = [line for name, lines in extras if name != "docs" for line in lines]
    for line in (*PROJECT["dependencies"], *lines):
        wanted = packaging.Requirement(line)
        assert wanted.specifier.contains(pins[wanted.name.lower()]), line

"""What may import what: the rooms of the package from the ground up, without a circle or an arrow upward."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "caffe_gp"

# Each may import those before it and, if a folder, itself. python_layers stands in three places: how users'
# layers are found below Caffe, the layers that the surgery puts into a net below it, the data layers for
# training above the data sets.
ROOMS = [
    "errors", "one_thread", "provenance", "compiled", "files", "images", "proto", "crf", "gp",
    "python_layers.python2", "python_layers.users", "caffe", "python_layers.base",
    "python_layers.segmentation", "python_layers.builtin", "surgery", "engines", "datasets", "report",
    "models", "export", "python_layers", "runs", "evaluation", "training", "experiments", "explore", "cli",
]  # fmt: skip


def room_of(module: str) -> str | None:
    """The room that a dotted name below caffe_gp belongs to; None for the package itself."""
    parts = module.split(".")[1:]
    for size in (2, 1):
        if ".".join(parts[:size]) in ROOMS:
            return ".".join(parts[:size])
    return None


def module_of(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def names_in(path: Path) -> set[str]:
    """Modules of the package that a file names: imported anywhere in it, or in a string of its own."""
    module, found = module_of(path), set()
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            found.update([source, *(f"{source}.{alias.name}" for alias in node.names)])
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if re.fullmatch(r"caffe_gp(\.\w+)+", node.value):
                found.add(node.value)
    return {name for name in found if name.startswith("caffe_gp.")}


def edges() -> dict[str, set[str]]:
    """Module -> modules of the package that it names."""
    paths = {module_of(path): path for path in PACKAGE.rglob("*.py")}
    found: dict[str, set[str]] = {}
    for module, path in paths.items():
        names = names_in(path)
        # 'from a import b' names a too, unless b is a module of its own.
        found[module] = {name if name in paths else name.rpartition(".")[0] for name in names} & set(paths)
    return found


def test_every_module_has_a_room():
    known = {"caffe_gp", "caffe_gp.__main__"}
    assert [module for module in edges() if room_of(module) is None and module not in known] == []


def test_nothing_names_a_room_above_its_own():
    upward = [
        f"{module} -> {other}"
        for module, others in edges().items()
        for other in sorted(others)
        if (here := room_of(module)) and (there := room_of(other)) and ROOMS.index(there) > ROOMS.index(here)
    ]
    assert upward == []


def test_no_circle():
    """Between modules, packages' own __init__ left out: those import their parts."""
    graph = {
        module: {other for other in others if other != module and f"{other}." not in f"{module}."}
        for module, others in edges().items()
        if module not in ("caffe_gp", "caffe_gp.__main__")
    }
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module not in done:
            for other in sorted(graph.get(module, ())):
                visit(other, (*path, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())


def test_nothing_below_names_tools_tests_or_benchmarks():
    for path in [*PACKAGE.rglob("*.py"), *(ROOT / "conformance").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                first = node.module.split(".")[0]
                assert first not in ("tests", "tools", "benchmarks"), f"{path} imports {node.module}"
                assert first != "conformance" or "conformance" in path.parts, path
    for path in (ROOT / "benchmarks").rglob("*.py"):
        assert not re.search(r"^\s*(from|import) tests\b", path.read_text(encoding="utf-8"), re.M), path

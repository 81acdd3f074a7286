"""What a public host reads: citation, forms for issues, workflow; and the hooks before a commit."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

import caffe_gp
from caffe_gp.cli.main import COMMANDS
from conformance.folders import ROOT

yaml = pytest.importorskip("yaml")
FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))
WORKFLOW = ROOT / ".github/workflows/ci.yml"


def schema_of(path):
    if path.name == "CITATION.cff":
        return "citation-file-format"
    if path == WORKFLOW:
        return "github-workflows"
    return "github-issue-config" if path.stem == "config" else "github-issue-forms"


@pytest.mark.parametrize("path", [ROOT / "CITATION.cff", WORKFLOW, *FORMS], ids=lambda path: path.name)
def test_schema(path):
    pytest.importorskip("check_jsonschema")
    schema = f"vendor.{schema_of(path)}"
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_citation_is_of_this_version_and_of_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == caffe_gp.__version__ and citation["license"] == "BSD-2-Clause"
    paper = citation["preferred-citation"]
    assert [author["family-names"] for author in paper["authors"]] == ["Sankaranarayanan", "Jain", "Lim"]
    assert paper["title"] in re.sub(r"\s+", " ", (ROOT / "README.md").read_text(encoding="utf-8"))


def test_the_readme_names_every_command():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"`{name}`" not in readme and f"caffe_gp {name}" not in readme] == []


def test_the_changes_of_this_version_are_told():
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert headings[0] == "Unreleased" and headings[1].split()[0] == caffe_gp.__version__


def test_the_workflow_has_no_secrets_and_pinned_actions():
    text = WORKFLOW.read_text(encoding="utf-8")
    assert "secrets." not in text and yaml.safe_load(text)["permissions"] == {"contents": "read"}
    for action in re.findall(r"uses: (\S+)", text):
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action), action


def test_the_workflow_begins_with_the_oldest_python(project_root):
    pythons = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]["versions"]["strategy"]["matrix"][
        "python"
    ]
    project = (project_root / "pyproject.toml").read_text(encoding="utf-8")
    oldest = re.search(r'"torch>=.*python_version >= \'([\d.]+)\'"', project).group(1)
    assert pythons[0] == oldest and pythons == sorted(pythons, key=lambda text: int(text.split(".")[1]))


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="pre-commit looks at a checkout of git")
def test_the_hooks_pass(tmp_path):
    """But mypy's, which is make lint's."""
    pytest.importorskip("pre_commit")
    environment = {**os.environ, "SKIP": "mypy", "PRE_COMMIT_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "pre_commit", "run", "--all-files"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"ruff \w+\.+Passed", done.stdout)) == 2

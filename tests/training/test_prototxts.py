"""The committed prototxts and the table of models are what the code writes; the command that writes them."""

from __future__ import annotations

import dataclasses

import pytest

from caffe_gp.files import places
from caffe_gp.models import zoo
from caffe_gp.training import prototxts

FILES = list(prototxts.files())


@pytest.mark.parametrize("path, text", FILES, ids=lambda value: "/".join(getattr(value, "parts", "")[-2:]))
def test_committed_files_are_what_the_code_writes(path, text):
    assert prototxts.is_current(path, text), f"{path}: run make prototxts"


def test_nothing_else_is_committed(project_root):
    written = {path for path, _ in FILES}
    assert set((project_root / "prototxt").glob("*/*")) <= written


def test_check_names_what_differs_and_leaves_it(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["prototxts", "--check"])
    assert prototxts.main() == 0 and capsys.readouterr().out == ""
    lenet = dataclasses.replace(zoo.get("lenet"), title="another title")
    monkeypatch.setitem(zoo.MODELS, "lenet", lenet)
    names = ("deploy", "train", "solver")
    stale = [
        *(lenet.prototxt().with_name(f"{name}.prototxt") for name in names),
        places.shipped("docs", "models.md"),
    ]
    before = [path.read_bytes() for path in stale]
    assert prototxts.main() == 2
    out, err = capsys.readouterr()
    assert out.split() == [str(path) for path in stale]
    assert "4 file(s) are not what the code writes" in err
    assert [path.read_bytes() for path in stale] == before


def test_writing(tmp_path, monkeypatch, capsys, project_root):
    """Into an empty checkout: every file comes, as it is committed."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "models.md").write_text("<!-- models -->\n\n")
    monkeypatch.setattr(places, "checkout", lambda: tmp_path)
    monkeypatch.setattr("sys.argv", ["prototxts"])
    assert prototxts.main() == 0
    assert len(capsys.readouterr().out.split()) == len(FILES)
    for path in sorted((tmp_path / "prototxt").glob("*/*")):
        assert path.read_bytes() == (project_root / path.relative_to(tmp_path)).read_bytes()
    assert prototxts.main() == 0 and capsys.readouterr().out == ""
    (tmp_path / "docs" / "models.md").unlink()
    assert prototxts.main() == 2 and "models.md" in capsys.readouterr().err

"""Run folders that were edited by hand: the same numbers come out, or a DataError that says what is wrong."""

from __future__ import annotations

import json
import os
import shutil

import h5py
import numpy as np
import pytest

from caffe_gp.errors import CaffeGPError, DataError
from caffe_gp.evaluation.classification import evaluate as classify
from caffe_gp.evaluation.image_outputs import read_signs, set_aside
from caffe_gp.evaluation.record_checks import CLASSIFICATION, IMAGES
from caffe_gp.evaluation.results import read_run, table
from caffe_gp.evaluation.segmentation import evaluate
from caffe_gp.files.json_files import MAX_VALUES
from caffe_gp.runs.folder import RunFolder
from tests.evaluation import edits, tiny_classifier, tiny_run

pytestmark = pytest.mark.engine

EVERY = 7  # of the edits, one is tried here: all of them take a minute


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """(settings of a run over two images, its folder)."""
    folder = tmp_path_factory.mktemp("scored")
    tiny_run.make_net(folder)
    settings = tiny_run.settings(folder, tiny_run.make_data(folder, 2), folder / "run")
    evaluate(settings)
    return settings, folder / "run"


@pytest.fixture(scope="module")
def classified(tmp_path_factory):
    """(settings of a run over seven images, its folder)."""
    folder = tmp_path_factory.mktemp("classified")
    tiny_classifier.make_net(folder)
    test = tiny_classifier.make_set("seven", 7, seed=2)
    settings = tiny_classifier.settings(
        folder, folder / "run", test=test, k=(1, 3), gradient_at=("neighbour", "test"), bank=folder / "bank"
    )
    classify(settings)
    return settings, folder / "run"


def numbers(out):
    """What a run over images found, without its times."""
    return table(read_run(out)).partition("image(s)")[0]


def summaries(folder, schema):
    """The records of a run by item, without their times."""
    return {
        item: {name: value for name, value in record.items() if name != "seconds"}
        for item, record in RunFolder(folder, schema).records().items()
    }


@pytest.mark.parametrize("file", ["records/0.jsonl", "key.json", "results.json", "provenance.json"])
def test_edited_values_of_a_run_over_images(scored, tmp_path, file):
    out, found, refused = tmp_path / "run", numbers(scored[1]), 0
    shutil.copytree(scored[1], out)
    lines = edits.lines_of(out / file)
    for number in range(min(2, len(lines))):
        for what, line in list(edits.edits_of(lines[number]))[number::EVERY]:
            edits.write(out / file, [*lines[:number], line, *lines[number + 1 :]])
            try:
                assert numbers(out) == found, (file, number, what)
            except CaffeGPError as error:
                refused += 1
                assert str(out) in str(error) and str(error).isprintable() and len(str(error)) < 600
    assert refused > 50


@pytest.mark.parametrize("schema, which", [(IMAGES, 0), (CLASSIFICATION, 1)])
def test_records_alone_show_most_edits(scored, classified, tmp_path, schema, which):
    """Without reports, whose hash would tell: what is kept is as it was, or is of the kind that it was."""
    source = (scored, classified)[which][1]
    (tmp_path / "run" / "records").mkdir(parents=True)
    shutil.copy(source / "key.json", tmp_path / "run")
    path = tmp_path / "run" / "records" / "0.jsonl"
    lines = edits.lines_of(source / "records" / "0.jsonl")
    kept, refused = [], 0
    for what, line in list(edits.edits_of(lines[1]))[which::EVERY]:
        edits.write(path, [lines[0], line])
        try:
            RunFolder(tmp_path / "run", schema).records()
            kept.append(what)
        except DataError as error:
            refused += 1
            assert "0.jsonl, line 2: not a record of this tool (" in str(error)
    # An item of the same form, a time, a label in its range, or a field that nobody reads may be anything.
    assert refused > 10 * len(kept), kept


def test_what_a_resumed_run_finds_edited(scored, classified, tmp_path):
    """A record is looked at before its run is resumed, too."""
    for (settings, folder), run, field in ((scored, evaluate, "width"), (classified, classify, "base")):
        out = settings.out
        path = out / "records" / "0.jsonl"
        before = path.read_bytes()
        lines = edits.lines_of(path)
        edits.write(path, [*lines[:-1], {**lines[-1], field: "x"}])
        with pytest.raises(
            DataError, match=f"line {len(lines)}: not a record of this tool .{field}: expected"
        ):
            run(settings)
        path.write_bytes(before)
        (out / "results.json").write_text('{"summary": 1}')  # written anew
        (out / "ids.txt").write_text("x\nx\n")
        run(settings)
        assert json.loads((out / "results.json").read_text())["schema"] and folder == out
        base = lines[-1]["base"]
        others = [(label + 1) % 4 for label in base] if field == "base" else {**base, "confidence": 0.5}
        lines[-1]["base"] = others
        edits.write(path, lines)
        with pytest.raises(DataError, match="results.json: it is not made of this folder's records"):
            run(settings)
        path.write_bytes(before)


@pytest.mark.parametrize(
    "content, message",
    [
        ("image000\nimage000\nimage001\n", "line 2: 'image000' is there twice"),
        ("image000\n\nimage001\n", "not readable .an empty line"),
        ("image000\n", "not the images that the run began with"),
        ("image001\nimage000\n", "not the images that the run began with"),
        ("image000\nimage001", "cut off, or empty"),
        ("image000\nimage001\nimage002\n", "1 of 3 images are still to be computed"),
        ("", "cut off, or empty"),
        ("\x1b[2J" * 500 + "\n", r"still to be computed, '\\x1b\[2J"),
    ],
)
def test_edited_ids(scored, tmp_path, content, message):
    shutil.copytree(scored[1], tmp_path / "run")
    (tmp_path / "run" / "ids.txt").write_text(content)
    with pytest.raises(DataError, match=message):
        read_run(tmp_path / "run")


@pytest.mark.parametrize("name", ["key.json", "ids.txt", "results.json", "provenance.json", "records"])
@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink("/dev/zero", path)])
def test_something_else_in_a_files_place(scored, tmp_path, name, make):
    shutil.copytree(scored[1], tmp_path / "run")
    path = tmp_path / "run" / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    make(path)
    with pytest.raises(DataError, match="run"):
        read_run(tmp_path / "run")


@pytest.mark.parametrize(
    "line, message",
    [
        ("[" * 33 + "]" * 33, "more than 32 deep"),
        ("[" * 100_000 + "]" * 100_000, "more than 32 deep"),
        ("[" + "[]," * (MAX_VALUES // 3 + 1) + "0]", "more than 8000000 values"),
        ('{"item": "a", "item": "b"}', "names a field twice"),
        ("9" * 5000, "a number of 400 digits or more"),
        ("NaN", "the line: expected an object"),
    ],
    ids=["33 deep", "100000 deep", "many lists", "twice", "digits", "nan"],
)
def test_lines_that_take_time_or_memory(scored, tmp_path, line, message):
    shutil.copytree(scored[1], tmp_path / "run")
    with open(tmp_path / "run" / "records" / "0.jsonl", "a") as stream:
        stream.write(line + "\n")
    with pytest.raises(DataError, match=f"0.jsonl, line 4: not a record of this tool .*{message}"):
        read_run(tmp_path / "run")


TWO = np.float32([[1], [2]])


@pytest.mark.parametrize(
    "rows, values",
    [
        ([0, 0], TWO), ([-1, 0], TWO), ([0, 99], TWO), ([0.0, 1.0], TWO), ([[0, 1]], TWO), ([0, 1], TWO[:1]),
        ([0, 1], TWO.astype(np.float64)),
    ],
)  # fmt: skip
def test_edited_rows_of_a_bank(classified, tmp_path, rows, values):
    settings, _ = classified
    shutil.copytree(settings.bank, tmp_path / "bank")
    (path,) = (tmp_path / "bank" / "features" / "ip1").iterdir()
    with h5py.File(path, "r+") as file:
        del file["rows"], file["values"]
        file["rows"], file["values"] = rows, values
    settings = tiny_classifier.settings(
        settings.bank.parent, tmp_path / "run", test=settings.test, bank=tmp_path / "bank"
    )
    with pytest.raises(DataError, match=f"{path.name}: not readable .(rows|values): expected"):
        classify(settings)


# ---- nothing is written outside


def test_links_do_not_lead_a_run_outside(scored, tmp_path):
    settings = tiny_run.settings(scored[1].parent, scored[0].data, tmp_path / "run", save=("labels",))
    for folder in ("outside", "run"):
        (tmp_path / folder).mkdir()
    (tmp_path / "outside" / "mine.txt").write_text("mine")
    os.symlink(tmp_path / "outside" / "mine.txt", tmp_path / "run" / ".lock")
    with pytest.raises(DataError, match=".lock: expected a lock.s file, not a link"):
        evaluate(settings)
    (tmp_path / "run" / ".lock").unlink()
    os.symlink(tmp_path / "outside", tmp_path / "run" / "labels")
    with pytest.raises(DataError, match="leads out of the folder"):
        evaluate(settings)
    shutil.rmtree(tmp_path / "run")
    (tmp_path / "run").mkdir()
    os.symlink(tmp_path / "outside", tmp_path / "run" / "records")
    with pytest.raises(DataError, match="records: a link, which leads out of the run's folder"):
        evaluate(settings)
    record = {
        "item": "a",
        "image_sha256": "1",
        "truth_sha256": None,
        "files": ["labels/mine.txt", "key.json"],
    }
    assert set_aside(tmp_path / "run", [record], {}) == 0
    assert [path.name for path in (tmp_path / "outside").iterdir()] == ["mine.txt"]
    assert (tmp_path / "outside" / "mine.txt").read_text() == "mine"


def test_names_that_no_list_holds(tmp_path):
    for name in ("a\nb", "caf\udce9", ""):
        with pytest.raises(DataError, match="must be one line of UTF-8: rename the file"):
            RunFolder(tmp_path / "run").begin({}, ["fine", name])


@pytest.mark.parametrize(
    "arrays",
    [
        {}, {"eps_1": np.zeros((1, 2, 2), np.int8)}, {"eps_0.5": np.zeros((2, 2), np.int8)},
        {"eps_0.5": np.zeros((1, 2, 2))}, {"eps_0.5": np.array([{}])}, None,
    ],
)  # fmt: skip
def test_saved_perturbations(tmp_path, arrays):
    path = tmp_path / "a.npz"
    if arrays is None:
        path.write_bytes(b"PK\3\4 and no more")
    else:
        np.savez_compressed(path, **arrays)
    with pytest.raises(DataError, match="a.npz: .*remove it"):
        read_signs(path, "eps_0.5")
    signs = np.array([[[1, -1], [0, 1]]], np.int8)
    np.savez_compressed(path, **{"eps_0.5": signs})
    np.testing.assert_array_equal(read_signs(path, "eps_0.5"), signs)

"""Records of a run: torn lines, other keys, files of something else."""

from __future__ import annotations

import pytest

from caffe_gp.errors import DataError
from caffe_gp.evaluation.records import Records

pytestmark = pytest.mark.engine

KEY = {"eps": [0.5], "blob": "data", "scale": 1 / 256}


def test_records_are_there_again(tmp_path):
    with Records(tmp_path / "sub" / "r.jsonl", KEY) as records:
        records.add("a", {"value": (1, 2)})
        assert "a" in records and len(records) == 1
    with Records(tmp_path / "sub" / "r.jsonl", dict(KEY)) as records:
        assert list(records) == ["a"] and records["a"] == {"item": "a", "value": [1, 2]}
        records.add("b", {"value": 3})
        records.add("a", {"value": 4})
    with Records(tmp_path / "sub" / "r.jsonl", KEY) as records:
        assert records["a"]["value"] == 4 and records["b"]["value"] == 3


@pytest.mark.parametrize("torn", [1, 5, 20])
def test_a_torn_last_line_is_dropped(tmp_path, torn):
    path = tmp_path / "r.jsonl"
    with Records(path, KEY) as records:
        records.add("a", {"value": 1})
        records.add("b", {"value": 2})
    path.write_bytes(path.read_bytes()[:-torn])
    with Records(path, KEY) as records:
        assert list(records) == ["a"]
        records.add("c", {"value": 3})
    with Records(path, KEY) as records:
        assert list(records) == ["a", "c"]


def test_another_key_names_the_field(tmp_path):
    path = tmp_path / "r.jsonl"
    Records(path, KEY).close()
    with pytest.raises(DataError, match=r"eps = \[0.5\], now it is \[0.7\]; give another output folder"):
        Records(path, {**KEY, "eps": [0.7]})
    with pytest.raises(DataError, match="seed = null, now it is 1"):
        Records(path, {**KEY, "seed": 1})


@pytest.mark.parametrize("content", ["hello\n", '{"key": 1}\n', "[1]\n", '{"a": 2}\n'])
def test_a_file_of_something_else_is_not_touched(tmp_path, content):
    path = tmp_path / "r.jsonl"
    path.write_text(content)
    with pytest.raises(DataError, match="line 1|now it is"):
        Records(path, KEY)
    assert path.read_text() == content


def test_a_file_torn_in_its_first_line_starts_anew(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text('{"key": {"e')
    with Records(path, KEY) as records:
        assert len(records) == 0
        records.add("a", {})
    with Records(path, KEY) as records:
        assert list(records) == ["a"]

"""What the records of evaluations must be, whoever wrote the files: checked line by line as they are read.

Whatever the reports are made of is checked here, so that nothing behind needs to doubt it: also sums that
have to agree, which tell an edited number. Everything raises ValueError, naming the field.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any, Mapping, Sequence

from caffe_gp.errors import quoted
from caffe_gp.evaluation.calibration import check_sums
from caffe_gp.evaluation.confusion import IGNORE
from caffe_gp.files.fields import MOST, integer, items, mapping, need, number, sha256, text
from caffe_gp.runs.records import Schema

_MOST_CLASSES = 1 << 16
_ROUNDING = 1e-3  # means of float32 probabilities may be so far above 1
_CHANGES = ("changed_pixels", "fixed_pixels", "broken_pixels")
_ROWS = re.compile(r"([0-9]{1,9})-([0-9]{1,9})")

# ---- what all evaluations have in common


def _check_made(head: Mapping[str, Any], shared: Sequence[str]) -> None:
    """Where the records come from: what ``provenance.json`` is made of."""
    made = mapping(head.get("made"), "made")
    for name in ("date", "code_version", "command"):
        text(made.get(name), f"made.{name}")
    for name in shared:
        mapping(made.get(name), f"made.{name}")
    text(made["engine"].get("device_name"), "made.engine.device_name")


_ORIGIN = ("model", "method", "preprocessing", "data", "engine")


def _check_names(names: Any, what: str, count: int | None = None) -> list[str]:
    return [text(name, what) for name in items(names, what, count)]


def _check_eps(key: Mapping[str, Any]) -> list[float]:
    eps = [number(value, "key.eps") for value in items(key.get("eps"), "key.eps")]
    need(bool(eps) and len(set(eps)) == len(eps), "key.eps: expected numbers that differ")
    return eps


def _check_seconds(record: Mapping[str, Any]) -> None:
    for step, value in mapping(record.get("seconds"), "seconds").items():
        number(value, f"seconds of {quoted(step)}", 0)


# ---- images


def _check_image_head(head: Mapping[str, Any]) -> None:
    key = head["key"]
    _check_eps(key)
    _check_names(key.get("average", []), "key.average")
    integer(key.get("tent_steps", 0), "key.tent_steps", 0, MOST)
    integer(key.get("iterations", 1), "key.iterations", 1, MOST)
    if key.get("crf") is not None:
        mapping(key["crf"], "key.crf")
    classes = integer(head.get("classes"), "classes", 1, _MOST_CLASSES)
    need("class_names" in head, "class_names: none")
    if head["class_names"] is not None:
        _check_names(head["class_names"], "class_names", classes)
    need(isinstance(head.get("background_counts"), bool), "background_counts: expected true or false")
    _check_made(head, _ORIGIN)
    if "eps_choice" in head["made"]:
        _check_choice(head["made"]["eps_choice"])


def _check_choice(value: Any) -> None:
    """How eps was chosen without labels."""
    choice = mapping(value, "eps_choice")
    for name in ("eps", "gap_closed", "share", "base_confidence"):
        number(choice.get(name), f"eps_choice.{name}")
    integer(choice.get("passes"), "eps_choice.passes", 1)
    text(choice.get("note"), "eps_choice.note")
    need(bool(_check_names(choice.get("images"), "eps_choice.images")), "eps_choice.images: none")
    for point in items(choice.get("curve"), "eps_choice.curve"):
        for name in ("eps", "confidence", "gap_closed"):
            number(mapping(point, "eps_choice.curve").get(name), f"eps_choice.curve.{name}")


def _check_image_record(head: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    key, classes = head["key"], head["classes"]
    sides = [integer(record.get(name), name, 1, MOST) for name in ("width", "height")]
    pixels = integer(sides[0] * sides[1], "width * height", 1, MOST)
    sha256(record.get("image_sha256"), "image_sha256")
    has_truth = record.get("truth_sha256") is not None
    if has_truth:
        sha256(record["truth_sha256"], "truth_sha256")
    _check_files(record)
    _check_seconds(record)
    _check_calibration(record, has_truth, classes)
    for suffix in ("", "_crf"):
        names = [f"base{suffix}", f"gp{suffix}"]
        if suffix and key.get("crf") is None:
            need(not any(name in record for name in names), "base_crf, gp_crf: the run is without a CRF")
            continue
        base = mapping(record.get(names[0]), names[0])
        after = [mapping(one, names[1]) for one in items(record.get(names[1]), names[1], len(key["eps"]))]
        if "label" in base and not suffix:
            _check_labels([base, *after], classes)
        else:
            _check_counts(base, after, names, classes if has_truth else 0, pixels)
        for entry in () if suffix else (base, *after):
            number(entry.get("confidence"), "confidence", 0, 1 + _ROUNDING)
    switched = "gp_switched" in record
    need(
        switched == (key.get("switch") is True and "label" not in record["base"]),
        "gp_switched: expected where, and only where, the key has switch",
    )
    if switched:
        name = "gp_switched"
        after = [mapping(one, name) for one in items(record[name], name, len(key["eps"]))]
        _check_counts(record["base"], after, ["base", name], classes if has_truth else 0, pixels)


def _check_calibration(record: Mapping[str, Any], has_truth: bool, classes: int) -> None:
    """Sums that records of earlier versions do not have."""
    gp = record.get("gp")
    entries = [record.get("base"), *(gp if isinstance(gp, list) else ())]
    sums = [entry["calibration"] for entry in entries if isinstance(entry, dict) and "calibration" in entry]
    need(len(sums) in (0, len(entries)), "calibration: expected before and at every eps, or nowhere")
    counted = {check_sums(one, has_truth, classes) for one in sums}
    need(len(counted) <= 1, "calibration.pixels: expected the same before and at every eps")
    labels = any(isinstance(entry, dict) and "label" in entry for entry in entries)
    need(not (sums and labels), "calibration: the net labels whole images")


def _check_files(record: Mapping[str, Any]) -> None:
    """Names of files, which lie below the run's folder."""
    _check_names(record.get("save", []), "save")
    for name in _check_names(record.get("files", []), "files"):
        path = PurePosixPath(name)
        inside = bool(name) and not path.is_absolute() and ".." not in path.parts and "\0" not in name
        need(inside, f"files: {quoted(name)} is no file below the run's folder")


def _check_labels(entries: Sequence[Mapping[str, Any]], classes: int) -> None:
    """Of a net that labels whole images."""
    for entry in entries:
        integer(entry.get("label"), "label", 0, classes - 1)
        need("confusion" not in entry, "confusion: the net labels whole images")


def _check_counts(
    base: Mapping[str, Any],
    after: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    classes: int,
    pixels: int,
) -> None:
    """Of a net that labels pixels: before, and at each eps. ``classes``: 0 without ground truth."""
    need("label" not in base, "label: the net labels pixels")
    truth, right = _check_confusion(base, names[0], classes, pixels)
    for entry in after:
        need("label" not in entry, "label: the net labels pixels")
        changed, fixed, broken = (integer(entry.get(name, 0), name, 0, pixels) for name in _CHANGES)
        now_truth, now_right = _check_confusion(entry, names[1], classes, pixels)
        need(now_truth == truth, f"{names[1]}: its pixels of each class are not those of {names[0]}")
        agree = fixed - broken == now_right - right and fixed + broken <= changed
        need(
            agree, f"{names[1]}: changed, fixed and broken pixels do not agree with the pixels that are right"
        )


def _check_confusion(
    entry: Mapping[str, Any], what: str, classes: int, pixels: int
) -> tuple[dict[int, int], int]:
    """Pixels of each class of the ground truth, and how many pixels are right."""
    if not classes:
        need("confusion" not in entry, f"{what}: counts without ground truth")
        return {}, 0
    integer(classes, "classes", 1, IGNORE)
    totals: dict[int, int] = {}
    right, last = 0, (-1, -1)
    for counts in items(entry.get("confusion"), f"{what}.confusion"):
        truth, label, count = (
            integer(one, f"{what}.confusion", 0, pixels) for one in items(counts, f"{what}.confusion", 3)
        )
        integer(max(truth, label), f"{what}.confusion: class", 0, classes - 1)
        need(last < (truth, label), f"{what}.confusion: expected pairs of classes in order, each once")
        last = truth, label
        totals[truth] = totals.get(truth, 0) + count
        right += count if truth == label else 0
    integer(sum(totals.values()), f"{what}.confusion: the sum", 0, pixels)
    return totals, right


IMAGES = Schema(_check_image_head, _check_image_record, ("classes", "class_names", "background_counts"))


# ---- classification


def rows_in(item: str) -> range:
    """The rows of the set that an item, '0-99', stands for. ValueError for anything else."""
    found = _ROWS.fullmatch(item)
    need(found is not None, f"item: expected FIRST-LAST, found {quoted(item)}")
    assert found is not None
    first, last = map(int, found.groups())
    need(first <= last, f"item: expected FIRST-LAST, found {quoted(item)}")
    return range(first, last + 1)


def rows_of(count: int, size: int) -> list[str]:
    """The items that stand for ``count`` rows, ``size`` in each."""
    return [f"{first}-{min(first + size, count) - 1}" for first in range(0, count, size)]


def _check_classification_head(head: Mapping[str, Any]) -> None:
    key = head["key"]
    _check_eps(key)
    for name in ("features", "gradient_at"):
        need(bool(_check_names(key.get(name), f"key.{name}")), f"key.{name}: expected names")
    ks = [integer(k, "key.k", 1) for k in items(key.get("k"), "key.k")]
    need(bool(ks), "key.k: expected numbers of neighbours")
    for name in ("images", "train"):
        integer(mapping(key.get(name), f"key.{name}").get("images"), f"key.{name}.images", 1)
    _check_made(head, _ORIGIN)
    data = head["made"]["data"]
    need(bool(_check_names(data.get("class_names"), "made.data.class_names")), "made.data.class_names: none")
    for name in ("images", "train"):
        text(mapping(data.get(name), f"made.data.{name}").get("name"), f"made.data.{name}.name")


def _check_classification_record(head: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    key, classes = head["key"], len(head["made"]["data"]["class_names"])
    rows = rows_in(record["item"])
    need(rows[-1] < key["images"]["images"], "item: rows that the set does not have")
    _check_row(record.get("base"), "base", len(rows), classes)
    _check_seconds(record)
    neighbours = mapping(record.get("neighbours"), "neighbours")
    need(set(neighbours) == set(key["features"]), "neighbours: expected those by each blob of key.features")
    for several in neighbours.values():
        for one in items(several, "neighbours", len(rows)):
            _check_row(one, "neighbours", max(key["k"]), key["train"]["images"])
            need(len(set(one)) == len(one), "neighbours: one is there twice")
    labels = mapping(record.get("labels"), "labels")
    names = {
        f"{features}/{place}/{k}"
        for features in key["features"]
        for place in key["gradient_at"]
        for k in key["k"]
    }
    need(set(labels) == names, "labels: expected those of each variant of the key")
    for several in labels.values():
        for one in items(several, "labels", len(key["eps"])):
            _check_row(one, "labels", len(rows), classes)


def _check_row(values: Any, what: str, count: int, below: int) -> None:
    for value in items(values, what, count):
        integer(value, what, 0, below - 1)


CLASSIFICATION = Schema(_check_classification_head, _check_classification_record)


# ---- probabilities of classifiers


def _check_probability_head(head: Mapping[str, Any]) -> None:
    _check_eps(head["key"])
    images = mapping(head["key"].get("images"), "key.images")
    integer(images.get("images"), "key.images.images", 1)
    integer(head.get("classes"), "classes", 1, _MOST_CLASSES)
    _check_made(head, _ORIGIN)


def _check_probability_record(head: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    key, rows = head["key"], rows_in(record["item"])
    need(rows[-1] < key["images"]["images"], "item: rows that the set does not have")
    _check_seconds(record)
    for of_eps in items(record.get("probabilities"), "probabilities", 1 + len(key["eps"])):
        for of_image in items(of_eps, "probabilities", len(rows)):
            values = items(of_image, "probabilities", head["classes"])
            total = sum(number(value, "probabilities", 0, 1 + _ROUNDING) for value in values)
            need(abs(total - 1) <= _ROUNDING, "probabilities: expected a sum of 1 for every image")


PROBABILITIES = Schema(_check_probability_head, _check_probability_record, ("classes",))

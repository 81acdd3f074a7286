"""The folder of an evaluation, and what is read back from it.

    run = read_run("out")            # RunResults
    run.base, run.after, run.gain(0.55)

    ids.txt            the images, one id a line
    records/0.jsonl    a file of each worker process (records.py); a later file's record replaces an earlier's
    results.json       scores: a pure function of the records, byte-identical however they were computed
    provenance.json    where, when and how fast the records were computed
    labels/            label maps, if asked for
"""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Sequence, Tuple

import numpy as np
from scipy import sparse

from caffe_gp.errors import DataError
from caffe_gp.evaluation.bootstrap import Gain, paired_gain
from caffe_gp.evaluation.confusion import ConfusionMatrix
from caffe_gp.files.atomic import write_text
from caffe_gp.files.hashes import sha256_of, sha256_of_text
from caffe_gp.files.json_files import read_json, write_json
from caffe_gp.images.label_maps import read_label_png
from caffe_gp.runs.records import RecordWriter, check_key, read_records

if TYPE_CHECKING:
    from caffe_gp.datasets.segmentation import SegmentationSet
    from caffe_gp.evaluation.segmentation import Evaluation

SCHEMA = "caffe_gp.evaluation/1"

# Beyond so many images the bootstrap draws groups of them: the same spread, in bounded memory.
_BOOTSTRAP_GROUPS = 10_000

_OF_A_RUN = "it belongs to an evaluation's folder"
_OF_A_PART = ("date", "code_version", "command", "engine", "images")


Part = Tuple[Dict[str, Any], List[Dict[str, Any]]]  # first line and records of one file


def merged(parts: Sequence[Part]) -> dict[str, dict[str, Any]]:
    """The records by image id; the latest where there are several."""
    return {record["item"]: record for _, records in parts for record in records}


class RunFolder:
    """The files of one run."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def is_begun(self) -> bool:
        """Whether a run has got so far as to load its net and open its records here."""
        return (self.path / "key.json").is_file() and bool(self._record_files())

    def is_reported(self) -> bool:
        """Whether the reports were written."""
        return (self.path / "results.json").is_file() and (self.path / "provenance.json").is_file()

    def begin(self, key: dict[str, Any], ids: Sequence[str]) -> None:
        """Write what identifies the run, unless it is there; reports of its records so far go."""
        for name in ("results.json", "provenance.json"):
            if (self.path / name).is_file():
                (self.path / name).unlink()
        if not self.is_begun():
            (self.path / "records").mkdir(parents=True, exist_ok=True)
            write_text(self.path / "ids.txt", "".join(f"{item}\n" for item in ids))
            write_json(self.path / "key.json", key)

    def key(self) -> dict[str, Any]:
        """The settings that the run began with."""
        return read_json(self.path / "key.json", _OF_A_RUN)

    def ids(self) -> list[str]:
        """The images in their order."""
        return (self.path / "ids.txt").read_text(encoding="utf-8").splitlines()

    @contextmanager
    def new_records(self, head: dict[str, Any]) -> Iterator[RecordWriter]:
        """A new file of records that nobody else writes to."""
        number = max([-1, *(int(path.stem) for path in self._record_files())]) + 1
        while True:
            try:
                writer = RecordWriter(self.path / "records" / f"{number}.jsonl", head)
                break
            except FileExistsError:  # another worker was faster
                number += 1
        try:
            yield writer
        finally:
            writer.close()

    def parts(self) -> list[Part]:
        """First line and records of every file, oldest first; DataError if one is of another run."""
        key, found = self.key(), []
        for path in self._record_files():
            head, records, _ = read_records(path)
            if head is not None:
                check_key(path, head["key"], key)
                found.append((head, records))
        return found

    def label_files(self, item: str, settings: Evaluation) -> list[Path]:
        """Where label maps go: base, every eps, and the same behind the CRF if there is one."""
        variants = ["base", *(f"eps_{eps:g}" for eps in settings.eps)]
        if settings.crf is not None:
            variants += [f"{variant}_crf" for variant in variants]
        return [self.path / "labels" / variant / f"{item}.png" for variant in variants]

    def _record_files(self) -> list[Path]:
        found = [path for path in (self.path / "records").glob("*.jsonl") if path.stem.isdigit()]
        return sorted(found, key=lambda path: int(path.stem))


class RunResults:
    """What a finished run found. N images, E values of eps, C classes.

    folder        where it lies
    ids           N image ids, in the set's order
    eps           E values
    classes, class_names
    background_counts   False where class 0 is no class, so that means over the others are told too
    has_truth     whether there was ground truth; without it all counts are zero
    sizes         (N, 2) width and height of the images
    base, after   (N, C, C) and (E, N, C, C) int64: each image's confusion matrix, before and after
    base_crf, after_crf   the same behind the CRF, or None
    changed, fixed, broken   (E, N) int64: pixels whose label changed; that became right; that became wrong
    confidence    (1 + E, N) float64: mean of the largest probability of an image's pixels, base first
    seconds       by step ('forward', 'backward', ...): (N,) float64
    origin        dict: ``results.json`` and ``provenance.json`` in one
    """

    def __init__(self, folder: RunFolder, head: dict[str, Any], records: Sequence[dict[str, Any]]) -> None:
        self.folder = folder.path
        self.ids = [record["item"] for record in records]
        self.eps = [float(eps) for eps in head["key"]["eps"]]
        self.classes: int = head["classes"]
        self.class_names: list[str] = head["class_names"]
        self.background_counts: bool = head["background_counts"]
        self.has_truth = "confusion" in records[0]["base"]
        self.sizes = np.array([(record["width"], record["height"]) for record in records], np.int64)
        per_eps = [[record["gp"][k] for record in records] for k in range(len(self.eps))]
        base = [record["base"] for record in records]
        self._counts = {"base": self._matrices(base), "after": [self._matrices(part) for part in per_eps]}
        self.has_crf = "base_crf" in records[0]
        if self.has_crf:
            per_eps_crf = [[record["gp_crf"][k] for record in records] for k in range(len(self.eps))]
            self._counts["base_crf"] = self._matrices([record["base_crf"] for record in records])
            self._counts["after_crf"] = [self._matrices(part) for part in per_eps_crf]
        self.changed, self.fixed, self.broken = (
            np.array([[entry.get(name, 0) for entry in part] for part in per_eps], np.int64)
            for name in ("changed_pixels", "fixed_pixels", "broken_pixels")
        )
        self.confidence = np.array([[entry["confidence"] for entry in part] for part in [base, *per_eps]])
        kinds = records[0]["seconds"]
        self.seconds = {kind: np.array([record["seconds"][kind] for record in records]) for kind in kinds}

    @property
    def base(self) -> np.ndarray:
        """(N, C, C) int64: confusion matrices before the perturbation."""
        return self._dense(self._counts["base"])

    @property
    def after(self) -> np.ndarray:
        """(E, N, C, C) int64: confusion matrices after it."""
        return np.stack([self._dense(part) for part in self._counts["after"]])

    @property
    def base_crf(self) -> np.ndarray | None:
        """Like ``base``, behind the CRF; None without."""
        return self._dense(self._counts["base_crf"]) if self.has_crf else None

    @property
    def after_crf(self) -> np.ndarray | None:
        """Like ``after``, behind the CRF; None without."""
        return np.stack([self._dense(part) for part in self._counts["after_crf"]]) if self.has_crf else None

    def at(self, eps: float, crf: bool = False) -> np.ndarray:
        """(N, C, C) int64 at one eps. DataError for an eps that was not computed."""
        return self._dense(self._at(eps, crf))

    def label_map(self, item: str, eps: float | None = None) -> np.ndarray:
        """(H, W) uint8 labels of an image, before or at one eps; DataError if they were not asked for."""
        variant = "base" if eps is None else f"eps_{eps:g}"
        return read_label_png(self.folder / "labels" / variant / f"{item}.png")

    def total(self, eps: float | None = None, crf: bool = False) -> ConfusionMatrix:
        """The confusion matrix of the whole set: before the perturbation, or at one eps."""
        counts = self._at(eps, crf)
        out = ConfusionMatrix(self.classes)
        out.matrix += np.asarray(counts.sum(axis=0), np.int64).reshape(self.classes, self.classes)
        return out

    def measures(self, matrices: np.ndarray) -> dict[str, Any]:
        """Mean IU and the other measures of the sum of (N, C, C) matrices."""
        return ConfusionMatrix.from_state(matrices.sum(axis=0)).measures()

    def gain(self, eps: float, crf: bool = False, samples: int = 2000, level: float = 0.95) -> Gain:
        """Gain in mean IU at ``eps`` over the base (``crf``: both behind the CRF), with its interval."""
        groups = min(len(self.ids), _BOOTSTRAP_GROUPS)
        of_image = np.arange(len(self.ids)) % groups
        select = sparse.csr_matrix((np.ones(len(self.ids), np.int64), (of_image, range(len(self.ids)))))
        first, second = (self._dense(select @ self._at(value, crf)) for value in (None, eps))
        return paired_gain(first, second, samples=samples, level=level)

    @property
    def origin(self) -> dict[str, Any]:
        """What a reported number must say: settings, net, data, engine, code versions, machines."""
        reports = [read_json(self.folder / name, _OF_A_RUN) for name in ("results.json", "provenance.json")]
        return {**reports[0], **reports[1]}

    def _at(self, eps: float | None, crf: bool) -> Any:
        suffix = "_crf" if crf else ""
        if crf and not self.has_crf:
            raise DataError(f"{self.folder}: this run was without a CRF")
        if eps is None:
            return self._counts[f"base{suffix}"]
        if float(eps) not in self.eps:
            raise DataError(f"{self.folder}: eps {eps:g} was not computed, only {self.eps}")
        return self._counts[f"after{suffix}"][self.eps.index(float(eps))]

    def _matrices(self, entries: Sequence[dict[str, Any]]) -> Any:
        """Sparse (N, C * C): an image holds few of the pairs of classes."""
        rows, columns, pixels = [], [], []
        for row, entry in enumerate(entries):
            for truth, label, count in entry.get("confusion", ()):
                rows.append(row)
                columns.append(truth * self.classes + label)
                pixels.append(count)
        shape = (len(entries), self.classes**2)
        return sparse.csr_matrix((np.array(pixels, np.int64), (rows, columns)), shape=shape)

    def _dense(self, matrices: Any) -> np.ndarray:
        return matrices.toarray().reshape(-1, self.classes, self.classes)


def read_run(folder: Path | str) -> RunResults:
    """The results of a finished run, from its records. DataError if there is none or images are missing."""
    run = RunFolder(folder)
    if not run.is_begun():
        raise DataError(f"{folder}: no evaluation (caffe_gp evaluate --out) lies here")
    return _results_of(run, run.parts())


def _results_of(run: RunFolder, parts: Sequence[Part]) -> RunResults:
    folder, ids, records = run.path, run.ids(), merged(parts)
    missing = [item for item in ids if item not in records]
    if missing or not ids:
        raise DataError(
            f"{folder}: {len(missing)} of {len(ids)} images are still to be computed, {missing[:1]} for one; "
            "the command that began the run goes on with them"
        )
    return RunResults(run, parts[0][0], [records[item] for item in ids])


def write_reports(folder: RunFolder) -> None:
    """Write ``results.json`` and ``provenance.json`` from the records of a finished run."""
    parts = folder.parts()
    run = _results_of(folder, parts)
    write_json(folder.path / "results.json", _results(run, folder.key(), merged(parts)))
    write_json(folder.path / "provenance.json", _provenance(run, parts))


def table(run: RunResults) -> str:
    """Mean IU, pixel accuracy and the gain of every eps with its 95 % interval, as lines of text."""
    summary = run.origin["summary"]
    rows = [("base", summary["base"]), *((f"GP, eps {row['eps']:g}", row) for row in summary["gp"])]
    rows += [(f"{name} + CRF", row["crf"]) for name, row in rows if "crf" in row]
    lines = []
    for name, row in rows:
        parts = [f"{name:<24}"]
        if "mean_iu" in row:
            parts.append(f"mean IU {100 * row['mean_iu']:6.2f}")
            if "mean_iu_without_background" in row:
                parts.append(f"without background {100 * row['mean_iu_without_background']:6.2f}")
            parts.append(f"pixel accuracy {100 * row['pixel_accuracy']:6.2f}")
        if "gain" in row:
            gain = row["gain"]
            parts.append(f"gain {gain['gain']:+.2f} ({gain['low']:+.2f} .. {gain['high']:+.2f})")
        elif "changed_pixels" in row:
            parts.append(f"changed {100 * row['changed_pixels']:.2f} % of the pixels")
        lines.append("  ".join(parts))
    seconds = {kind.replace("_", " "): values.mean() for kind, values in run.seconds.items()}
    times = ", ".join(f"{kind} {value:.3f} s" for kind, value in seconds.items())
    return "\n".join([*lines, f"{len(run.ids)} image(s); each: {times}", f"more in {run.folder}"])


def _results(run: RunResults, key: dict[str, Any], records: dict[str, dict[str, Any]]) -> dict[str, Any]:
    digest = hashlib.sha256()
    for item in run.ids:
        numbers = {name: value for name, value in records[item].items() if name != "seconds"}
        digest.update(json.dumps(numbers, sort_keys=True).encode("utf-8"))
    rows = []
    for k, eps in enumerate(run.eps):
        row = {"eps": eps, **_summary(run, k + 1, eps, False)}
        row["changed_pixels"] = int(run.changed[k].sum()) / int(run.sizes.prod(axis=1).sum())
        if run.has_truth:
            row["gain"] = run.gain(eps).points()
            row["fixed_pixels"], row["broken_pixels"] = int(run.fixed[k].sum()), int(run.broken[k].sum())
        if run.has_crf:
            row["crf"] = _summary(run, None, eps, True)
            if run.has_truth:
                row["crf"]["gain"] = run.gain(eps, crf=True).points()
        rows.append(row)
    base = _summary(run, 0, None, False)
    if run.has_crf:
        base["crf"] = _summary(run, None, None, True)
    return {
        "schema": SCHEMA,
        "key": key,
        "images": len(run.ids),
        "classes": run.classes,
        "class_names": run.class_names,
        "records_sha256": digest.hexdigest(),
        "summary": {"base": base, "gp": rows},
    }


def _summary(run: RunResults, row: int | None, eps: float | None, crf: bool) -> dict[str, Any]:
    summary: dict[str, Any] = {} if row is None else {"confidence": float(run.confidence[row].mean())}
    if run.has_truth:
        total = run.total(eps, crf)
        summary.update(total.measures())
        if not run.background_counts:
            summary["mean_iu_without_background"] = total.mean_iu_over(range(1, run.classes))
    return summary


def _provenance(run: RunResults, parts: Sequence[Part]) -> dict[str, Any]:
    latest = {record["item"]: number for number, (_, records) in enumerate(parts) for record in records}
    made = [
        {**head["made"], "images": sum(number == part for part in latest.values())}
        for number, (head, _) in enumerate(parts)
    ]
    first = parts[0][0]["made"]
    return {
        **{name: first[name] for name in ("model", "method", "preprocessing", "data", "engine")},
        "date": made[-1]["date"],
        "code_versions": sorted({part["code_version"] for part in made}),
        "devices": sorted({part["engine"]["device_name"] for part in made}),
        "seconds_per_image": {kind: float(values.mean()) for kind, values in run.seconds.items()},
        "parts": [{name: part[name] for name in _OF_A_PART} for part in made],
    }


def hashes(data: SegmentationSet, item: str) -> tuple[str, str | None]:
    """SHA-256 of an image's file and of its label file (None without one)."""
    labels = data.label_file(item)
    return sha256_of(data.image(item)), None if labels is None else sha256_of(labels)


def keyed_name(net: str, data: str, key: dict[str, Any]) -> str:
    """A folder's name for the run with this key: two runs share it only if all settings are equal."""
    digest = sha256_of_text(json.dumps(key, sort_keys=True))[:12]
    return re.sub(r"[^A-Za-z0-9.]+", "-", f"{net}-{data}").strip("-") + f"-{digest}"

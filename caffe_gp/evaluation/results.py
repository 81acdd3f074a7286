"""What is read back from the folder of a run over images, and the reports that are written there.

For example:

    run = read_run("out")            # RunResults
    run.base, run.after, run.gain(0.55)
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np

from caffe_gp.errors import DataError, quoted
from caffe_gp.evaluation import calibration, choose_eps
from caffe_gp.evaluation.bootstrap import Gain, paired_gain
from caffe_gp.evaluation.confusion import ConfusionMatrix, image_mean_iu
from caffe_gp.evaluation.frames import need_pandas
from caffe_gp.evaluation.record_checks import IMAGES
from caffe_gp.files.hashes import sha256_of_text
from caffe_gp.images import notebook
from caffe_gp.images.label_maps import read_label_png
from caffe_gp.report.results_file import SCHEMA, Results
from caffe_gp.runs.folder import Part, RunFolder, merged
from caffe_gp.runs.records import as_read_back
from caffe_gp.runs.task import Record

# Beyond so many images the bootstrap draws groups of them: the same spread, in bounded memory.
_BOOTSTRAP_GROUPS = 10_000

_AT_ONCE = 1000  # images whose matrices are looked at together
# Of the gains of single images, in points: the histogram's inner edges, and which quantiles are reported.
_EDGES = (-10, -5, -2, -1, -0.5, -0.1, 0.1, 0.5, 1, 2, 5, 10)
_QUANTILES = (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)

_OF_ALL_PARTS = ("model", "method", "preprocessing", "data", "engine")
_OF_A_PART = ("date", "code_version", "command", "engine", "images")


class RunResults:
    """What a finished run found. N images, E values of eps, C classes.

    folder        where it lies
    ids           N image ids, in the set's order
    eps           E values
    classes, class_names
    background_counts   False where class 0 is no class, so that means over the others are given too
    has_truth     whether there was ground truth; without it all counts are zero
    labels_pixels False for a net that labels whole images; nothing is counted then, and
    labels        (1 + E, N) int64 are the images' labels, base first; else None
    sizes         (N, 2) width and height of the images
    base, after   (N, C, C) and (E, N, C, C) int64: each image's confusion matrix, before and after
    base_crf, after_crf   the same behind the CRF, or None
    changed, fixed, broken   (E, N) int64: pixels whose label changed; that became right; that became wrong
    has_switched  whether the labels of the surer of both passes were scored too
    calibration   1 + E lists, base first, of each image's ``calibration.sums_of``; none where records are of
                  an earlier version: without_calibration of them
    passes        of the net an image, for the base and for one eps
    eps_choice    how eps was chosen where that was without labels: ``EpsChoice.record()``; else None
    confidence    (1 + E, N) float64: mean of the largest probability of an image's pixels, base first
    seconds       by step ('forward', 'backward', ...): (N,) float64
    origin        dict: ``results.json`` and ``provenance.json`` in one
    """

    def __init__(self, folder: RunFolder, head: dict[str, Any], records: Sequence[Record]) -> None:
        self._folder, self.folder = folder, folder.path
        _check_alike(folder.path, records)
        self.ids = [record["item"] for record in records]
        self.eps = [float(eps) for eps in head["key"]["eps"]]
        self.classes: int = head["classes"]
        self.class_names: list[str] = head["class_names"] or []
        self.background_counts: bool = head["background_counts"]
        self.has_truth = "confusion" in records[0]["base"]
        self.labels_pixels = "label" not in records[0]["base"]
        self.sizes = np.array([(record["width"], record["height"]) for record in records], np.int64)
        per_eps = [[record["gp"][k] for record in records] for k in range(len(self.eps))]
        base = [record["base"] for record in records]
        self._counts = {"base": self._matrices(base), "after": [self._matrices(part) for part in per_eps]}
        self.has_crf = "base_crf" in records[0]
        if self.has_crf:
            per_eps_crf = [[record["gp_crf"][k] for record in records] for k in range(len(self.eps))]
            self._counts["base_crf"] = self._matrices([record["base_crf"] for record in records])
            self._counts["after_crf"] = [self._matrices(part) for part in per_eps_crf]
        self.has_switched = "gp_switched" in records[0]
        if self.has_switched:
            per_eps_switched = [[one["gp_switched"][k] for one in records] for k in range(len(self.eps))]
            self._counts["after_switched"] = [self._matrices(part) for part in per_eps_switched]
        self.labels: np.ndarray | None = None
        if not self.labels_pixels:
            self.labels = np.array(
                [[entry["label"] for entry in part] for part in [base, *per_eps]], np.int64
            )
        self.without_calibration = sum("calibration" not in entry for entry in base)
        self.calibration: list[list[dict[str, Any]]] = []
        if not self.without_calibration:
            self.calibration = [[entry["calibration"] for entry in part] for part in [base, *per_eps]]
        self.passes = _passes(head["key"])
        self.eps_choice: dict[str, Any] | None = head["made"].get("eps_choice")
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

    def at(self, eps: float, crf: bool = False, switched: bool = False) -> np.ndarray:
        """(N, C, C) int64 at one eps. DataError for an eps that was not computed.

        crf: behind the CRF; switched: of the surer of both passes at each pixel
        """
        return self._dense(self._at(eps, crf, switched))

    def label_map(self, item: str, eps: float | None = None) -> np.ndarray:
        """(H, W) uint8 labels of an image, before or at one eps; DataError if they were not asked for."""
        variant = "base" if eps is None else f"eps_{eps:g}"
        return read_label_png(self.folder / "labels" / variant / f"{item}.png")

    def total(self, eps: float | None = None, crf: bool = False, switched: bool = False) -> ConfusionMatrix:
        """The confusion matrix of the whole set: before the perturbation, or at one eps."""
        counts = self._at(eps, crf, switched)
        out = ConfusionMatrix(self.classes)
        out.matrix += np.asarray(counts.sum(axis=0), np.int64).reshape(self.classes, self.classes)
        return out

    def measures(self, matrices: np.ndarray) -> dict[str, Any]:
        """Mean IU and the other measures of the sum of (N, C, C) matrices."""
        return ConfusionMatrix.from_state(matrices.sum(axis=0)).measures()

    def image_gains(self, eps: float) -> np.ndarray:
        """(N,) float64: by how much each image's own mean IU rises at ``eps``; nan where none is."""
        return self.image_mean_ious(eps) - self.image_mean_ious()

    def image_mean_ious(
        self, eps: float | None = None, crf: bool = False, switched: bool = False
    ) -> np.ndarray:
        """(N,) float64: each image's own mean IU, a fraction, before or at one eps; nan where none is."""
        counts = self._at(eps, crf, switched)
        parts = (counts[first : first + _AT_ONCE] for first in range(0, len(self.ids), _AT_ONCE))
        return np.concatenate([image_mean_iu(self._dense(part)) for part in parts])

    def to_frame(self) -> Any:
        """A ``pandas.DataFrame`` with a row for every image and eps.

        item, eps, width, height; confidence_before, confidence; of nets that label whole images label_before,
        label; of others changed_pixels and, with ground truth, mean_iu_before, mean_iu (fractions, of the
        image's own classes), fixed_pixels, broken_pixels; mean_iu_crf_before, mean_iu_crf, mean_iu_switched
        where the run has them. CaffeGPError where pandas is not installed.
        """
        pandas = need_pandas()
        frames = []
        for k, eps in enumerate(self.eps):
            columns: dict[str, Any] = {"item": self.ids, "eps": eps}
            columns["width"], columns["height"] = self.sizes.T
            columns["confidence_before"], columns["confidence"] = self.confidence[0], self.confidence[1 + k]
            if self.labels is not None:
                columns["label_before"], columns["label"] = self.labels[0], self.labels[1 + k]
            else:
                columns["changed_pixels"] = self.changed[k]
            if self.has_truth:
                columns["mean_iu_before"], columns["mean_iu"] = (
                    self.image_mean_ious(one) for one in (None, eps)
                )
                columns["fixed_pixels"], columns["broken_pixels"] = self.fixed[k], self.broken[k]
                if self.has_crf:
                    columns["mean_iu_crf_before"], columns["mean_iu_crf"] = (
                        self.image_mean_ious(one, crf=True) for one in (None, eps)
                    )
                if self.has_switched:
                    columns["mean_iu_switched"] = self.image_mean_ious(eps, switched=True)
            frames.append(pandas.DataFrame(columns))
        return pandas.concat(frames, ignore_index=True)

    def __repr__(self) -> str:
        found = "; ".join([f"{len(self.ids)} images, {self.classes} classes", *self._words()])
        return f"<RunResults of {found}; in {self.folder}>"

    def _repr_html_(self) -> str:
        rows = [line.split(": ", 1) for line in self._words()]
        return notebook.table(
            f"{len(self.ids)} images, {self.classes} classes; {self.folder}", ["", ""], rows
        )

    def _words(self) -> list[str]:
        """A line for base and every eps: 'eps 0.5: mean IU 70.12, confidence 0.9123'."""
        lines = []
        steps: list[float | None] = [None, *self.eps]
        for k, eps in enumerate(steps):
            found = []
            if self.has_truth and self._at(eps, False).nnz:
                found.append(f"mean IU {100 * self.total(eps).measures()['mean_iu']:.2f}")
            found.append(f"confidence {self.confidence[k].mean():.4f}")
            lines.append(f"{'base' if eps is None else f'eps {eps:g}'}: {', '.join(found)}")
        return lines

    def gain(
        self,
        eps: float,
        crf: bool = False,
        samples: int = 2000,
        level: float = 0.95,
        switched: bool = False,
    ) -> Gain:
        """Gain in mean IU at ``eps`` over the base (``crf``: both behind the CRF), with its interval."""
        from scipy import sparse

        groups = min(len(self.ids), _BOOTSTRAP_GROUPS)
        of_image = np.arange(len(self.ids)) % groups
        select = sparse.csr_matrix((np.ones(len(self.ids), np.int64), (of_image, range(len(self.ids)))))
        pair = self._at(None, crf), self._at(eps, crf, switched)
        first, second = (self._dense(select @ counts) for counts in pair)
        return paired_gain(first, second, samples=samples, level=level)

    @property
    def origin(self) -> dict[str, Any]:
        """What a reported number must say: settings, net, data, engine, code versions, machines."""
        return self._folder.reports()

    def _at(self, eps: float | None, crf: bool, switched: bool = False) -> Any:
        suffix = "_switched" if switched else "_crf" if crf else ""
        if crf and not self.has_crf:
            raise DataError(f"{self.folder}: this run was without a CRF")
        if switched and (crf or eps is None or not self.has_switched):
            raise DataError(f"{self.folder}: labels were not switched in this run, at these settings")
        if eps is None:
            return self._counts[f"base{suffix}"]
        if float(eps) not in self.eps:
            raise DataError(f"{self.folder}: eps {eps:g} was not computed, only {self.eps}")
        return self._counts[f"after{suffix}"][self.eps.index(float(eps))]

    def _matrices(self, entries: Sequence[dict[str, Any]]) -> Any:
        """Sparse (N, C * C): an image holds few of the pairs of classes."""
        from scipy import sparse

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


def _passes(key: Mapping[str, Any]) -> tuple[int, int]:
    """Passes of the net an image, for the base and for one eps: of every view, behind TENT's own."""
    adapting = 2 * key["tent_steps"] if "tent_steps" in key else 0
    views = 1 + len(key.get("average", ()))
    return views * (adapting + 1), views * (adapting + 1 + 2 * key.get("iterations", 1))


def read_run(folder: Path | str) -> RunResults:
    """The results of a finished run, from its records.

    DataError if there is none or images are missing, for records that are none, and where they are not those
    that its reports were made of.
    """
    run = RunFolder(folder, IMAGES)
    if not run.is_begun():
        raise DataError(f"{folder}: no evaluation ('caffe_gp evaluate --out') lies here")
    parts = run.parts()
    ordered = in_order(run, parts)
    found = RunResults(run, parts[0][0], ordered)
    if run.is_reported():
        chosen = {} if found.eps_choice is None else {"eps_choice": found.eps_choice}
        check_reported(run, ordered, {**_about(found, parts, ordered), **chosen})
    return found


def in_order(run: RunFolder, parts: Sequence[Part]) -> list[Record]:
    """The records of a finished run, in the order of its items. DataError if they are not all there."""
    folder, ids, records = run.path, run.ids(), merged(parts)
    missing = [item for item in ids if item not in records]
    if missing:
        raise DataError(
            f"{folder}: {len(missing)} of {len(ids)} images are still to be computed, "
            f"{quoted(missing[0], 100)} for one; the command that began the run resumes with them"
        )
    expected = run.key().get("ids_sha256")
    if expected is not None and sha256_of_text("\n".join(ids)) != expected:
        raise DataError(f"{folder / 'ids.txt'}: not the images that the run began with, as if it was edited")
    return [records[item] for item in ids]


def check_reported(folder: RunFolder, ordered: Sequence[Record], about: Mapping[str, Any]) -> None:
    """DataError where a run's reports are not those of its records: one of the files was edited.

    about   what ``provenance.json`` should say
    """
    reports = folder.reports()
    edited = [] if reports.get("records_sha256") == digest(ordered) else ["results.json"]
    if any(reports.get(name) != value for name, value in as_read_back(about).items()):
        edited.append("provenance.json")
    if edited:
        raise DataError(
            f"{folder.path / edited[0]}: it is not made of this folder's records, as where one of them was "
            f"edited: remove {edited[0]} to have it made of the records as they are, or the folder 'records' "
            "to compute them again"
        )


def _check_alike(folder: Path, ordered: Sequence[Record]) -> None:
    """DataError unless all records hold the same kinds of numbers."""

    def kind(record: Record) -> Any:
        return "confusion" in record["base"], "label" in record["base"], sorted(record["seconds"])

    for record in ordered:
        if kind(record) != kind(ordered[0]):
            items = " and ".join(quoted(one["item"], 100) for one in (ordered[0], record))
            raise DataError(
                f"{folder}: the records of {items} do not hold the same numbers, as where a file was edited: "
                "remove the folder 'records' to compute them again"
            )


# ---- the reports


def write_reports(folder: RunFolder, kind: str, parts: Sequence[Part]) -> RunResults:
    """Write ``results.json`` and ``provenance.json`` from the records of a finished run over images.

    Returns what ``read_run`` does, and raises its errors.

    kind    'segmentation' or 'images': the task
    parts   all of the folder's
    """
    ordered = in_order(folder, parts)
    run = RunResults(folder, parts[0][0], ordered)
    results: Results = {
        "schema": SCHEMA,
        "task": kind,
        "key": folder.key(),
        "images": len(run.ids),
        "classes": run.classes,
        "class_names": run.class_names or None,
        "records_sha256": digest(ordered),
        "summary": _summary(run),
    }
    if run.eps_choice is not None:
        results["eps_choice"] = run.eps_choice
    if kind == "images":
        results["records"] = [_with_eps(record, run.eps) for record in ordered]
    folder.write_reports(results, _about(run, parts, ordered))
    return run


def _about(run: RunResults, parts: Sequence[Part], ordered: Sequence[Record]) -> dict[str, Any]:
    """What ``provenance.json`` says."""
    about = provenance(parts, run.ids)
    images = sha256_of_text("\n".join(sorted(record["image_sha256"] for record in ordered)))
    return {
        **about,
        "data": {**about["data"], "images_sha256": images},
        # Summed exactly, so that every machine reads the same number again.
        "seconds_per_image": {step: math.fsum(each) / len(each) for step, each in run.seconds.items()},
    }


def digest(records: Sequence[Record]) -> str:
    """SHA-256 over records without their seconds."""
    found = hashlib.sha256()
    for record in records:
        numbers = {name: value for name, value in record.items() if name != "seconds"}
        found.update(json.dumps(numbers, sort_keys=True).encode("utf-8"))
    return found.hexdigest()


def provenance(parts: Sequence[Part], items: Sequence[str]) -> dict[str, Any]:
    """``provenance.json`` of a run: where its records come from, how many of its images each part made."""
    latest = {record["item"]: number for number, (_, records) in enumerate(parts) for record in records}
    made = [
        {**head["made"], "images": sum(latest[item] == number for item in items)}
        for number, (head, _) in enumerate(parts)
    ]
    first = parts[0][0]["made"]
    return {
        **{name: first[name] for name in _OF_ALL_PARTS},
        "date": made[-1]["date"],
        "code_versions": sorted({part["code_version"] for part in made}),
        "devices": sorted({part["engine"]["device_name"] for part in made}),
        "parts": [{name: part[name] for name in _OF_A_PART} for part in made],
    }


def _with_eps(record: Record, eps: Sequence[float]) -> Record:
    return {**record, "gp": [{"eps": value, **entry} for value, entry in zip(eps, record["gp"])]}


def _summary(run: RunResults) -> dict[str, Any]:
    rows = []
    for k, eps in enumerate(run.eps):
        row = {"eps": eps, "passes": run.passes[1], **_scores(run, k + 1, eps, False)}
        if run.labels_pixels:
            row["changed_pixels"] = int(run.changed[k].sum()) / int(run.sizes.prod(axis=1).sum())
        if "mean_iu" in row:
            row["gain"] = run.gain(eps).points()
            row["image_gains"] = _spread(100 * run.image_gains(eps))
            row["fixed_pixels"], row["broken_pixels"] = int(run.fixed[k].sum()), int(run.broken[k].sum())
        if run.has_switched:
            row["switched"] = _scores(run, None, eps, False, True)
            if "mean_iu" in row["switched"]:
                row["switched"]["gain"] = run.gain(eps, switched=True).points()
        if run.has_crf:
            row["crf"] = _scores(run, None, eps, True)
            if "mean_iu" in row["crf"]:
                row["crf"]["gain"] = run.gain(eps, crf=True).points()
        rows.append(row)
    base = {"passes": run.passes[0], **_scores(run, 0, None, False)}
    if run.has_crf:
        base["crf"] = _scores(run, None, None, True)
    return {"base": base, "gp": rows}


def _spread(gains: np.ndarray) -> dict[str, Any]:
    """Quantiles and a histogram of the gains of single images, in percentage points."""
    counted = gains[~np.isnan(gains)]
    edges = [-np.inf, *_EDGES, np.inf]
    return {
        "images": len(counted),
        "better": float(np.mean(counted > 0)),
        "worse": float(np.mean(counted < 0)),
        "quantiles": {
            f"{q:g}": float(value) for q, value in zip(_QUANTILES, np.quantile(counted, _QUANTILES))
        },
        "histogram": {"edges": list(_EDGES), "images": np.histogram(counted, edges)[0].tolist()},
    }


def _scores(
    run: RunResults, row: int | None, eps: float | None, crf: bool, switched: bool = False
) -> dict[str, Any]:
    scores: dict[str, Any] = {} if row is None else {"confidence": float(run.confidence[row].mean())}
    if row is not None and run.calibration:
        scores.update(calibration.measures(run.calibration[row]))
    total = run.total(eps, crf, switched) if run.has_truth else None
    if total is not None and total.matrix.any():  # otherwise every pixel is void
        scores.update(total.measures())
        if not run.background_counts:
            scores["mean_iu_without_background"] = total.mean_iu_over(range(1, run.classes))
    return scores


_SHORT = {"expected_calibration_error": "ECE", "negative_log_likelihood": "NLL", "entropy": "entropy"}


def table(run: RunResults) -> str:
    """Mean IU, pixel accuracy, gain with its 95 % interval and confidence of every eps, as lines of text."""
    summary = run.origin["summary"]
    rows = [("base", summary["base"]), *((f"GP, eps {row['eps']:g}", row) for row in summary["gp"])]
    every = [(f"{name}, switched", row["switched"]) for name, row in rows if "switched" in row]
    every += [(f"{name} + CRF", row["crf"]) for name, row in rows if "crf" in row]
    rows += every
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
        if "confidence" in row:
            parts.append(f"confidence {row['confidence']:.4f}")
        parts += [f"{short} {row[name]:.4f}" for name, short in _SHORT.items() if name in row]
        lines.append("  ".join(parts))
    if run.has_truth and "mean_iu" not in summary["base"]:
        lines.append("mean IU is undefined: every pixel of the label maps is 255 (void)")
    lines += [_image_line(row) for row in summary["gp"] if "image_gains" in row]
    if run.without_calibration and run.labels_pixels and run.without_calibration < len(run.ids):
        lines.append(
            f"ECE, NLL and entropy: not in the records of {run.without_calibration} image(s), which an "
            "earlier version computed; in an empty folder they are computed for all"
        )
    if run.eps_choice is not None:
        lines.append(choose_eps.words(run.eps_choice))
    base, one_eps = run.passes
    lines.append(f"passes of the net an image: {base} for the base, {one_eps} for one eps")
    seconds = {kind.replace("_", " "): values.mean() for kind, values in run.seconds.items()}
    times = ", ".join(f"{kind} {value:.3f} s" for kind, value in seconds.items())
    return "\n".join([*lines, f"{len(run.ids)} image(s); each: {times}", f"more in {run.folder}"])


def _image_line(row: dict[str, Any]) -> str:
    """The gains of single images at one eps."""
    gains = row["image_gains"]
    low, middle, high = (gains["quantiles"][name] for name in ("0.05", "0.5", "0.95"))
    return (
        f"single images, eps {row['eps']:g}: mean IU {middle:+.2f} (median; 5 and 95 %: {low:+.2f} .. "
        f"{high:+.2f}), better {100 * gains['better']:.0f} %, worse {100 * gains['worse']:.0f} %"
    )

"""The demo's HTML page and picture from its results."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from caffe_gp.datasets.digit_scenes import PALETTE
from caffe_gp.experiments.demo import Gallery
from caffe_gp.report import pictures, plots
from caffe_gp.report.page import data_uri, render

# Table 4 of the paper, FCN-32s: gain over 62.1 and time over .12 s.
PAPER_GAINS = {"data": "+2.6", "pool2": "+2.5", "pool3": "+2.5", "pool4": "+2.2"}
PAPER_TIMES = {"data": "2.8", "pool2": "2.3", "pool3": "2.0", "pool4": "1.8"}

_COLOURS = np.array(PALETTE, np.uint8)

GROUPS = {
    "successes": ("Successes", "The scenes with the most pixels put right, less those put wrong."),
    "failures": ("Failures", "The scenes with the most pixels put wrong, less those put right."),
    "drawn": ("Drawn blindly", "Scenes drawn at random from the others, with a fixed seed."),
}


def html(results: dict[str, Any], gallery: Gallery) -> str:
    """The whole page as one text."""
    data = results["blobs"][0]
    times = {row["blob"]: row for row in results["seconds"]["passes"]["blobs"]}
    blobs = []
    for row in results["blobs"]:
        curve = row["validation"]
        # eps 0: no step beat the base on validation scenes.
        tuned = curve["mean_iu"][curve["eps"].index(row["eps"])] if row["eps"] else curve["base"]
        blobs.append(
            {
                **row,
                **times[row["blob"]],
                "tuned": tuned,
                "paper_gain": PAPER_GAINS.get(row["blob"], ""),
                "paper_time": PAPER_TIMES.get(row["blob"], ""),
            }
        )
    return render(
        "demo.html",
        r=results,
        data=data,
        blobs=blobs,
        groups=[_group(name, gallery) for name in GROUPS if gallery.groups.get(name)],
        colours={
            "fixed": _css(pictures.FIXED),
            "broken": _css(pictures.BROKEN),
            "other": _css(pictures.OTHER),
        },
        classes=[
            (name, _css(_COLOURS[label][::-1])) for label, name in enumerate(results["data"]["classes"])
        ],
        differences=_differences(data),
        eps_plot=_eps_plot(results),
        encodings_plot=_encodings_plot(results),
        provenance=json.dumps(_provenance(results), indent=1),
    )


def scene_pictures(scene: dict[str, Any]) -> list[tuple[str, np.ndarray]]:
    """The six pictures of a scene, (title, (H, W, 3) uint8 BGR) each."""
    image = scene["image"]
    return [
        ("image", image),
        ("ground truth", pictures.overlay(image, scene["truth"], _COLOURS, alpha=0.65)),
        ("base", pictures.overlay(image, scene["base"], _COLOURS, alpha=0.65)),
        ("base + GP", pictures.overlay(image, scene["gp"], _COLOURS, alpha=0.65)),
        ("changed", pictures.changed_map(scene["base"], scene["gp"], scene["truth"])),
        ("perturbation", pictures.amplify(scene["perturbation"])),
    ]


def picture(gallery: Gallery, rows: int = 3, height: int = 192) -> np.ndarray:
    """A panel for the README, (H, W, 3) uint8 BGR: the successes with most pixels right after GP."""
    successes = [gallery.scenes[i] for i in gallery.groups["successes"]]
    successes.sort(key=lambda scene: -int(np.count_nonzero(scene["gp"] == scene["truth"])))
    panels = []
    for k, scene in enumerate(successes[:rows]):
        cells = [(title if k == 0 else "", cell) for title, cell in scene_pictures(scene)]
        panels.append(pictures.panel(cells, height=height))
    return pictures.stack(panels)


def _group(name: str, gallery: Gallery) -> dict[str, Any]:
    title, rule = GROUPS[name]
    scenes = []
    for index in gallery.groups[name]:
        scene = gallery.scenes[index]
        scenes.append(
            {
                "index": index,
                "gained": scene["gained"],
                "base_right": 100 * float(np.mean(scene["base"] == scene["truth"])),
                "gp_right": 100 * float(np.mean(scene["gp"] == scene["truth"])),
                "pictures": [
                    {"uri": data_uri(cell), "alt": f"scene {index}: {alt}"}
                    for alt, cell in scene_pictures(scene)
                ],
            }
        )
    return {"title": title, "rule": rule, "scenes": scenes}


def _differences(row: dict[str, Any]) -> list[float | None]:
    """Gain of each class in points; None where it does not occur."""
    pairs = zip(row["base"]["iu"], row["gp"]["iu"])
    return [None if None in (before, after) else after - before for before, after in pairs]


def _eps_plot(results: dict[str, Any]) -> str:
    """The test and validation curves, each through its own base at eps 0."""
    drawn = []
    for split in ("test", "validation"):
        curve = results["eps_curve"][split]
        x, y = zip(*sorted([*zip(curve["eps"], curve["mean_iu"]), (0.0, curve["base"])]))
        drawn.append(plots.Line(x, y, f"{split} ({results['data'][split]['images']} scenes)"))
    chosen = results["blobs"][0]
    return plots.lines(
        drawn,
        "eps (grey levels)",
        "mean IU (%)",
        results["base"]["test"]["mean_iu"],
        "test base",
        marked=(chosen["eps"], chosen["gp"]["mean_iu"]),
    )


def _encodings_plot(results: dict[str, Any]) -> str:
    drawn = []
    low, high = -6.5, 6.5
    for row in results["encodings"]:
        curve = row["validation"]
        points = [(e, v) for e, v in zip(curve["eps"], curve["mean_iu"]) if low <= e <= high]
        x, y = zip(*sorted([*points, (0.0, curve["base"])]))
        drawn.append(plots.Line(x, y, row["encoding"]))
    return plots.lines(drawn, "eps (grey levels)", "mean IU (%)")


def _provenance(results: dict[str, Any]) -> dict[str, Any]:
    names = ("date", "code_version", "command", "model", "engine", "preprocessing")
    return {**{name: results[name] for name in names}, "data": results["data"]}


def _css(bgr: Any) -> str:
    blue, green, red = (int(value) for value in bgr)
    return f"#{red:02x}{green:02x}{blue:02x}"

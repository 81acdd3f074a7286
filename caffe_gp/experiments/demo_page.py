"""The demo's HTML page and picture from its results."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from caffe_gp.datasets.class_names import DIGIT_SCENES
from caffe_gp.datasets.digit_scenes import PALETTE
from caffe_gp.experiments.demo import Gallery
from caffe_gp.report import panels, pictures, plots
from caffe_gp.report.colours import BROKEN, FIXED, OTHER
from caffe_gp.report.page import data_uri, render
from caffe_gp.report.panels import Cell

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
            "fixed": FIXED.colour,
            "broken": BROKEN.colour,
            "other": OTHER.colour,
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
    image, size = scene["image"], panels.cell_size(scene["image"].shape, 6)
    changes = pictures.Changes.of(scene["base"], scene["gp"], scene["truth"])
    return [
        ("image", image),
        ("ground truth", pictures.overlay(image, scene["truth"], _COLOURS, size)),
        ("base", pictures.overlay(image, scene["base"], _COLOURS, size)),
        ("base + GP", pictures.overlay(image, scene["gp"], _COLOURS, size)),
        ("changed", pictures.changed(image, changes, size)),
        ("perturbation", pictures.amplify(scene["perturbation"])),
    ]


def picture(gallery: Gallery, rows: int = 3) -> np.ndarray:
    """A panel for the README, (H, W, 3) uint8 BGR: the successes with most pixels right after GP."""
    successes = [gallery.scenes[i] for i in gallery.groups["successes"]]
    successes.sort(key=lambda scene: -int(np.count_nonzero(scene["gp"] == scene["truth"])))
    shown = successes[:rows]
    drawn = [
        [Cell("" if k else title, one) for title, one in scene_pictures(scene)]
        for k, scene in enumerate(shown)
    ]
    maps = [scene[name] for scene in shown for name in ("truth", "base", "gp")]
    return panels.grid(drawn, [*pictures.legend_of(maps, DIGIT_SCENES, _COLOURS), FIXED, BROKEN, OTHER])


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

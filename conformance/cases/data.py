"""Layers that bring data in, and Python layers."""

from __future__ import annotations

from typing import Sequence

from conformance.case import BOTH, FORWARD_ONLY, TEST, TRAIN, Case, Step
from conformance.prototxt import input_layer, layer

IMAGES = 'source: "$DIR/images.txt" root_folder: "$DIR/"'
BATCHES = FORWARD_ONLY * 5  # enough to wrap around


def cases() -> list[Case]:
    return from_memory() + from_files() + windows() + python_layers()


def case(
    kind: str,
    what: str,
    extra: str,
    tops: str = "data label",
    files: str = "",
    steps: Sequence[Step] = tuple(BATCHES),
) -> Case:
    """A net of one data layer."""
    return Case(f"{kind} {what}", kind, layer("d", kind, "", tops, extra), files=files, steps=steps)


def from_memory() -> list[Case]:
    memory = [("set_input_arrays", "gauss", (6, 2, 3, 4), "ints 5", (6,))] + BATCHES
    return [
        case(
            "DummyData",
            "legacy shape",
            "dummy_data_param { num: 2 channels: 3 height: 1 width: 4 data_filler { value: 3 } "
            "data_filler { type: 'constant' value: -1 } }",
        ),
        case(
            "DummyData",
            "shapes",
            "dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: 4 } data_filler { value: 2.5 } }",
        ),
        case(
            "DummyData",
            "default filler",
            "dummy_data_param { shape { dim: 2 dim: 3 dim: 1 dim: 1 dim: 2 } }",
            tops="data",
        ),
        case("Input", "several tops", "input_param { shape { dim: 2 dim: 3 } shape { dim: 4 } }"),
        case("Input", "one shape for all", "input_param { shape { dim: 2 dim: 3 } }"),
        case(
            "MemoryData",
            "three batches of 2",
            "memory_data_param { batch_size: 2 channels: 2 height: 3 width: 4 }",
            steps=memory,
        ),
    ]


def from_files() -> list[Case]:
    found = []
    for batch in (1, 4, 7):
        found.append(
            case(
                "HDF5Data",
                "batches of %d" % batch,
                'hdf5_data_param { source: "$DIR/h5.txt" batch_size: %d }' % batch,
                tops="third data label",
                files="hdf5_files",
            )
        )
    for name, extra in (
        ("plain", "image_data_param { %s batch_size: 1 }"),
        (
            "resized",
            "image_data_param { %s batch_size: 3 new_height: 20 "
            "new_width: 25 } transform_param { mean_value: 100 mean_value: 110.5 mean_value: 120 scale: 0.3 "
            "crop_size: 13 }",
        ),
        (
            "grey",
            "image_data_param { %s batch_size: 2 new_height: 21 new_width: 18 is_color: false } "
            "transform_param { mean_value: 90 }",
        ),
        (
            "mean file",
            "image_data_param { %s batch_size: 2 new_height: 12 new_width: 10 } transform_param { "
            'mean_file: "$DIR/mean.binaryproto" crop_size: 9 }',
        ),
    ):
        found.append(case("ImageData", name, extra % IMAGES, files="image_files"))
    for name, extra in (
        ("plain", "batch_size: 2 }"),
        ("transformed", "batch_size: 3 } transform_param { scale: 0.1 mean_value: 7 crop_size: 5 }"),
    ):
        found.append(
            case("Data", name, 'data_param { source: "$DIR/lmdb" backend: LMDB ' + extra, files="lmdb_files")
        )
    found.append(
        case(
            "Data",
            "without labels",
            'data_param { source: "$DIR/lmdb" backend: LMDB batch_size: 2 }',
            tops="data",
            files="lmdb_files",
        )
    )
    return found


def windows() -> list[Case]:
    found = []
    for mode in ("warp", "square"):
        for pad in (0, 4):
            for foreground in (0, 1):
                found.append(
                    case(
                        "WindowData",
                        "%s, pad %d, foreground %d" % (mode, pad, foreground),
                        'window_data_param { source: "$DIR/windows.txt" batch_size: 2 context_pad: %d '
                        'crop_mode: "%s" fg_fraction: %d } '
                        "transform_param { crop_size: 24 mean_value: 30 }" % (pad, mode, foreground),
                        files="window_files",
                    )
                )
    return found


def python_layers() -> list[Case]:
    found = []
    python = 'python_param { module: "conformance.python_layers" layer: "%s" param_str: "%s" }'
    text = "\n".join(
        [
            "force_backward: true",
            input_layer({"data": (2, 3, 4)}),
            layer("scale", "Python", "data", "a", python % ("ScaledSquare", "0.5")),
            layer("relu", "ReLU", "a", "a"),
            layer("weights", "Python", "a", "b", python % ("WithWeights", "")),
            layer("two", "Python", "b data", "sum difference", python % ("SumAndDifference", "")),
        ]
    )
    for phase in (TRAIN, TEST):
        found.append(
            Case(
                "Python layers %d" % phase, "Python", text, phase=phase, inputs={"data": "gauss"}, steps=BOTH
            )
        )
    loss = "\n".join(
        [
            "force_backward: true",
            input_layer({"data": (2, 3), "target": (2, 3)}),
            layer("loss", "Python", "data target", "loss", python % ("SquaredLoss", "") + " loss_weight: 2"),
        ]
    )
    found.append(Case("Python loss", "Python", loss, inputs={"data": "gauss", "target": "gauss"}, steps=BOTH))
    return found

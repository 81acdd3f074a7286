"""Layers that bring data in, and Python layers."""

from __future__ import annotations

from conformance.case import BOTH, FORWARD_ONLY, TEST, TRAIN, Case
from conformance.prototxt import input_layer, layer

IMAGES = 'source: "$DIR/images.txt" root_folder: "$DIR/"'
BATCHES = FORWARD_ONLY * 5  # enough to wrap around


def cases() -> list[Case]:
    found = []

    def add(
        kind: str,
        what: str,
        extra: str,
        tops: str = "data label",
        files: str = "",
        steps=tuple(BATCHES),
        phase: int = TEST,
    ) -> None:
        found.append(
            Case(
                "{} {}{}".format(kind, what, " TRAIN" if phase == TRAIN else ""),
                kind,
                layer("d", kind, "", tops, extra),
                phase=phase,
                files=files,
                steps=steps,
            )
        )

    add(
        "DummyData",
        "legacy shape",
        "dummy_data_param { num: 2 channels: 3 height: 1 width: 4 data_filler { value: 3 } "
        "data_filler { type: 'constant' value: -1 } }",
    )
    add(
        "DummyData",
        "shapes",
        "dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: 4 } data_filler { value: 2.5 } }",
    )
    add(
        "DummyData",
        "default filler",
        "dummy_data_param { shape { dim: 2 dim: 3 dim: 1 dim: 1 dim: 2 } }",
        tops="data",
    )
    add("Input", "several tops", "input_param { shape { dim: 2 dim: 3 } shape { dim: 4 } }")
    add("Input", "one shape for all", "input_param { shape { dim: 2 dim: 3 } }")
    memory = [("set_input_arrays", "gauss", (6, 2, 3, 4), "ints 5", (6,))] + BATCHES
    add(
        "MemoryData",
        "three batches of 2",
        "memory_data_param { batch_size: 2 channels: 2 height: 3 width: 4 }",
        steps=memory,
    )
    for batch in (1, 4, 7):
        add(
            "HDF5Data",
            "batches of %d" % batch,
            'hdf5_data_param { source: "$DIR/h5.txt" batch_size: %d }' % batch,
            tops="third data label",
            files="hdf5_files",
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
        add("ImageData", name, extra % IMAGES, files="image_files")
    for name, extra in (
        ("plain", "batch_size: 2 }"),
        ("transformed", "batch_size: 3 } transform_param { scale: 0.1 mean_value: 7 crop_size: 5 }"),
    ):
        add("Data", name, 'data_param { source: "$DIR/lmdb" backend: LMDB ' + extra, files="lmdb_files")
    add(
        "Data",
        "without labels",
        'data_param { source: "$DIR/lmdb" backend: LMDB batch_size: 2 }',
        tops="data",
        files="lmdb_files",
    )
    for mode in ("warp", "square"):
        for pad in (0, 4):
            for foreground in (0, 1):
                add(
                    "WindowData",
                    "%s, pad %d, foreground %d" % (mode, pad, foreground),
                    'window_data_param { source: "$DIR/windows.txt" batch_size: 2 context_pad: %d '
                    'crop_mode: "%s" fg_fraction: %d } '
                    "transform_param { crop_size: 24 mean_value: 30 }" % (pad, mode, foreground),
                    files="window_files",
                )
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

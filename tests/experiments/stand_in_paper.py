"""Table 1 from the first command to the page, with stand-ins: a trial of everything but the weights.

    CAFFE_GP_SHARED_DATA=... python -m tests.experiments.stand_in_paper --work /tmp/paper --limit 2

A server on this machine offers what the manifests name: random weights under the released files' names and
in their archives, and the real VOC images at hand in the published tar. The tools then fetch, check, evaluate
and report as a user's would, and every page says that the weights are stand-ins. Run by hand.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import json
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path

from caffe_gp import proto
from caffe_gp.models import weights
from caffe_gp.surgery.param_shapes import param_shapes
from conformance.networks import nets

ROOT = Path(__file__).resolve().parents[2]

MODELS = ("fcn-32s", "fcn-8s", "fcn-8s-coco", "deeplab-vgg16", "deeplab-resnet101")


def make_weights(folder: Path) -> list[dict]:
    """Random caffemodels under the released names; returns the manifest's entries without their hashes."""
    entries = {entry["name"]: entry for entry in _manifest("models")["files"]}
    made = []
    for model in MODELS:
        file = weights.find(model)
        net, path = file.models[0].net(), folder / file.name
        proto.write_caffemodel(path, net, nets.weights(file.models[0].name, param_shapes(net)))
        name = path.name
        if file.archive_member is not None:
            name = f"{path.stem}.zip"
            with zipfile.ZipFile(folder / name, "w") as archive:
                archive.write(path, file.archive_member.replace("*", "train_iter_20000"))
            path.unlink()
        entry = entries[file.name]
        entry.update(urls=[name], mirrors=[], sha1=None, md5=None, sha256=None, size=None, stand_in=True)
        made.append(entry)
        print(f"made {name}", flush=True)
    return made


def make_data(folder: Path, shared: Path) -> list[dict]:
    """The published tar with the images at hand, and the lists; returns the manifest's entries."""
    devkit = shared / "voc2012/VOCdevkit/VOC2012"
    with tarfile.open(folder / "VOCtrainval_11-May-2012.tar", "w") as archive:
        archive.add(devkit, "VOCdevkit/VOC2012")
    for ours, theirs in (("sbd_train", "sds_train5623"), ("sbd_val", "sds_val5732")):
        (folder / f"{ours}.txt").write_bytes((shared / f"voc2012/lists/{theirs}.txt").read_bytes())
    entries = {entry["name"]: entry for entry in _manifest("datasets")["sources"]}
    voc, lists = entries["voc2012"], entries["sbd-lists"]
    labels = len(list((devkit / "SegmentationClass").iterdir()))
    voc["archive"].update(
        urls=["VOCtrainval_11-May-2012.tar"], size=None, md5=None, sha256=None,
        counts={"VOCdevkit/VOC2012/SegmentationClass": labels},
    )  # fmt: skip
    for item in lists["lists"]:
        item["urls"] = [Path(item["target"]).name]
    return [voc, lists]


def _manifest(package: str) -> dict:
    return json.loads((ROOT / "caffe_gp" / package / "manifest.json").read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description="Table 1 with stand-ins, from the first command on.")
    parser.add_argument("--work", type=Path, required=True, help="scratch folder, 5 GB")
    parser.add_argument("--limit", type=int, default=2, help="images")
    parser.add_argument("--experiments", nargs="+", default=["table1"])
    args = parser.parse_args()
    served = args.work / "served"
    served.mkdir(parents=True, exist_ok=True)
    handler = functools.partial(_Quiet, directory=str(served))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}"
    folders = {"CAFFE_GP_MODELS": "models", "CAFFE_GP_DATA": "data"}
    environment = {**os.environ, **{name: str(args.work / folder) for name, folder in folders.items()}}
    shared = Path(os.environ["CAFFE_GP_SHARED_DATA"])
    for package, variable, made, key in (
        ("models", "CAFFE_GP_WEIGHTS_MANIFEST", make_weights(served), "files"),
        ("datasets", "CAFFE_GP_DATA_MANIFEST", make_data(served, shared), "sources"),
    ):
        path = args.work / f"{package}.json"
        text = json.dumps({"about": "stand-ins", key: [_with_base(entry, base) for entry in made]})
        path.write_text(text)
        environment[variable] = str(path)
    limits = ["--available", "--limit", str(args.limit), "--tuning-limit", str(args.limit)]
    for command in (
        ["fetch", "models", *MODELS, "--yes-non-commercial"],
        ["fetch", "data", "voc2012", "sbd-lists"],
        ["reproduce", *args.experiments, *limits, "--out", str(args.work / "reports")],
    ):
        print("$ caffe_gp", *command, flush=True)
        subprocess.run([sys.executable, "-m", "caffe_gp", *command], cwd=ROOT, env=environment, check=True)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


def _with_base(entry: dict, base: str) -> dict:
    """The entry with whole addresses."""
    for part in (entry, entry.get("archive") or {}, *entry.get("lists", ())):
        if "urls" in part:
            part["urls"] = [f"{base}/{url}" for url in part["urls"]]
    return entry


if __name__ == "__main__":
    main()

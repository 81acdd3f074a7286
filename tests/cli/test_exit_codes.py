"""Every subcommand with nonsense: one line that names it, and 2. Nothing is computed before."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys

import pytest

from tests.evaluation import tiny_run

pytestmark = pytest.mark.engine

COUNTS = ("0", "-1", "x", "1.5", "99999999999", "")
NUMBERS = ("nan", "inf", "x", "")
RUNS = {
    "--batch-size": COUNTS,
    "--workers": COUNTS,
    "--threads": COUNTS,
    "--devices": ("x", "0,0", "-1", ""),
    "--eps": NUMBERS,
    "--scale": ("0", *NUMBERS),
    "--mean": ("x", "nan", "1,2", ""),
    "--resize": ("0", "-1", "x", "1,2,3", ""),
    "--pad-to": ("0", "-1", "x", "4"),
    "--channel-order": ("RGB", ""),
    "--blob": ("nope", ""),
    "--score": ("nope",),
    "--engine": ("tensorflow",),
    "--device": ("tpu", "cuda:x", ""),
    "--model": ("fcn8s", ""),
    "--prototxt": ("nowhere.prototxt", "", "."),
    "--caffemodel": ("nowhere.caffemodel", "", "."),
    "--out": ("file", "file/out", "/proc/x", "x" * 300, ""),
}
SEGMENTATION = {
    **RUNS,
    "--encoding": ("soft --inject score", "uniform --inject softmax-output", "nope"),
    "--inject": ("nope",),
    "--iterations": COUNTS,
    "--seed": ("-1", "x", "4294967296"),
    "--crf": ("deeplap", ""),
    "--save": ("foo", "none,labels", ""),
}
NONSENSE = {
    "run": {
        **SEGMENTATION,
        "--image": ("nowhere.png", "x" * 300 + ".png", "net.prototxt", ""),
        "--images": ("nowhere", "empty", ""),
        "--labels": ("nowhere",),
        "--palette": ("nowhere.txt", "net.prototxt"),
        "--encoding ground-truth": ("",),
    },
    "explore": {
        "--port": ("-1", "65536", "x", ""),
        "--host": ("256.1.1.1", "nowhere.invalid", ""),
        "--working-size": COUNTS,
        "--threads": COUNTS,
        "--eps": ("auto", *NUMBERS),
        "--blob": ("nope", ""),
        "--images": ("nowhere", "empty", "net.prototxt", ""),
        "--palette": ("nowhere.txt",),
        "--model": ("fcn8s", ""),
        "--prototxt": ("nowhere.prototxt", ""),
    },
    "evaluate": {
        **SEGMENTATION,
        "--data": ("nowhere", "folder", "folder:a", ""),
        "--ids": ("nowhere.txt", "empty"),
        "--limit": COUNTS,
    },
    "classify": {
        **RUNS,
        "--train": ("nowhere", "folder:nowhere", "folder:test", ""),
        "--k": ("0", "-1", "x", "1000"),
        "--features": ("nope", ""),
        "--gradient-at": ("nope",),
        "--hold-out": ("-1", "x", "1000"),
        "--limit": COUNTS,
        "--bank": ("file", "/proc/x"),
    },
    "train": {
        "--solver": ("nowhere.prototxt", "net.prototxt", ".", ""),
        "--max-iter": COUNTS,
        "--seed": ("-1", "x"),
        "--weights": ("nowhere.caffemodel", "net.prototxt"),
        "--snapshot": ("nowhere.solverstate",),
        "--out": ("file", "/proc/x"),
        "--device": ("tpu",),
        "nope": ("",),
    },
    "demo": {
        "--scenes": COUNTS,
        "--validation": COUNTS,
        "--batch-size": COUNTS,
        "--out": ("file", "/proc/x"),
        "--picture": ("empty", "file/x.png"),
    },
    "reproduce": {
        "table0": ("",),
        "table1 --suite": ("nope",),
        "table1 --limit": COUNTS,
        "table1 --set": ("nope", "mnist-train=", "x=y"),
        "table1 --out": ("file", "/proc/x"),
    },
    "fetch": {
        "": ("",),
        "nope": ("",),
        "models": ("", "nosuch", "fcn-32s --from-dir nowhere", "fcn-32s --models-folder file", "--verify"),
        "data": (
            "",
            "nosuch",
            "mnist --from-dir nowhere --data-folder d",
            "mnist --data-folder file",
            "--verify",
        ),
    },
    "convert": {
        "nowhere.pth out.caffemodel --model fcn-32s": ("",),
        "net.prototxt out.caffemodel --model": ("fcn-32s", "nope"),
        "net.prototxt empty --model fcn-32s": ("",),
    },
    "export": {
        "": ("", "--torch out.py"),
        "--prototxt net.prototxt --caffemodel net.caffemodel": (
            "",
            "--torch out.pt",
            "--onnx out.py",
            "--torch file/out.py",
            "--torch /proc/x.py",
            "--torch out.py --end nope",
            "--torch out.py --input-size 0",
            "--torch out.py --image nowhere.png",
        ),
        "--model": ("nope --torch out.py",),
    },
    "inspect": {"": ("", "nowhere", ".", "empty/..", "image.png")},
    "prepare": {
        "": ("", "nowhere.prototxt", ".", "image.png"),
        "net.prototxt --score": ("nope",),
        "net.prototxt --input-size": ("0", "x", "1,2,3"),
        "net.prototxt --out": ("file/out", "empty", "/proc/x"),
    },
    "submit": {"--model": ("nope",), "--eps": NUMBERS, "--workers": COUNTS, "--out": ("file", "/proc/x")},
    "cost": {"": ("", "nowhere", "empty"), "empty --workers": COUNTS, "empty --price": ("-1", *NUMBERS)},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a net, a solver, images with labels, an image, a file and an empty folder."""
    made = tmp_path_factory.mktemp("nonsense")
    tiny_run.make_net(made)
    data = tiny_run.make_data(made, 2)
    (made / "image.png").write_bytes(data.image(data.ids[0]).read_bytes())
    (made / "file").touch()
    (made / "empty").mkdir()
    (made / "solver.prototxt").write_text('net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 1')
    for part, item in (("train", data.ids[0]), ("test", data.ids[1])):
        for name in "ab":
            (made / part / name).mkdir(parents=True)
            (made / part / name / f"{name}.png").write_bytes(data.image(item).read_bytes())
    return made


NET = "--prototxt net.prototxt --caffemodel net.caffemodel --eps 1 --out out --quiet "
GOOD = {
    "run": NET + "--image image.png",
    "evaluate": NET + "--data folder:images:labels:4",
    "classify": NET + "--train folder:train --test folder:test --k 1",
    "train": "--solver solver.prototxt --out out --quiet",
    "explore": "--prototxt net.prototxt --caffemodel net.caffemodel --eps 1 --port 0",
}
CASES = [
    (name, f"{option} {value}".strip())
    for name, options in NONSENSE.items()
    for option, values in options.items()
    for value in values
]


@pytest.mark.parametrize("name, nonsense", CASES, ids=lambda text: text or "nothing")
def test_nonsense(command, folder, monkeypatch, name, nonsense):
    if name == "export":
        pytest.importorskip("safetensors", reason="export says first what it needs: pip install '.[export]'")
    if name == "explore":
        pytest.importorskip(
            "gradio", reason="the explorer says first what it needs: pip install '.[explore]'"
        )
    monkeypatch.chdir(folder)
    for variable in ("CAFFE_GP_MODELS", "CAFFE_GP_DATA"):
        monkeypatch.setenv(variable, str(folder / "cache"))
    words = nonsense.split()
    if nonsense.startswith("--") and len(words) == 1:
        words.append("")  # an empty value
    shutil.rmtree(folder / "out", ignore_errors=True)
    stdout, stderr = command(name, *GOOD.get(name, "").split(), *words, code=2)
    assert stdout == "" and len(stderr.splitlines()) == 1 and stderr.startswith(f"caffe_gp {name}"), stderr
    assert not (folder / "out" / "results.json").exists(), "it ran"


def test_a_full_disk_names_the_file(folder, tmp_path):
    """A limit on the size of files stands for it."""
    words = GOOD["run"].replace("--out out", f"--out {tmp_path / 'out'}").split()

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))

    done = subprocess.run(
        [sys.executable, "-m", "caffe_gp", "run", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        preexec_fn=limit,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"caffe_gp run: {tmp_path / 'out'}/")
    assert done.stderr.endswith(": File too large\n") and done.stderr.count("\n") == 1
    assert not list((tmp_path / "out").rglob("*.tmp*")) and not (tmp_path / "out" / ".lock").exists()
    assert json.loads((tmp_path / "out" / "key.json").read_text())["eps"] == [1.0]

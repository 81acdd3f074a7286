"""Evaluations: numbers against loops over pixels, resumption after kills, one worker against several."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from caffe_gp import engines
from caffe_gp.crf import CRFSettings, DenseCRF
from caffe_gp.datasets.class_names import VOC
from caffe_gp.datasets.segmentation import SegmentationSet
from caffe_gp.errors import CaffeGPError, DataError, EngineError, ZeroGradientError
from caffe_gp.evaluation.image_outputs import set_aside
from caffe_gp.evaluation.results import read_run, table
from caffe_gp.evaluation.segmentation import Evaluation, evaluate
from caffe_gp.gp import GuidedPerturbation
from caffe_gp.images.placing import BILINEAR
from caffe_gp.images.preprocess import Preprocess
from caffe_gp.runs import pool
from tests.evaluation import tiny_run

pytestmark = pytest.mark.engine

WEAK_CRF = CRFSettings(bi_w=2, bi_xy_std=9, bi_rgb_std=20, pos_w=1, pos_xy_std=2, max_iter=3)


IMAGES = 9


@pytest.fixture(scope="module")
def whole(net, data, tmp_path_factory):
    """Folder of an uninterrupted run over ``data``."""
    out = tmp_path_factory.mktemp("whole") / "run"
    evaluate(tiny_run.settings(net, data, out))
    return out


def results(out):
    return (out / "results.json").read_bytes()


def loop_counts(truth, labels):
    counts = np.zeros((tiny_run.CLASSES,) * 2, np.int64)
    for t, p in zip(truth.ravel().tolist(), labels.ravel().tolist()):
        if t != 255:
            counts[t, p] += 1
    return counts


def test_numbers_equal_loops_over_the_maps_of_direct_calls(net, data, tmp_path):
    run = evaluate(tiny_run.settings(net, data, tmp_path / "run", crf=WEAK_CRF, save=("labels",)))
    assert run.ids == list(data.ids) and run.eps == [0.5, -1.0] and run.classes == 4
    assert run.base.shape == (9, 4, 4) and run.after.shape == run.after_crf.shape == (2, 9, 4, 4)
    assert run.base.dtype == np.int64 and run.confidence.shape == (3, 9)
    gp, preprocess = GuidedPerturbation(tiny_run.load(net)), Preprocess()
    for n, item in enumerate(data.ids):
        canvas, truth = preprocess.load(data.image(item)), data.truth(item)
        found = gp(canvas.data[np.newaxis], run.eps, keep_probabilities=True)
        crf = DenseCRF(canvas.image, WEAK_CRF)
        maps = [found.base_labels[0], *(labels[0] for labels in found.labels)]
        y = [found.base_probabilities[0], *(one[0] for one in found.probabilities)]
        behind = [crf.labels(np.log(one)) for one in y]
        for k, labels in enumerate(maps):
            counts = run.base[n] if k == 0 else run.at(run.eps[k - 1])[n]
            crf_counts = run.base_crf[n] if k == 0 else run.at(run.eps[k - 1], crf=True)[n]
            assert np.array_equal(counts, loop_counts(truth, labels))
            assert np.array_equal(crf_counts, loop_counts(truth, behind[k]))
            if k:
                changed = labels != maps[0]
                assert run.changed[k - 1, n] == changed.sum()
                assert run.fixed[k - 1, n] == (changed & (labels == truth)).sum()
                assert run.broken[k - 1, n] == (changed & (maps[0] == truth)).sum()
        confidences = [found.base_confidence, *found.confidence]
        assert run.confidence[:, n] == pytest.approx([c.mean() for c in confidences], abs=1e-6)
        for name, labels in {"base": maps[0], "eps_-1": maps[2], "eps_0.5_crf": behind[1]}.items():
            with Image.open(run.folder / "labels" / name / f"{item}.png") as picture:
                assert picture.mode == "P" and np.array_equal(np.asarray(picture), labels)
        assert tuple(run.sizes[n]) == canvas.image.shape[1::-1]
    assert (run.changed > 0).any() and not np.array_equal(run.base_crf, run.base)
    total = run.base.sum(axis=0)
    iu = np.diag(total) / (total.sum(0) + total.sum(1) - np.diag(total))
    assert run.measures(run.base)["mean_iu"] == run.total().mean_iu == pytest.approx(iu.mean())
    summary = run.origin["summary"]
    assert summary["gp"][1]["gain"]["gain"] == pytest.approx(
        100 * (run.measures(run.at(-1.0))["mean_iu"] - run.total().mean_iu)
    )
    assert summary["gp"][0]["crf"]["mean_iu"] == run.total(0.5, crf=True).mean_iu
    assert set(run.seconds) == {"forward", "backward", "forward_perturbed", "crf"}
    assert run.origin["parts"][0]["images"] == 9 and len(run.origin["model"]["caffemodel_sha256"]) == 64
    assert "GP, eps -1 + CRF" in table(run) and "9 image(s)" in table(run)


def test_scores_of_unpadded_convolutions_are_placed_not_stretched(data, tmp_path):
    tiny_run.make_net(tmp_path, tiny_run.NET.replace("pad: 1", "pad: 0"))
    run = evaluate(tiny_run.settings(tmp_path, data, tmp_path / "run", crf=WEAK_CRF, save=("labels",)))
    gp, preprocess = GuidedPerturbation(tiny_run.load(tmp_path)), Preprocess()
    for n, item in enumerate(data.ids):
        canvas, truth = preprocess.load(data.image(item)), data.truth(item)
        inner = gp(canvas.data[np.newaxis], run.eps).base_labels[0]
        assert inner.shape == tuple(size - 4 for size in truth.shape)
        assert np.array_equal(run.base[n], loop_counts(truth[2:-2, 2:-2], inner))
        assert run.base_crf[n].sum() == run.base[n].sum()
        for name in ("base", "base_crf"):
            with Image.open(run.folder / "labels" / name / f"{item}.png") as picture:
                labels = np.asarray(picture)
            assert np.count_nonzero(labels == 255) == truth.size - inner.size
            assert name == "base_crf" or np.array_equal(labels[2:-2, 2:-2], inner)
    said = [change for change in run.origin["model"]["surgery"] if "label maps begin at pixel 2, 2" in change]
    assert len(said) == 1


def test_stretched_inputs_get_their_probabilities_back_bilinearly(net, data, tmp_path):
    options = {"resize": (40, 32), "pad_to": (48, 32), "crf": WEAK_CRF, "eps": [0.5]}
    run = evaluate(tiny_run.settings(net, data.first(2), tmp_path / "run", **options))
    preprocess = Preprocess(resize=(40, 32), pad_to=(48, 32))
    gp = GuidedPerturbation(tiny_run.load(net))
    for n, item in enumerate(data.ids[:2]):
        canvas = preprocess.load(data.image(item))
        y = gp(canvas.data[np.newaxis], 0.5, keep_probabilities=True).probabilities[0]
        maps = [Image.fromarray(one[:, :40]).resize(canvas.image.shape[1::-1], BILINEAR) for one in y]
        labels = DenseCRF(canvas.image, WEAK_CRF).labels(np.log(np.stack([np.asarray(one) for one in maps])))
        assert np.array_equal(run.at(0.5, crf=True)[n], loop_counts(data.truth(item), labels))


# ---- stopping and going on


def kill_and_resume(settings, kills, seed=0):
    """Start, kill -9 after some images at a random moment, start again, ...; then let it finish.

    Processes are forked from a server that has imported everything, so that a start takes a moment.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["caffe_gp.caffe", "caffe_gp.evaluation.segmentation"])
    chance = random.Random(seed)
    killed = 0
    while killed < kills:
        wanted = tiny_run.lines(settings.out) + chance.choice((0, 1, 2, 3, 4))
        delay = chance.random() * 0.005
        process = context.Process(target=tiny_run.evaluate_until_killed, args=(settings, wanted, delay))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL, "the run was over before it was killed"
        killed += 1
    process = context.Process(target=evaluate, args=(settings,))
    process.start()
    process.join()
    assert process.exitcode == 0


@pytest.mark.parametrize("batch_size", [1, 3])
def test_killed_twenty_times_and_resumed_is_byte_identical(net, tmp_path, batch_size):
    data = tiny_run.make_data(tmp_path, 200)
    options = {"batch_size": batch_size, "crf": WEAK_CRF if batch_size > 1 else None}
    settings = tiny_run.settings(net, data, tmp_path / "killed", **options)
    kill_and_resume(settings, kills=20 if batch_size == 1 else 3, seed=batch_size)
    parts = len(list((tmp_path / "killed" / "records").iterdir()))
    run = evaluate(replace(settings, out=tmp_path / "whole"))
    assert parts > 2 and results(tmp_path / "killed") == results(tmp_path / "whole")
    again = read_run(tmp_path / "killed")
    assert again.ids == run.ids and np.array_equal(again.after, run.after)
    assert sum(part["images"] for part in again.origin["parts"]) == len(data.ids)


def test_a_torn_record_is_computed_again(net, data, whole, tmp_path):
    settings = tiny_run.settings(net, data, tmp_path / "run")
    evaluate(settings)
    path = tmp_path / "run" / "records" / "0.jsonl"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(DataError, match="1 of 9 images are still to be computed"):
        read_run(tmp_path / "run")
    evaluate(settings)
    assert results(tmp_path / "run") == results(whole)
    second = (tmp_path / "run" / "records" / "1.jsonl").read_text().splitlines()
    assert len(second) == 2


def test_a_finished_run_loads_no_net(net, data, whole, monkeypatch):
    monkeypatch.setattr(engines, "open_net", None)
    before = results(whole)
    run = evaluate(tiny_run.settings(net, data, whole))
    assert len(run.ids) == 9 and results(whole) == before


def test_other_settings_are_refused_by_name(net, data, whole):
    for field, value, message in (
        ("eps", [0.5], "eps = [0.5, -1.0], now it is [0.5]"),
        ("batch_size", 2, "batch_size = 1, now it is 2"),
        ("threads", 2, "threads = 1, now it is 2"),
        ("crf", "deeplab", "crf = null, now it is"),
        ("iterations", 2, "iterations = 1, now it is 2"),
        ("encoding", "top2", 'encoding = "onehot", now it is "top2"'),
        ("scale", 0.5, "scale = 1.0, now it is 0.5"),
        ("blob", "conv1", 'blob = "data", now it is "conv1"'),
        ("score", "conv1", "prepared_prototxt_sha256"),
        ("data", data.first(8), 'data = "tiny", now it is "tiny (8 first of 9)"'),
    ):
        with pytest.raises(DataError) as found:
            evaluate(replace(tiny_run.settings(net, data, whole), **{field: value}))
        assert message in str(found.value) and "give another output folder" in str(found.value)


def test_a_changed_image_is_computed_again(net, tmp_path):
    data = tiny_run.make_data(tmp_path, 3)
    settings = tiny_run.settings(net, data, tmp_path / "run")
    before = evaluate(settings)
    with Image.open(data.image("image001")) as picture:
        pixels = 255 - np.asarray(picture)
    Image.fromarray(pixels).save(data.image("image001"))
    after = evaluate(settings)
    differs = [not np.array_equal(one, other) for one, other in zip(before.base, after.base)]
    assert differs == [False, True, False]
    fresh = evaluate(replace(settings, out=tmp_path / "fresh"))
    assert np.array_equal(fresh.after, after.after)
    assert results(tmp_path / "run") == results(tmp_path / "fresh")


def test_runs_of_other_settings_share_a_folder_by_key(net, data, tmp_path):
    settings = replace(tiny_run.settings(net, data.first(2), tmp_path), by_key=True)
    first, second = evaluate(settings), evaluate(replace(settings, eps=[2.0]))
    assert first.folder != second.folder and first.folder.parent == second.folder.parent == tmp_path
    assert evaluate(settings).folder == first.folder and "tiny" in first.folder.name


# ---- several workers


def test_two_workers_agree_with_one_even_if_one_is_killed(net, data, whole, tmp_path, monkeypatch, caplog):
    received = []
    original = pool._Worker.receive

    def receive(worker):
        records = original(worker)
        received.append(worker.process.pid)
        if len(received) == 3:
            os.kill(worker.process.pid, signal.SIGKILL)
        return records

    monkeypatch.setattr(pool._Worker, "receive", receive)
    settings = tiny_run.settings(net, data, tmp_path / "run", workers=2, threads=None, quiet=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run = evaluate(settings)
    assert results(tmp_path / "run") == results(whole)
    assert sum(part["images"] for part in run.origin["parts"]) == 9
    assert f"process {received[2]}) died: SIGKILL" in caplog.text
    assert "its images go to the others" in caplog.text


def test_a_run_without_workers_left_goes_on(net, data, whole, tmp_path, monkeypatch):
    original = pool._Worker.receive

    def receive(worker):
        os.kill(worker.process.pid, signal.SIGKILL)
        return original(worker)

    settings = tiny_run.settings(net, data, tmp_path / "run", workers=2)
    with monkeypatch.context() as patch:
        patch.setattr(pool._Worker, "receive", receive)
        with pytest.raises(EngineError, match="no worker is left; the same command|over the same items"):
            evaluate(settings)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    # Another number of workers keeps to the run's threads.
    evaluate(replace(settings, workers=1, threads=None))
    assert results(tmp_path / "run") == results(whole)


def test_an_error_of_a_worker_is_ours(net, tmp_path):
    data = tiny_run.make_data(tmp_path, 4)
    path = data.image("image002")
    path.write_bytes(path.read_bytes()[:-400])  # its size can still be read
    with pytest.raises(DataError, match="image002.png: not a readable image"):
        evaluate(tiny_run.settings(net, data, tmp_path / "run", workers=2))
    assert not multiprocessing.active_children()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_ray_cluster_loses_and_doubles_nothing_when_an_actor_is_killed(net, tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[cluster]'")
    from caffe_gp.evaluation import segmentation as module

    data = tiny_run.make_data(tmp_path, 60)
    settings = tiny_run.settings(net, data, tmp_path / "ray", workers=2, cluster="local", save=("labels",))
    score = module._RunningScore.__call__
    killed = []

    def add(self, records):
        files = list((tmp_path / "ray" / "records").glob("*.jsonl"))
        if not killed and tiny_run.lines(tmp_path / "ray") > 12 and len(files) == 2:
            killed.append(json.loads(sorted(files)[0].read_text().splitlines()[0])["made"]["process"])
            os.kill(killed[0], signal.SIGKILL)
        return score(self, records)

    monkeypatch.setattr(module._RunningScore, "__call__", add)
    evaluate(settings)
    assert killed and len(list((tmp_path / "ray" / "records").glob("*.jsonl"))) == 3
    evaluate(replace(settings, out=tmp_path / "plain", workers=1, cluster=None))
    assert results(tmp_path / "ray") == results(tmp_path / "plain")
    items = [
        json.loads(line)["item"]
        for path in (tmp_path / "ray" / "records").glob("*.jsonl")
        for line in path.read_text().splitlines()[1:]
    ]
    assert len(items) == len(set(items)) == 60


def test_from_outside_a_ray_cluster(net, tmp_path, monkeypatch):
    """Through Ray's client server, as a laptop uses a cluster."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[cluster]'")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    # How long Ray waits for a client's server to start; its 30 s are too few where the machine is loaded.
    monkeypatch.setenv("RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S", "300")
    command = Path(sys.executable).with_name("ray")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = [command, "start", "--head", "--port=0", "--num-cpus=2", f"--ray-client-server-port={port}"]
    # With --block, what it started ends with it. 'ray stop' would stop every cluster of this machine.
    head = subprocess.Popen([*start, "--disable-usage-stats", "--block"], stdout=subprocess.DEVNULL)
    try:
        _wait_for(port)
        data = tiny_run.make_data(tmp_path, 20)
        settings = tiny_run.settings(
            net, data, tmp_path / "out", workers=2, cluster=f"ray://127.0.0.1:{port}"
        )
        evaluate(settings)
    finally:
        ray.shutdown()
        head.terminate()
        head.wait(timeout=60)
    evaluate(replace(settings, out=tmp_path / "plain", workers=1, cluster=None))
    assert results(tmp_path / "out") == results(tmp_path / "plain")


def _wait_for(port):
    """Until something listens there."""
    for _ in range(600):
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"nothing listens on port {port}")


# ---- what cannot be


def test_what_cannot_be_is_said(net, data, tmp_path):
    def refused(kind, message, **options):
        with pytest.raises(kind, match=message):
            evaluate(tiny_run.settings(net, options.pop("data", data), tmp_path / "run", **options))
        assert not list((tmp_path / "run" / "records").glob("*"))

    refused(CaffeGPError, "unknown CRF preset 'deplab'; did you mean deeplab", crf="deplab")
    refused(CaffeGPError, "workers, threads and batch_size", workers=0)
    refused(CaffeGPError, "values must differ", eps=[1.0, 1.0])
    no_truth = replace(data, labels=None)
    refused(DataError, "'ground-truth' needs ground truth", encoding="ground-truth", data=no_truth)
    refused(DataError, "holds no images", data=replace(data, ids=()))
    refused(DataError, "nobody.png: no such label map", data=replace(data, ids=("nobody",)))
    for names in ("abcde", "abc"):
        message = f"has {len(names)} classes, the net's scores .blob 'score'. have 4 channels"
        refused(DataError, message, data=replace(data, classes=tuple(names)))
    with pytest.raises(DataError, match="no evaluation"):
        read_run(tmp_path / "nothing")


def test_a_net_without_gradient_is_told_early(tmp_path, data):
    tiny_run.make_net(tmp_path)
    zeros = tiny_run.nets.plain_net(tmp_path, tiny_run.NET, name="net.prototxt", gain=0)
    zeros.save(str(tmp_path / "net.caffemodel"))
    with pytest.raises(ZeroGradientError, match="in the first 5 image"):
        evaluate(tiny_run.settings(tmp_path, data, tmp_path / "run"))


def test_without_ground_truth_there_are_label_maps_only(net, data, tmp_path):
    run = evaluate(tiny_run.settings(net, replace(data, labels=None), tmp_path / "run", save=("labels",)))
    assert not run.has_truth and not run.base.any() and (run.changed > 0).any()
    assert len(list((tmp_path / "run" / "labels" / "eps_0.5").iterdir())) == 9
    assert "changed" in table(run) and "mean IU" not in table(run)


def test_means_with_and_without_background(net, data, tmp_path):
    run = evaluate(tiny_run.settings(net, replace(data, background_counts=False), tmp_path / "run"))
    base = run.origin["summary"]["base"]
    assert base["mean_iu_without_background"] == pytest.approx(np.mean(base["iu"][1:]))
    assert base["mean_iu"] == pytest.approx(np.mean(base["iu"])) and "without background" in table(run)


# ---- a real net


def test_a_real_net_on_real_images(shared_data, tmp_path):
    folder = shared_data / "caffe_voc" / "mnv2_dm05_257"
    devkit = shared_data / "voc2012" / "VOCdevkit" / "VOC2012"
    ids = (shared_data / "voc2012" / "lists" / "available_of_346.txt").read_text().split()[:8]
    data = SegmentationSet("voc", VOC, tuple(ids), devkit / "JPEGImages", devkit / "SegmentationClass")
    settings = Evaluation(
        prototxt=str(folder / "deploy.prototxt"), caffemodel=str(folder / "weights.caffemodel"), data=data,
        out=tmp_path / "one", eps=[0.05, 0.1], mean=(127.5,) * 3, resize=(257, 257), threads=1, quiet=True,
    )  # fmt: skip
    run = evaluate(settings)
    evaluate(replace(settings, out=tmp_path / "two", workers=2))
    killed = replace(settings, out=tmp_path / "killed")
    kill_and_resume(killed, kills=2, seed=3)
    assert results(tmp_path / "one") == results(tmp_path / "two") == results(tmp_path / "killed")
    assert 0.5 < run.total().mean_iu < 0.9 and run.gain(0.1).low < run.gain(0.1).high


def test_a_record_does_not_reach_out_of_its_folder(tmp_path):
    """Of an image that is gone, files inside the run's folder are moved; records may come from anywhere."""
    (tmp_path / "outside.png").write_bytes(b"someone's")
    (tmp_path / "run" / "labels").mkdir(parents=True)
    (tmp_path / "run" / "labels" / "a.png").write_bytes(b"the run's")
    files = ["../outside.png", str(tmp_path / "outside.png"), "labels/a.png"]
    record = {"item": "a", "image_sha256": "1", "truth_sha256": None, "files": files}
    assert set_aside(tmp_path / "run", [record], {}) == 1
    assert (tmp_path / "outside.png").exists()
    assert (tmp_path / "run" / "left_out" / "labels" / "a.png").read_bytes() == b"the run's"


@pytest.mark.parametrize(
    "place, value",
    [
        (("width",), -1), (("width",), "30"), (("width",), 1e400), (("height",), 10**30), (("base",), []),
        (("base", "confusion"), [[0, 99, 1]]), (("base", "confusion"), [[0, 0]]), (("base", "confusion"), 7),
        (("base", "confusion"), [[0, 0, -5]]), (("base", "confidence"), "high"), (("gp",), [1]),
        (("seconds",), None), (("seconds", "forward"), {}), (("image_sha256",), 3), (("width",), True),
    ],
)  # fmt: skip
def test_an_edited_record_is_named_by_its_line(whole, tmp_path, place, value):
    shutil.copytree(whole, tmp_path / "run")
    path = tmp_path / "run" / "records" / "0.jsonl"
    lines = path.read_text().splitlines()
    record = inner = json.loads(lines[2])
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    path.write_text("\n".join([*lines[:2], json.dumps(record), *lines[3:], ""]))
    with pytest.raises(DataError, match="0.jsonl, line 3: not a record"):
        read_run(tmp_path / "run")


@pytest.mark.parametrize("name", ["classes", "class_names", "key", "made", "background_counts"])
def test_an_edited_first_line(whole, tmp_path, name):
    shutil.copytree(whole, tmp_path / "run")
    path = tmp_path / "run" / "records" / "0.jsonl"
    first, *rest = path.read_text().splitlines()
    head = json.loads(first)
    del head[name]
    path.write_text("\n".join([json.dumps(head), *rest, ""]))
    with pytest.raises(DataError, match="run.*(not a record|do not go together)"):
        read_run(tmp_path / "run")

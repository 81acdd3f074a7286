"""The choice of engine, loading nets, and the child process around an engine that aborts."""

from __future__ import annotations

import faulthandler
import os
import re
import select
import signal
import sys
import threading
import types
from pathlib import Path

import numpy as np
import pytest

from caffe_gp import engines, proto
from caffe_gp.errors import (
    CaffeGPError,
    DataError,
    EngineError,
    NetError,
    PrototxtError,
    UsageError,
    WeightsError,
)
from caffe_gp.gp import GuidedPerturbation
from conformance import gp_nets as nets

pytestmark = pytest.mark.engine


def test_which_engine(monkeypatch):
    monkeypatch.delenv("CAFFE_GP_ENGINE", raising=False)
    assert engines.resolve() == "torch"
    monkeypatch.setenv("CAFFE_GP_ENGINE", "bvlc")
    assert engines.resolve("auto") == "bvlc" and engines.resolve("torch") == "torch"
    monkeypatch.setenv("CAFFE_GP_ENGINE", "tensorflow")
    with pytest.raises(EngineError, match="CAFFE_GP_ENGINE='tensorflow'"):
        engines.resolve()
    with pytest.raises(EngineError, match="unknown engine 'caffe2'"):
        engines.resolve("caffe2")


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cuda:", "CPU", ""])
def test_unknown_devices(device):
    with pytest.raises(EngineError, match="unknown device"):
        engines.load_caffe(nets.ENGINE, device)


def test_a_gpu_that_is_not_here():
    """Whichever are: not a hundred."""
    with pytest.raises(
        EngineError, match="--device cpu" if nets.ENGINE == "torch" else "BVLC Caffe stopped at"
    ):
        engines.load_caffe(nets.ENGINE, "cuda:99")


@pytest.mark.parametrize(
    "threads, right", [("lots", False), ("0", False), ("-2", False), ("2", True), ("4,2", True)]
)
def test_threads_in_the_environment(monkeypatch, threads, right):
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    if right:
        engines.load_caffe(nets.ENGINE)
    else:
        with pytest.raises(EngineError, match=f"environment variable OMP_NUM_THREADS='{threads}'"):
            engines.load_caffe(nets.ENGINE)


def test_the_empty_package_of_that_name_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "caffe", types.ModuleType("caffe"))
    with pytest.raises(EngineError, match="not pycaffe.*placeholder.*--engine torch"):
        engines.load_caffe("bvlc")


@pytest.mark.skipif(nets.ENGINE == "bvlc", reason="BVLC Caffe is here")
def test_bvlc_caffe_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "caffe", None)
    with pytest.raises(EngineError, match="not installed.*make bvlc"):
        engines.load_caffe("bvlc")


def test_description():
    described = engines.describe(nets.ENGINE)
    assert described["engine"] == nets.ENGINE and described["device"] == "cpu"
    for name in ("engine_version", "device_name", "threads", "python", "numpy", "system"):
        assert described[name], name


def write(tmp_path, text, name="net.prototxt"):
    path = tmp_path / name
    path.write_text(text)
    return str(path)


SMALL = nets.input_layer((1, 3, 8, 8)) + nets.conv("score", "data", 4, 3)


def test_loading_leaves_the_file_alone_and_says_what_it_did(tmp_path):
    path = write(tmp_path, "force_backward: true\n" + SMALL)
    loaded = engines.load_net(path, engine=nets.ENGINE)
    assert Path(path).read_text() == "force_backward: true\n" + SMALL
    assert any("force_backward" in change for change in loaded.changes)
    assert (loaded.data, loaded.score, loaded.prob) == ("data", "score", "prob")
    assert loaded.engine == nets.ENGINE and 'name: "probe"' in loaded.prepared_prototxt
    assert list(loaded.net.inputs) == ["data"] and list(loaded.net.outputs) == ["prob"]


def test_weights_go_round(tmp_path):
    path = write(tmp_path, SMALL)
    net = nets.plain_net(tmp_path, SMALL)
    weights = str(tmp_path / "w.caffemodel")
    net.save(weights)
    loaded = engines.load_net(path, weights, engine=nets.ENGINE)
    for k in range(2):
        np.testing.assert_array_equal(loaded.net.params["score"][k].data, net.params["score"][k].data)
    assert not any("no weights" in change for change in loaded.changes)


def test_weights_that_do_not_belong(tmp_path):
    nets.plain_net(tmp_path, SMALL).save(str(tmp_path / "w.caffemodel"))
    weights = str(tmp_path / "w.caffemodel")
    other = write(tmp_path, SMALL.replace('name: "score"', 'name: "other"'), "other.prototxt")
    with pytest.raises(WeightsError, match="no layer in this file has the name"):
        engines.load_net(other, weights, engine=nets.ENGINE)
    wider = write(tmp_path, SMALL.replace("num_output: 4", "num_output: 5"), "wider.prototxt")
    with pytest.raises(
        WeightsError, match=r"layer 'score' has blobs of shapes .*\(4, 3, 3, 3\).*\(5, 3, 3, 3\)"
    ):
        engines.load_net(wider, weights, engine=nets.ENGINE)
    more = write(tmp_path, SMALL + nets.conv("last", "score", 2, 1), "more.prototxt")
    with pytest.raises(
        WeightsError, match=r"no weights for layer\(s\) 'last' \(Convolution.*--allow-missing-we"
    ):
        engines.load_net(more, weights, engine=nets.ENGINE)
    loaded = engines.load_net(more, weights, engine=nets.ENGINE, allow_missing_weights=True)
    assert "no weights in the file for last: left as their fillers made them" in loaded.warnings
    assert set(loaded.warnings) <= set(loaded.changes)


def test_weights_that_a_filler_replaces(tmp_path):
    nets.plain_net(tmp_path, SMALL).save(str(tmp_path / "w.caffemodel"))
    weights = str(tmp_path / "w.caffemodel")
    enlarged = SMALL + nets.deconv("up", "score", 4, 4, 2).replace(
        "num_output", 'group: 4 weight_filler { type: "bilinear" } num_output'
    )
    loaded = engines.load_net(write(tmp_path, enlarged), weights, engine=nets.ENGINE)
    assert loaded.warnings == ["no weights in the file for up: left as their fillers made them"]
    # With one group the filler lets every class read all of them.
    mixed = write(tmp_path, enlarged.replace("group: 4 ", ""), "mixed.prototxt")
    with pytest.raises(WeightsError, match="'up' .Deconvolution.*group: C"):
        engines.load_net(mixed, weights, engine=nets.ENGINE)


@pytest.mark.parametrize(
    "of_file, of_net, what_to_do",
    [
        ("num_output: 4 kernel_size: 3", "num_output: 5 kernel_size: 3", "num_output is 4 in"),
        ("num_output: 4 kernel_size: 3", "num_output: 4 kernel_size: 5", "kernel_size"),
        (
            "num_output: 4 kernel_size: 3",
            "num_output: 4 kernel_size: 3 bias_term: false",
            "remove it",
        ),
        (
            "num_output: 4 kernel_size: 3 bias_term: false",
            "num_output: 4 kernel_size: 3",
            "write bias_term: false in the layer's convolution_param",
        ),
    ],
)
def test_a_mismatch_says_what_to_do(tmp_path, of_file, of_net, what_to_do):
    own = SMALL.replace("num_output: 4 kernel_size: 3", of_file)
    nets.plain_net(tmp_path, own).save(str(tmp_path / "w.caffemodel"))
    path = write(tmp_path, SMALL.replace("num_output: 4 kernel_size: 3", of_net))
    with pytest.raises(WeightsError, match=f"layer 'score' has blobs.*{what_to_do}"):
        engines.load_net(path, str(tmp_path / "w.caffemodel"), engine=nets.ENGINE)


def test_a_fully_connected_layer_s_weights_for_a_convolution(tmp_path):
    fc = (
        nets.input_layer((1, 3, 8, 8)) + 'layer { name: "score" type: "InnerProduct" bottom: "data" '
        'top: "score" inner_product_param { num_output: 4 } }\n'
    )
    nets.plain_net(tmp_path, fc).save(str(tmp_path / "w.caffemodel"))
    path = write(tmp_path, nets.input_layer((1, 3, 8, 8)) + nets.conv("score", "data", 4, 8))
    with pytest.raises(WeightsError, match="InnerProduct's weights for a Convolution.*data.flat"):
        engines.load_net(path, str(tmp_path / "w.caffemodel"), engine=nets.ENGINE)


def test_statistics_that_were_never_computed_are_told(tmp_path):
    text = SMALL + nets.in_place("bn", "BatchNorm", "score")
    net = nets.plain_net(tmp_path, text)
    net.params["bn"][2].data[...] = 0
    net.save(str(tmp_path / "w.caffemodel"))
    loaded = engines.load_net(write(tmp_path, text), str(tmp_path / "w.caffemodel"), engine=nets.ENGINE)
    assert len(loaded.warnings) == 1 and "'bn' (BatchNorm): its statistics were never" in loaded.warnings[0]


def test_values_of_a_second_input_reach_the_net(tmp_path):
    two = (
        nets.input_layer((1, 3, 8, 8))
        + nets.input_layer((1, 3, 8, 8), name="second", top="flow")
        + nets.add("sum", "data", "flow")
        + nets.conv("score", "sum", 4, 3)
    )
    one = nets.input_layer((1, 3, 8, 8), top="sum") + nets.conv("score", "sum", 4, 3)
    net = nets.plain_net(tmp_path, one)
    net.save(str(tmp_path / "w.caffemodel"))
    paths = write(tmp_path, two), str(tmp_path / "w.caffemodel")
    images = np.random.RandomState(0).uniform(-9, 9, (2, 3, 6, 7)).astype(np.float32)
    flow = np.random.RandomState(1).uniform(-9, 9, (3, 6, 7)).astype(np.float32)
    for given, added in ((flow, flow), ([1, 2, 3], np.reshape([1, 2, 3], (3, 1, 1))), (4, 4)):
        loaded = engines.load_net(*paths, engine=nets.ENGINE, inputs={"flow": given})
        GuidedPerturbation(loaded)(images, 0.0)
        expected = engines.load_net(write(tmp_path, one, "one.prototxt"), paths[1], engine=nets.ENGINE)
        GuidedPerturbation(expected)((images + added).astype(np.float32), 0.0)
        scores = [of.net.blobs["score"].data for of in (loaded, expected)]
        np.testing.assert_allclose(scores[0], scores[1], rtol=1e-6)


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(PrototxtError):
        engines.load_net(str(tmp_path / "none.prototxt"), engine=nets.ENGINE)
    path = write(tmp_path, SMALL)
    with pytest.raises(WeightsError):
        engines.load_net(path, str(tmp_path / "none.caffemodel"), engine=nets.ENGINE)
    page = write(tmp_path, "<!DOCTYPE html><html></html>", "w.caffemodel")
    with pytest.raises(WeightsError, match="page"):
        engines.load_net(path, page, engine=nets.ENGINE)


@pytest.mark.skipif(nets.ENGINE == "bvlc", reason="BVLC Caffe aborts on this; see the guarded test")
def test_errors_name_the_user_s_file(tmp_path):
    path = write(tmp_path, SMALL.replace("kernel_size: 3", "kernel_size: 30"), "mine.prototxt")
    with pytest.raises(NetError, match="mine.prototxt"):
        engines.load_net(path, engine=nets.ENGINE)


# ---- the child process


def double(x, extra=0):
    return 2 * x + extra


def fail_check():
    """What glog does on a failed CHECK, with its lines as BVLC Caffe prints them."""
    faulthandler.disable()
    print("WARNING: something harmless", file=sys.stderr)
    check = b"crop_layer.cpp:77] Check failed: crop_size >= 0 (-3 vs. 0) too small"
    os.write(
        2, b"F1122 10:00:00.123456   42 " + check + b"\n*** Check failure stack trace: ***\n    @ 0x7f00\n"
    )
    os.abort()


def test_a_guarded_call_returns_its_result():
    assert engines.run_guarded(double, 4, extra=1) == 9
    np.testing.assert_array_equal(engines.run_guarded(np.zeros, (500, 500)), np.zeros((500, 500)))


def test_a_failed_check_becomes_an_exception(capfd):
    with pytest.raises(
        EngineError, match=r"crop_layer.cpp:77: Check failed: crop_size >= 0 \(-3 vs. 0\) too small$"
    ):
        engines.run_guarded(fail_check)
    shown = capfd.readouterr().err
    assert "something harmless" in shown
    assert "stack trace" not in shown


def test_other_deaths():
    with pytest.raises(EngineError, match="SIGKILL.*memory"):
        engines.run_guarded(lambda: os.kill(os.getpid(), 9))
    with pytest.raises(EngineError, match="exit code 7"):
        engines.run_guarded(lambda: os._exit(7))


def test_exceptions_come_back_as_they_were():
    def refuse():
        raise DataError("x.png: no such image")

    with pytest.raises(DataError, match="x.png"):
        engines.run_guarded(refuse)
    with pytest.raises(ZeroDivisionError):
        engines.run_guarded(lambda: 1 / 0)
    with pytest.raises(Exception, match="cannot be handed"):
        engines.run_guarded(lambda: lambda: 0)


def test_an_interrupted_child_interrupts_the_parent():
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engines.run_guarded(interrupted)


def test_the_call_starts_no_thread(monkeypatch):
    """One that is still ending when the next child is forked leaves it a loader lock that nobody frees."""
    monkeypatch.setattr(threading.Thread, "start", lambda thread: pytest.fail(f"{thread} was started"))
    assert engines.run_guarded(double, 1) == 2


def test_many_messages_beside_a_large_result(capfd):
    """Both are more than a pipe holds, so the parent has to take them as they come."""

    def talk():
        for _ in range(1000):
            os.write(2, b"a" * 499 + b"\n")
        return np.arange(1_000_000)

    np.testing.assert_array_equal(engines.run_guarded(talk), np.arange(1_000_000))
    assert capfd.readouterr().err == ("a" * 499 + "\n") * 1000


def test_a_grandchild_that_holds_stderr_is_not_waited_for():
    let_go, alive = os.pipe(), os.pipe()

    def leave_one():
        if os.fork() == 0:
            select.select([let_go[0]], [], [], 60)
            os._exit(0)
        return "done"

    assert engines.run_guarded(leave_one) == "done"
    os.close(alive[1])
    ended, _, _ = select.select([alive[0]], [], [], 0)
    os.write(let_go[1], b"x")
    assert not ended, "the grandchild was waited for"
    assert os.read(alive[0], 1) == b""  # now it ends
    for end in (*let_go, alive[0]):
        os.close(end)


def test_ctrl_c_lets_the_child_finish_its_file(tmp_path, monkeypatch):
    """The terminal's Ctrl-C reaches both; the child keeps on until its file is whole."""
    path = tmp_path / "scores.txt"
    read_end, write_end = os.pipe()

    def wait_until_the_parent_listens():
        """It passes on what the child writes to stderr; what it was just reading when Ctrl-C came is lost."""
        for _ in range(60):
            os.write(2, b"x")
            if select.select([read_end], [], [], 1)[0]:
                return os.read(read_end, 60)
        raise AssertionError("the parent does not listen")

    def finish():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        wait_until_the_parent_listens()
        os.kill(os.getppid(), signal.SIGINT)
        wait_until_the_parent_listens()
        path.write_text("whole")

    with os.fdopen(read_end, "rb"), os.fdopen(write_end, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        with pytest.raises(KeyboardInterrupt):
            engines.run_guarded(finish)
    assert path.read_text() == "whole"


@pytest.mark.skipif(nets.ENGINE != "bvlc", reason="needs BVLC Caffe")
def test_bvlc_caffe_s_last_words_reach_the_user(tmp_path):
    path = write(tmp_path, SMALL.replace("kernel_size: 3", "kernel_size: 30"), "mine.prototxt")

    def load():
        faulthandler.disable()
        engines.load_net(path, engine="bvlc")

    with pytest.raises(EngineError, match=r"BVLC Caffe stopped at \w+\.\w+:\d+: Check failed"):
        engines.run_guarded(load)


def test_a_net_described_in_memory(tmp_path):
    text = nets.input_layer((1, 3, 8, 8)) + nets.fcn("8s")
    path = tmp_path / "net.prototxt"
    path.write_text(text)
    param = proto.read_net_param(path)
    loaded = engines.load_net(param)
    assert loaded.prototxt == "<NetParameter>"
    assert loaded.net.blobs[loaded.score].data.shape == engines.load_net(path).net.blobs["score"].data.shape
    param.layer[1].type = "Nothing"
    with pytest.raises(CaffeGPError, match="<NetParameter>" if nets.ENGINE == "torch" else "Nothing"):
        engines.load_net(param)
    with pytest.raises(UsageError, match="the path of a prototxt or a NetParameter, found int"):
        engines.load_net(3)


def test_a_loaded_net_is_shown_in_one_line(tmp_path):
    loaded = nets.load(tmp_path, nets.input_layer((1, 3, 8, 8)) + nets.fcn("8s"))
    text = repr(loaded)
    assert "\n" not in text and len(text) < 400
    assert re.search(r"\.prototxt with .*: data \(1, 3, 8, 8\) -> score \(1, \d+, \d+, \d+\); engine", text)

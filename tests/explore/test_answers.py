"""What a browser may send, and what comes back; how many users are kept; what the server has at all."""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from caffe_gp.cli.extras import EXTRAS
from caffe_gp.cli.main import main
from caffe_gp.errors import UsageError
from caffe_gp.evaluation.settings import NetSettings
from caffe_gp.explore.answers import Answers
from caffe_gp.explore.examples import examples_for
from caffe_gp.explore.guard import MAX_UPLOAD, Guard, is_allowed
from caffe_gp.explore.look import Method
from caffe_gp.explore.net import SharedNet
from caffe_gp.explore.seats import Seats
from caffe_gp.explore.server import _listening, sweep

METHOD = ("data", "onehot", 1)


@pytest.fixture()
def answers(net, tmp_path):
    examples, _ = examples_for(net)
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    return Answers(net, examples, Seats(), uploads)


def test_a_visit(answers, photo):
    first = answers.first("ann", *METHOD)
    assert "digit scene 35" in first["state"] and "put right" in first["shown"]
    assert first["eps"]["minimum"] == -12 and first["eps"]["value"] == 4
    assert answers.curves("ann")["curves"].count("<svg") == 1
    assert "eps -2: " in answers.move("ann", -2)["state"]
    clicked = answers.click("ann", {"x": 0.5, "y": 0.3})
    assert clicked["curves"].count("<svg") == 2 and "48, 28 (x, y)" in clicked["curves"]
    again = answers.again("ann", -2, "pool4", "onehot", 1)
    assert again["eps"]["value"] != -2  # another blob has another unit
    assert "eps" not in answers.again("ann", 0.5, "pool4", "top2", 2)
    assert answers.curves("ann")["curves"].count("<svg") == 2  # the pixel is kept
    answers.leave("ann")
    assert "role='alert'" in answers.move("ann", 1)["state"]


def test_a_classifier_and_no_examples(tmp_path, photo):
    lenet = SharedNet(NetSettings.of_model("lenet"))
    answers = Answers(lenet, examples_for(lenet)[0], Seats(), tmp_path)
    assert "Upload a picture" in answers.first("ann", *METHOD)["state"]
    assert answers.curves("ann") == {}
    answer = answers.upload("ann", str(photo("digit.png", 28, 28)), *METHOD)
    assert " stays</b>" in answer["state"] or " becomes " in answer["state"]
    assert answer["shown"].count("<img") == 3 and "probability" in answer["classes"]
    assert answers.curves("ann")["curves"].count("<svg") == 2
    assert "Click on" not in answers.click("ann", {"x": 0.5, "y": 0.5})["curves"]


@pytest.mark.parametrize(
    "clicked", [{}, {"example": 99}, {"example": -1}, {"example": "0"}, {"example": True}, {"example": None}]
)
def test_examples_that_there_are_not(answers, clicked):
    assert "no such example" in answers.example("ann", clicked, *METHOD)["state"]


@pytest.mark.parametrize("value", [None, "4", float("nan"), float("inf"), True, [1], {}])
def test_numbers_that_are_none(answers, value):
    answers.first("ann", *METHOD)
    assert "a finite number is needed" in answers.move("ann", value)["state"]
    assert "a finite number is needed" in answers.click("ann", {"x": value, "y": 0.5})["state"]
    assert "role='alert'" in answers.again("ann", 1.0, "data", "onehot", value)["state"]


@pytest.mark.parametrize(
    "method", [("/etc/passwd", "onehot", 1), ("data", "nothing", 1), ("data", "onehot", 1.5)]
)
def test_methods_that_there_are_not(answers, method):
    assert "role='alert'" in answers.first("ann", *method)["state"]


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "{uploads}/../secret.png", "{uploads}", "", None, 7, "http://a/b"]
)
def test_only_uploads_are_read(answers, tmp_path, photo, path):
    photo("secret.png", 30, 30)
    given = path.format(uploads=tmp_path / "uploads") if isinstance(path, str) else path
    answer = answers.upload("ann", given, *METHOD)
    assert set(answer) == {"state"} and "role='alert'" in answer["state"]
    os.symlink("/etc/passwd", tmp_path / "uploads" / "link.png")
    assert "role='alert'" in answers.upload("ann", str(tmp_path / "uploads" / "link.png"), *METHOD)["state"]


def test_names_are_text(answers, tmp_path, photo):
    name = "<img src=x onerror=alert(1)>'\".png"
    os.rename(photo("a.png", 40, 40), tmp_path / "uploads" / name)
    answer = answers.upload("ann", str(tmp_path / "uploads" / name), *METHOD)
    assert "&lt;img src=x" in answer["state"]
    assert not any("<img src=x" in str(text) for text in answer.values())


def test_the_longest_absent_give_way(net, scene):
    look = net.look(scene(net), Method(*METHOD))
    seats = Seats(users=2)
    for user in ("a", "b"):
        seats.put(user, look)
    assert seats.get("a") is look
    seats.put("c", replace(look, name="c"))
    assert seats.get("b") is None and seats.get("a") is look and len(seats) == 2
    small = Seats(nbytes=look.nbytes + 1)
    small.put("a", look)
    small.put("b", look)
    assert small.get("a") is None and small.get("b") is look  # and the latest is kept, whatever its size
    tiny = Seats(nbytes=1)
    tiny.put("a", look)
    assert tiny.get("a") is look


def test_threads_share_a_net(answers):
    """Two users at once: passes wait for each other, and nobody is refused."""
    found = {}

    def visit(user, number):
        answers.example(user, {"example": number}, *METHOD)
        found[user] = [answers.move(user, eps)["state"].split("(")[0] for eps in (1, 2, 3)]

    threads = [threading.Thread(target=visit, args=(f"user {k}", k)) for k in range(3)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    for k in range(3):
        answers.example("alone", {"example": k}, *METHOD)
        alone = [answers.move("alone", eps)["state"].split("(")[0] for eps in (1, 2, 3)]
        assert found[f"user {k}"] == alone


def test_examples_of_the_user(net, photo, tmp_path):
    photo("b.png", 20, 30), photo("a.jpg", 30, 20)
    examples, left_out = examples_for(net, [str(tmp_path)])
    assert [one.name for one in examples] == ["a.jpg", "b.png"] and left_out == 0


def test_an_address_that_is_taken():
    with _listening("127.0.0.1", 0) as one:
        port = one.getsockname()[1]
        with pytest.raises(UsageError, match=f"^127.0.0.1, port {port}: .*; give another --port"):
            with _listening("127.0.0.1", port):
                pass


def test_without_gradio(capfd, monkeypatch):
    monkeypatch.setitem(EXTRAS, "explore", ("no_gradio",))
    assert main(["explore"]) == 1
    stdout, stderr = capfd.readouterr()
    assert stdout == "" and "pip install 'caffe_gp[explore]'" in stderr and len(stderr.splitlines()) == 1


def test_old_uploads_go(tmp_path):
    for k in range(4):
        path = tmp_path / str(k) / "picture.png"
        path.parent.mkdir()
        path.write_bytes(bytes(100))
        os.utime(path, (k, k))
    sweep(tmp_path, most=250)
    assert sorted(path.parent.name for path in tmp_path.rglob("*.png")) == ["2", "3"]


@pytest.mark.parametrize(
    "path",
    [
        *("/gradio_api/file=/etc/passwd", "/file=/etc/passwd", "/gradio_api/file/etc/passwd"),
        *("/gradio_api/file=http://example.com", "/gradio_api/proxy=http://example.com", "/assets/../../x"),
        *("/gradio_api/info", "/gradio_api/openapi.json", "/docs", "/gradio_api/call/move", "/monitoring"),
        *("/svelte/x", "/gradio_api/component_server", "/static/..\\x", "/gradio_api/runs", "/config/"),
    ],
)
def test_what_is_not_there(path):
    assert not any(is_allowed(method, path) for method in ("GET", "HEAD", "POST", "PUT"))


def status(guard, method="GET", path="/", **headers):
    """What a request gets: the guard's status, 200 where the application answers."""
    sent = []

    async def send(message):
        sent.append(message)

    given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    asyncio.run(guard({"type": "http", "method": method, "path": path, "headers": given}, None, send))
    return sent[0]["status"] if sent else 200


def test_the_guard():
    swept = []

    async def application(scope, receive, send):
        pass

    guard = Guard(application, ("localhost", "127.0.0.1", "::1"), lambda: swept.append(1))
    for host in ("localhost:7860", "127.0.0.1", "[::1]:80", "LOCALHOST"):
        assert status(guard, host=host) == 200
    for host in ("evil.example:7860", "", "127.0.0.1.evil.example", "["):
        assert status(guard, host=host) == 421
    assert status(Guard(application, None, list), host="machine") == 200
    upload = {"method": "POST", "path": "/gradio_api/upload", "host": "localhost"}
    assert status(guard, content_length="1000", **upload) == 200 and swept == [1]
    assert status(guard, content_length=str(2 * MAX_UPLOAD), **upload) == 413
    assert status(guard, content_length="-1", **upload) == 411 and status(guard, **upload) == 411
    assert swept == [1]
    assert status(guard, path="/gradio_api/file=/etc/passwd", host="localhost") == 404
    assert Path("/etc/passwd").exists()

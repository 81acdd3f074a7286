"""The explorer in Chromium, as its user has it: load, move, upload, click, a bad file, two at once."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio", reason="the explorer needs gradio: pip install 'caffe_gp[explore]'")
pytest.importorskip("selenium", reason="the browser test needs selenium: pip install selenium")
if not (shutil.which("chromium") and shutil.which("chromedriver")):
    pytest.skip("chromium and chromedriver are not here (apt-get install them)", allow_module_level=True)

from selenium import webdriver  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

PATIENCE = 120  # seconds, of a machine that does other things too
SWITCHES = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--window-size=1280,1000"),
)


@contextmanager
def served(*options):
    """The address of a server of its own, which ends with one line when it is interrupted."""
    process = subprocess.Popen(
        [sys.executable, "-m", "caffe_gp", "explore", "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    line = process.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+/", line)
    if not found:
        process.kill()
        pytest.fail(f"no address: {line}{process.stderr.read()}")
    yield found.group(0)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=PATIENCE)
    assert (process.returncode, stdout) == (130, "")
    assert stderr.splitlines()[-1] == "caffe_gp explore: interrupted."


@pytest.fixture(scope="module")
def address():
    with served() as found:
        yield found


@pytest.fixture(scope="module")
def browser(address, tmp_path_factory):
    """A tab that has loaded the page."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for switch in (*SWITCHES, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    driver.set_script_timeout(PATIENCE)
    driver.get(address)
    until(driver, "#curves svg")
    yield driver
    driver.quit()


def until(driver, selector, text=""):
    """Wait for an element that shows a text."""

    def there(_):
        found = driver.execute_script("return document.querySelector(arguments[0])?.textContent", selector)
        return found is not None and text in found

    WebDriverWait(driver, PATIENCE, 0.1).until(there, f"{selector} never showed '{text}'")


def text_of(driver, selector):
    return driver.execute_script("return document.querySelector(arguments[0]).textContent", selector)


def move(driver, value):
    """Type an eps beside its slider."""
    driver.execute_script(
        """const field = document.querySelector('#eps input[type=number]');
        field.value = arguments[0];
        field.dispatchEvent(new Event('input', {bubbles: true}));""",
        value,
    )
    until(driver, "#state", f"eps {value}:")


def upload(driver, path):
    driver.find_element(By.CSS_SELECTOR, "input[type=file]").send_keys(str(path))


def click_picture(driver, x, y):
    """A press at a place, 0..1 from left and top, of the second picture."""
    driver.execute_script(
        """const picture = document.querySelectorAll('#shown img')[1];
        picture.scrollIntoView();
        const place = picture.getBoundingClientRect();
        const at = {clientX: place.left + arguments[0] * place.width,
                    clientY: place.top + arguments[1] * place.height};
        picture.dispatchEvent(new MouseEvent('click', {bubbles: true, ...at}));""",
        x,
        y,
    )


def answer(address, body=None):
    """The text that the server answers; ``body``: what is posted, as JSON."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        return response.read().decode()


def test_the_page_loads_and_asks_nobody_else(browser, address):
    assert "FCN trained on digit scenes" in text_of(browser, "h1")
    assert "96 x 96 pixels" in text_of(browser, "#state") and "put right" in text_of(browser, "#shown")
    assert len(browser.find_elements(By.CSS_SELECTOR, "#shown img")) == 6
    asked = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = {one["params"]["request"]["url"] for one in asked if one["method"] == "Network.requestWillBeSent"}
    elsewhere = [url for url in urls if not url.startswith((address, "data:", "blob:", "chrome"))]
    assert urls and elsewhere == []
    assert [one["message"] for one in browser.get_log("browser") if one["level"] == "SEVERE"] == []


def test_a_moved_eps(browser):
    before = text_of(browser, "#classes table")
    move(browser, -3)
    assert "1 pass," in text_of(browser, "#state") and text_of(browser, "#classes table") != before
    until(browser, "#shown", "GP, eps -3")


def test_a_click_shows_the_five_highest_scores(browser):
    click_picture(browser, 0.5, 0.75)
    until(browser, "#curves", "Highest 5 scores of the pixel at ")
    place = re.search(r"pixel at (\d+), (\d+) \(x, y\)", text_of(browser, "#curves"))
    assert int(place.group(1)) in (47, 48) and int(place.group(2)) in (71, 72)
    assert len(browser.find_elements(By.CSS_SELECTOR, "#curves svg")) == 2
    assert len(browser.find_elements(By.CSS_SELECTOR, "#shown .mark")) == 6


def choose(driver, control, value):
    """Type a value into a list, and Enter."""
    field = driver.find_element(By.CSS_SELECTOR, f"{control} input")
    field.click()
    field.send_keys(Keys.CONTROL + "a")
    field.send_keys(value + Keys.ENTER)


def test_another_example_blob_and_encoding(browser):
    browser.execute_script("document.querySelector('[data-example=\"1\"]').click()")
    until(browser, "#state", "digit scene 33")
    choose(browser, "#blob", "pool4")
    until(browser, "#shown", "Perturbation of pool4, mean of")
    assert len(browser.find_elements(By.CSS_SELECTOR, "#shown img")) == 5
    until(browser, "#eps", "chosen without labels on digit scene 33")
    choose(browser, "#blob", "data")
    until(browser, "#shown", "Perturbed picture, as the net sees it")
    before = text_of(browser, "#classes table")
    choose(browser, "#encoding", "top2")
    WebDriverWait(browser, PATIENCE, 0.1).until(lambda _: text_of(browser, "#classes table") != before)


def test_uploads_good_and_bad(browser, photo, tmp_path):
    bad = tmp_path / "notes.png"
    bad.write_text("this is a text\n")
    upload(browser, bad)
    until(browser, "#state .problem", "notes.png: ")
    assert str(tmp_path) not in text_of(browser, "#state") and "/tmp" not in text_of(browser, "#state")
    upload(browser, photo("mine.jpg", 120, 80))
    until(browser, "#state", "mine.jpg")
    assert "120 x 80 pixels" in text_of(browser, "#state")
    until(browser, "#shown figcaption", "Picture")


def test_two_at_once(browser, address):
    first = browser.current_window_handle
    browser.switch_to.new_window("tab")
    browser.get(address)
    until(browser, "#curves svg")
    move(browser, 2)
    own = text_of(browser, "#classes table")
    browser.switch_to.window(first)
    move(browser, 5)
    assert "mine.jpg" in text_of(browser, "#state")
    browser.switch_to.window(browser.window_handles[1])
    move(browser, 1)
    move(browser, 2)
    assert "digit scene 35" in text_of(browser, "#state") and text_of(browser, "#classes table") == own
    browser.close()
    browser.switch_to.window(first)


@pytest.mark.parametrize(
    "path",
    ["gradio_api/file=/etc/passwd", "file=/etc/passwd", "gradio_api/info", "static/%2e%2e/%2e%2e/routes.py"],
)
def test_no_file_of_the_host(address, path):
    with pytest.raises(urllib.error.HTTPError) as error:
        answer(address + path)
    with error.value as refused:
        assert refused.code == 404


def test_a_path_in_place_of_an_upload(address, browser):
    """What a client sends by hand: the file of another folder, as if it had been uploaded."""
    events = json.loads(answer(address + "config"))["dependencies"]
    (event,) = [one["id"] for one in events if one["targets"] and one["targets"][0][1] == "upload"]
    file = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}
    body = {"data": [file, "data", "onehot", 1], "fn_index": event, "session_hash": "byhand"}
    answer(address + "gradio_api/queue/join", body)
    text = answer(address + "gradio_api/queue/data?session_hash=byhand")
    assert '"success":false' in text.replace(" ", "") and "root:" not in text


def test_a_classifier(browser, tmp_path):
    """A net that labels whole images: its class in words, no changed pixels, and a picture of one's own."""
    random = np.random.RandomState(0)
    for k in range(2):
        pixels = random.randint(0, 256, (32, 32, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"noise{k}.png")
    options = ("--model", "cifar10", "--images", str(tmp_path / "noise0.png"), "--eps", "0.01")
    first = browser.current_window_handle
    with served(*options) as address:
        browser.switch_to.new_window("tab")
        browser.get(address)
        until(browser, "#curves svg")
        until(browser, "#state", "noise0")
        before = text_of(browser, "#classes table")
        move(browser, -0.03)
        assert text_of(browser, "#classes table") != before
        upload(browser, tmp_path / "noise1.png")
        until(browser, "#state", "noise1.png")
        confidence = re.search(r"confidence ([\d.]+)", text_of(browser, "#state"))[1]
        until(browser, "#curves", f"base, {float(confidence):.3f}")  # of the new picture
        shown = text_of(browser, "#shown")
        assert "airplane" in text_of(browser, "#classes table") and "put right" not in shown
        browser.close()
        browser.switch_to.window(first)

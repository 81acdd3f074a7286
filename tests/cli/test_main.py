"""The command itself: what is imported when, help, names that are not known, completion."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import caffe_gp
from caffe_gp.cli.main import COMMANDS
from caffe_gp.models import zoo
from conformance import gp_nets as nets

ROOT = Path(__file__).resolve().parents[2]
# What only some of the work needs.
SELDOM = {"numba", "matplotlib", "sklearn", "skimage", "requests", "jinja2", "ray"}
# What much of the work needs, and no help does: it would take most of the time of one.
LARGE = {"torch", "scipy", "cv2", "h5py", "tqdm"}
HEAVY = ("numpy", *sorted(LARGE | SELDOM))


def imported(*words):
    """Which of HEAVY a command has imported when it ends."""
    code = (
        "import sys\nfrom caffe_gp.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        f"print('imported', *[name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["rnu"], []])
def test_without_a_command_nothing_is_imported(words):
    assert imported(*words) == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_help_imports_nothing_large(name):
    assert not imported(name, "--help") & (LARGE | SELDOM)


@pytest.mark.skipif(nets.ENGINE == "bvlc", reason="of the embedded Caffe")
def test_a_plain_net_is_run_without_what_it_does_not_use(tmp_path):
    from PIL import Image

    text = nets.input_layer((1, 3, 24, 30)) + nets.conv("score", "data", 3, 3, pad=1)
    nets.plain_net(tmp_path, text, name="net.prototxt", gain=0.05).save(str(tmp_path / "net.caffemodel"))
    Image.new("RGB", (30, 24), (10, 100, 200)).save(tmp_path / "a.png")
    net = ["--prototxt", tmp_path / "net.prototxt", "--caffemodel", tmp_path / "net.caffemodel"]
    words = ["run", *net, "--image", tmp_path / "a.png", "--eps", 1, "--out", tmp_path / "out", "--no-page"]
    used = imported(*words)
    assert (tmp_path / "out" / "results.json").exists() and "torch" in used
    assert not used & SELDOM


def test_version_and_help(command):
    assert command("--version") == (f"caffe_gp {caffe_gp.__version__}\n", "")
    text, _ = command("--help")
    assert all(f"\n  {name} " in text for name in COMMANDS)
    assert text.count("exit codes:") == 1
    assert command(code=2)[0] == text == command("help")[0]
    assert command("help", "run") == command("run", "--help")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each(command, name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    text, _ = command(name, "--help")
    assert text.startswith(f"usage: caffe_gp {name} ") and "examples:" in text
    assert f"  caffe_gp {name}" in text and text.count("exit codes:") == 1
    assert "None" not in text and "tools/" not in text
    for option in re.split(r"\n  (?=-)", after_usage(text)):
        assert len(re.findall(r"\bdefault", option)) <= 1, option


def after_usage(text):
    """The part of a help text that describes options; Python 3.9 calls them optional arguments."""
    return re.split(r"\n(?:options|optional arguments):", text)[1].split("examples:")[0]


def options_of(command, name):
    """Option -> its line(s) of help."""
    text = after_usage(command(name, "--help")[0])
    lines = re.findall(r"\n  (--\S+)(.*(?:\n   .*)*)", text)
    return {option: " ".join(rest.split()) for option, rest in lines}


def test_an_option_is_the_same_in_every_command(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    same = (
        "--engine --device --quiet --data-folder --mean --scale --channel-order --resize --pad-to --score "
        "--blob --encoding --iterations --inject --workers --threads --ids --available"
    )
    found = {name: options_of(command, name) for name in COMMANDS if name not in ("fetch", "cost")}
    for option in same.split():
        helps = {options[option] for options in found.values() if option in options}
        assert len(helps) == 1, (option, helps)
    names = {option for options in found.values() for option in options}
    assert not names & {"--data-root", "--folder", "--steps", "--list"}


@pytest.mark.parametrize(
    "words, message",
    [
        (["rnu"], "caffe_gp: unknown command 'rnu'; did you mean run"),
        (["evalute", "--help"], "unknown command 'evalute'; did you mean evaluate"),
        (["reproduce", "tabel1"], "invalid choice: 'tabel1'; did you mean table1"),
        (["reproduce", "table1", "--suite", "digit"], "invalid choice: 'digit'; did you mean digits?"),
        (["run", "--encoding", "one-hot"], "invalid choice: 'one-hot'; did you mean onehot"),
        (["run", "--model", "fcn8s", "--image", "a", "--out", "o"], "'fcn8s'; did you mean fcn-8s"),
        (["evaluate", "--data", "voc2013-val", "--out", "o"], "'voc2013-val'; did you mean voc2012-val"),
        (["fetch", "data", "voc2013"], "unknown data 'voc2013'; did you mean voc2012"),
        (["fetch", "modles"], "invalid choice: 'modles'; did you mean models"),
        (["prepare", "fcn32s"], "fcn32s: no such file, and no model of this name; did you mean fcn-32s"),
        (["convert", "a.h5", "b", "--model", "fcn8"], "invalid choice: 'fcn8'; did you mean fcn-8s"),
        (["run", "--mdoel", "fcn-8s", "--image", "a", "--out", "o"], "--mdoel fcn-8s; did you mean --model"),
        (["evaluate", "--data-root", "x", "--data", "d", "--out", "o"], "mean --data or --data-folder"),
    ],
)
def test_did_you_mean(command, words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stdout, stderr = command(*words, code=2)
    assert message in stderr and stdout == "" and len(stderr.splitlines()) <= 2


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion(command, shell):
    pytest.importorskip("shtab")
    script, _ = command("--print-completion", shell)
    assert all(name in script for name in COMMANDS) and "--caffemodel" in script


def test_completion_in_bash(command, tmp_path):
    pytest.importorskip("shtab")
    (tmp_path / "script").write_text(command("--print-completion", "bash")[0])
    ask = (
        f"source {tmp_path / 'script'}; COMP_WORDS=(caffe_gp run --enc); COMP_CWORD=2; "
        "COMP_LINE='caffe_gp run --enc'; _shtab_caffe_gp; echo ${COMPREPLY[@]}"
    )
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True)
    assert done.stdout.split() == ["--encoding"], done.stderr


def test_prepare(command, tmp_path):
    net = tmp_path / "net.prototxt"
    net.write_text(nets.input_layer((1, 3, 24, 30)) + nets.conv("score", "data", 3, 3, pad=1))
    text, _ = command("prepare", net)
    assert "# class scores: blob 'score'" in text and 'type: "Softmax"' in text and "lr_mult: 1" in text
    command("prepare", net, "--out", tmp_path / "gp.prototxt")
    assert (tmp_path / "gp.prototxt").read_text() == text
    again, _ = command("prepare", tmp_path / "gp.prototxt", "--input-size", "40,20")
    assert "dim: 20" in again and "dim: 40" in again
    by_name, _ = command("prepare", "lenet")
    assert by_name.startswith(f"# {zoo.get('lenet').title}, prepared") and "blob 'ip2'" in by_name


def test_a_missing_extra_is_reported_before_the_work(tmp_path):
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import importlib.util as u; real = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'sklearn' else real(name, *rest)\n"
        "from caffe_gp.cli.main import main; sys.exit(main(['demo', '--out', sys.argv[1]]))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "out")], capture_output=True, text=True)
    assert done.returncode == 1 and not (tmp_path / "out").exists()
    assert done.stderr == (
        "caffe_gp demo: the demo needs the Python package(s) sklearn, not installed here: "
        "pip install 'caffe_gp[demo]'\n"
    )


@pytest.mark.parametrize("words", [["reproduce", "figure9"], ["demo"], ["train", "digits"]])
def test_an_output_that_cannot_be_written_is_reported_before_the_work(command, words, tmp_path):
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "out"):
        _, stderr = command(*words, "--out", out, code=2)
        why = f"{out}: cannot be written as a folder ({tmp_path / 'file'} is a file); give another --out"
        assert stderr == f"caffe_gp {words[0]}: {why}\n"


@pytest.mark.parametrize("words", [["-m", "caffe_gp", "run"], [str(ROOT / "tools" / "run_gp.py")]])
def test_ctrl_c_while_it_imports_is_one_line(tmp_path, words):
    """An import hook that is Ctrl-C: in the middle of the command's own imports, and of the subcommand's."""
    hook = "import sys\nclass Hook:\n    def find_spec(self, name, *rest):\n"
    hook += (
        "        if name == {0!r}:\n            raise KeyboardInterrupt\nsys.meta_path.insert(0, Hook())\n"
    )
    for module, says in (
        ("caffe_gp.cli.parser", "caffe_gp: interrupted.\n"),
        ("caffe_gp.cli.options", "caffe_gp run: interrupted.\n"),
    ):
        (tmp_path / "sitecustomize.py").write_text(hook.format(module))
        path = os.pathsep.join([str(tmp_path), str(ROOT)])
        variables = {**os.environ, "PYTHONPATH": path}
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True, env=variables)
        assert (done.returncode, done.stderr) == (130, says)

"""The command ``caffe_gp``: what it is called with, and which module does it."""

from __future__ import annotations

import importlib
import shlex
import sys
from types import ModuleType
from typing import Sequence

import caffe_gp
from caffe_gp.cli.exit_codes import EXIT_CODES, finish
from caffe_gp.cli.parser import Parser, print_completion
from caffe_gp.errors import did_you_mean

#: Subcommand -> what it does. Its module is caffe_gp/cli/NAME.py.
COMMANDS = {
    "run": "label images with a Caffe net, before and after guided perturbations",
    "evaluate": "score a net on a set of images with ground truth, before and after",
    "tune": "find the eps with the highest mean IU on labelled images",
    "classify": "classify a test set, before and after perturbations towards neighbours' classes",
    "explore": "look at guided perturbations on a page: a slider moves eps, the labels follow",
    "demo": "measure and show guided perturbations on the built-in digit scenes: about 3 minutes",
    "reproduce": "the paper's tables and figures, by name, beside the paper's own numbers",
    "fetch": "get, check and list the released weights and the data sets",
    "train": "train a net by a Caffe solver file, or one of this project's nets again",
    "convert": "make a caffemodel of the weights of another framework",
    "export": "write a net as a PyTorch module that needs no caffe_gp, or as ONNX",
    "inspect": "say what a prototxt or a weights file holds, and which known nets it fits",
    "prepare": "print a net's prototxt as it is prepared for guided perturbations",
    "submit": "label VOC2012's test images and pack what its evaluation server scores",
    "cost": "how long and how dear an evaluation of many images will be",
    "doctor": "say what is here and what each experiment still needs",
}

EXAMPLES = """
examples:
  caffe_gp run --model digits --image photo.png --out out
  caffe_gp run --prototxt deploy.prototxt --caffemodel net.caffemodel --image photo.jpg --eps 0.5 --out out
  caffe_gp inspect net.caffemodel
  caffe_gp COMMAND --help          the options of a command, with examples
  caffe_gp --print-completion bash >> ~/.bash_completion

"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["help"]:
        given = [*given[1:2], "--help"]
    if not given or given[0].startswith("-"):
        return _without_command(given)
    if given[0] not in COMMANDS:
        hint = did_you_mean(given[0], COMMANDS)
        print(f"caffe_gp: unknown command '{given[0]}'{hint} (known: {', '.join(COMMANDS)})", file=sys.stderr)
        return 2
    return _run(given[0], given[1:])


def _run(name: str, given: Sequence[str]) -> int:
    on_interrupt = ""

    def work() -> None:
        nonlocal on_interrupt
        module = _module(name)
        on_interrupt = getattr(module, "ON_INTERRUPT", "")
        args = parser_of(name).parse_args(given)
        args.command = shlex.join(["caffe_gp", name, *given])
        module.work(args)

    return finish(work, tool=f"caffe_gp {name}", on_interrupt=lambda: on_interrupt)


def _without_command(given: Sequence[str]) -> int:
    commands = "\n".join(f"  {name:<11}{summary}" for name, summary in COMMANDS.items())
    parser = Parser(
        prog="caffe_gp",
        usage="caffe_gp COMMAND [OPTIONS]",
        description="Guided perturbations: a trained Caffe net corrects itself at test time.\n\n"
        f"commands:\n{commands}",
        epilog=EXAMPLES + EXIT_CODES,
    )
    version = f"caffe_gp {caffe_gp.__version__}"
    parser.add_argument("--version", action="version", version=version, help="print the version and exit")
    parser.add_argument(
        "--print-completion",
        choices=("bash", "zsh"),
        metavar="SHELL",
        help="print the script that completes this command in bash or zsh",
    )
    args = parser.parse_args(given)
    if args.print_completion is None:
        parser.print_help()
        return 2
    return finish(lambda: print_completion(_whole_parser(), args.print_completion), tool="caffe_gp")


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"caffe_gp.cli.{name}")


def parser_of(name: str) -> Parser:
    """The parser of a subcommand: its options, examples and exit codes."""
    module, summary = _module(name), COMMANDS[name]
    parser = Parser(
        prog=f"caffe_gp {name}",
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"{module.EXAMPLES}\n{EXIT_CODES}",
    )
    module.add_arguments(parser)
    return parser


def _whole_parser() -> Parser:
    """Every subcommand in one parser, for shell completion."""
    whole = Parser(prog="caffe_gp")
    commands = whole.add_subparsers()
    for name, summary in COMMANDS.items():
        _module(name).add_arguments(commands.add_parser(name, help=summary))
    return whole

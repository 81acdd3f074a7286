"""The page of the command line, from the parsers themselves."""

from __future__ import annotations

import argparse
import importlib

from caffe_gp.cli.main import COMMANDS, parser_of


def page() -> str:
    """A section for each subcommand: what it does, examples, a table for each group of options."""
    return "\n".join(section(name) for name in COMMANDS)


def section(name: str) -> str:
    """The Markdown of one subcommand."""
    parser = parser_of(name)
    examples = importlib.import_module(f"caffe_gp.cli.{name}").EXAMPLES.strip("\n").partition("\n")[2]
    lines = [
        f"## {name}",
        "",
        f"{_text(parser.description or '')}",
        "",
        "```text",
        examples.rstrip(),
        "```",
        "",
    ]
    for group in parser._action_groups:
        rows = [
            _row(action) for action in group._group_actions if not isinstance(action, argparse._HelpAction)
        ]
        if rows:
            title = {"options": "", "positional arguments": ""}.get(group.title or "", group.title or "")
            lines += [f"**{title[0].upper()}{title[1:]}**", ""] if title else []
            lines += ["| option | what |", "| --- | --- |", *rows, ""]
    return "\n".join(lines)


def _row(action: argparse.Action) -> str:
    formatter = argparse.HelpFormatter(prog="")
    value = (
        ""
        if action.nargs == 0
        else formatter._format_args(
            action,
            formatter._get_default_metavar_for_optional(action)
            if action.option_strings
            else formatter._get_default_metavar_for_positional(action),
        )
    )
    named = ", ".join(f"{option} {value}".strip() for option in action.option_strings) or value
    return f"| `{_cell(named)}` | {_text(_cell(_help(action)))} |"


def _help(action: argparse.Action) -> str:
    from caffe_gp.cli.parser import HelpFormatter

    return HelpFormatter(prog="")._expand_help(action)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _text(text: str) -> str:
    """Help text as Markdown: what would be markup is text."""
    return text.replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")

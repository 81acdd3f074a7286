"""argparse with three changes: defaults shown once, "did you mean" for names, one short line for an error."""

from __future__ import annotations

import argparse
import sys
from typing import Any, NoReturn, Sequence

from caffe_gp.cli.extras import need
from caffe_gp.errors import did_you_mean


class Parser(argparse.ArgumentParser):
    """The parser of ``caffe_gp`` and of every subcommand. Options cannot be abbreviated."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"formatter_class": HelpFormatter, "allow_abbrev": False, **options})

    def parse_args(  # type: ignore[override]  # argparse declares three overloads
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            options = [option for option in self._all_options() if option.startswith("--")]
            hint = did_you_mean(unknown[0].split("=")[0], options) if unknown[0].startswith("-") else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return found

    def _all_options(self) -> list[str]:
        """Its options and those of the commands below it, whose unknown ones are told here."""
        found = list(self._option_string_actions)
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                found += [option for below in action.choices.values() for option in below._all_options()]
        return found

    def error(self, message: str) -> NoReturn:
        """Exit code 2 with one line; argparse's own prints the whole usage before it."""
        self.exit(2, f"{self.prog}: {message} ('{self.prog} --help' lists the options)\n")

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """An empty value is a shell variable that is not set, and would name the current folder."""
        if "" in arg_strings:
            raise argparse.ArgumentError(action, "the value is empty")
        return super()._get_values(action, arg_strings)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            hint = did_you_mean(str(value), known)
            raise argparse.ArgumentError(
                action, f"invalid choice: '{value}'{hint} (choose from {', '.join(known)})"
            )


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Adds '(default: X)' to every option that has one, unless its help says the default in words."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        value = action.default
        hidden = value is None or value is False or value == [] or value == argparse.SUPPRESS
        if hidden or "default" in text or not action.option_strings:
            return text
        named = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
        return f"{text} (default: {named.replace('%', '%%')})"


def print_completion(parser: argparse.ArgumentParser, shell: str) -> None:
    """Print the completion script of a shell, 'bash' or 'zsh'. CaffeGPError where shtab is not installed."""
    need("completion", "--print-completion")
    import shtab

    sys.stdout.write(shtab.complete(parser, shell=shell))

"""How a command line tool ends: one message and an exit code, never a traceback for a user's mistake."""

from __future__ import annotations

import errno
import os
import sys
from typing import Any, Callable

from caffe_gp.errors import CaffeGPError, one_line, printable
from caffe_gp.runs.progress import log_shown

INTERRUPTED = 130  # what a shell reports for Ctrl-C
_WRONG_PATH = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)
_NO_PATH = (errno.ENAMETOOLONG, errno.ELOOP)  # which have no class of their own

#: The last line of every --help; the numbers are those of ``caffe_gp.errors``.
EXIT_CODES = (
    "exit codes: 0 done, 2 bad input or options, 3 zero gradient, 4 engine, 130 interrupted, 1 anything else"
)


def finish(work: Callable[[], Any], *, tool: str, on_interrupt: Callable[[], str] = str) -> int:
    """Run ``work`` and return the exit code of the tool.

    0 after success; a CaffeGPError's own code; 2 for a path that is missing, forbidden, or no file or folder;
    1 for the system's other errors (disk full, no memory, a Python package that is missing); 130 for Ctrl-C,
    after the sentence that ``on_interrupt`` gives.
    Anything else is a bug and keeps its traceback.
    """
    try:
        with log_shown():
            work()
        sys.stdout.flush()
    except CaffeGPError as error:
        return _say(tool, str(error), error.exit_code)
    except KeyboardInterrupt:
        return _say(tool, f"interrupted. {on_interrupt()}".strip(), INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output left (head, less): nothing to tell, and nobody to tell it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "caffe_gp"):
            raise
        return _say(tool, _missing_package(package), 1)
    except MemoryError:
        return _say(tool, "out of memory: try smaller images or a smaller batch", 1)
    except OSError as error:
        code = 2 if isinstance(error, _WRONG_PATH) or error.errno in _NO_PATH else 1
        return _say(tool, one_line(f"{error.filename or 'system'}: {error.strerror or error}"), code)
    except RuntimeError as error:
        if "memory" not in str(error):
            raise
        first_line = str(error).strip().splitlines()[0]
        return _say(tool, f"out of memory: try smaller images or a smaller batch ({one_line(first_line)})", 1)
    return 0


def _missing_package(name: str) -> str:
    """What to do where a package that caffe_gp needs cannot be imported."""
    return (
        f"the Python package '{name}' is not installed for {sys.executable}. "
        "Install caffe_gp with what it needs (pip install caffe_gp); in a checkout, run 'make venv' and then "
        "'source .venv/bin/activate'"
    )


def _say(tool: str, message: str, code: int) -> int:
    print(printable(f"{tool}: {message}"), file=sys.stderr)
    return code

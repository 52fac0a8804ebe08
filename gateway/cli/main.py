"""The entry point: parse, run, and turn whatever goes wrong into one line and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from gateway.cli.failures import CommandError, Exit, Refused
from gateway.cli.output import say
from gateway.cli.parser import build_parser
from gateway.errors import Conflict, GatewayError, InvalidInput, NotebookLocked, NotFound
from routes.errors import DatabaseInUse, RouteFileError
from routes.keys import InvalidKey, InvalidTarget


def main(argv: Sequence[str] | None = None) -> int:
    """Run one `nbgate` command and return its exit code (see failures.Exit).

    Args:
        argv: the arguments without the program's name; None for those of this process.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        say("interrupted")
        return Exit.INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return Exit.BROKEN_PIPE
    return code


def _run(arguments: list[str]) -> int:
    try:
        parsed = build_parser(arguments).parse_args(arguments)
        return int(parsed.run(parsed))
    except SystemExit as end:  # argparse ends --help and --version this way
        return Exit.OK if end.code is None else int(end.code)
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - people get one line, never a traceback
        return _failed(error)


def _failed(error: Exception) -> int:
    say(_text_of(error))
    if isinstance(error, Refused) and error.log_tail:
        for line in error.log_tail.splitlines():
            say(f"  | {line}")
    return _code_of(error)


def _code_of(error: Exception) -> Exit:
    match error:
        case CommandError():
            return error.code
        case InvalidInput() | InvalidKey() | InvalidTarget():
            return Exit.USAGE
        case NotFound():
            return Exit.NOT_FOUND
        case Conflict() | NotebookLocked() | DatabaseInUse():
            return Exit.CONFLICT
        case _:
            return Exit.FAILED


def _text_of(error: Exception) -> str:
    match error:
        case CommandError() | GatewayError() | RouteFileError() | InvalidKey() | InvalidTarget():
            return str(error)
        case OSError(filename=None):
            return error.strerror or str(error)
        case OSError():
            return f"{error.filename}: {(error.strerror or str(error)).lower()}"
        case _:
            return f"internal error: {type(error).__name__}: {error}"


def _drop_output() -> None:
    """Let the interpreter's last flush go nowhere: the reader of our output has gone away."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)

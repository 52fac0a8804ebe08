"""The tree of commands, built with argparse; each noun's own file adds its commands."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Sequence
from typing import NoReturn, TypeAlias

from gateway.cli.failures import EXIT_CODES, UsageError

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"
Run = Callable[[argparse.Namespace], int]

_ABOUT = """\
nbgate is a gateway for Jupyter notebooks that starts them on demand. `nbgate serve`
runs it; the other commands talk to the running gateway over its management API.
"""

_NOUNS = {
    "serve": "run the gateway",
    "proxy": "run the proxy of a JupyterHub",
    "notebook": "make, start, stop, lock and open notebooks",
    "operation": "look at what was and is done to notebooks",
    "project": "add and change projects and courses",
    "link": "sign links into courses, and keep the keys that sign them",
    "student": "list, show and delete students, and release ids of plain links",
    "route": "look at and change routes, check and rebuild the route file",
    "image": "build the notebook image",
    "network": "protect the notebooks' network",
}

_EXAMPLES = {
    "": "nbgate project add demo --source ./course\n"
    "  nbgate notebook url --project demo --person alice",
    "notebook": "nbgate notebook list --project demo",
    "operation": "nbgate operation list --state failed",
    "project": "nbgate project add demo --source https://git.example.org/demo.git",
    "link": "nbgate link sign demo w1/first.ipynb --person student7",
    "student": "nbgate student list demo",
    "route": "nbgate route set /docs 127.0.0.1:9000",
    "image": "nbgate image build",
    "network": "nbgate network protect",
}


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line, and whose help keeps its lines."""

    def __init__(
        self, prog: str | None = None, example: str = "", description: str | None = None
    ) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=f"example:\n  {example}" if example else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Raise `message` as a UsageError that says where help is."""
        raise UsageError(f"{message}; see `{self.prog} --help`")


def build_parser(arguments: Sequence[str]) -> Parser:
    """Return the parser for `arguments`.

    Only the noun that they begin with gets its commands: each noun's file costs time.
    """
    parser = Parser("nbgate", example=f"{_EXAMPLES['']}\n\n{EXIT_CODES}", description=_ABOUT)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    nouns = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    wanted = next((argument for argument in arguments if not argument.startswith("-")), "")
    for name, summary in _NOUNS.items():
        example = _EXAMPLES.get(name, "")
        noun = nouns.add_parser(name, help=summary, description=summary, example=example)
        if name == wanted:
            importlib.import_module(f"gateway.cli.{name}").add_to(noun)
    if wanted == "control":  # the supervisor's word, not people's: not in the list
        importlib.import_module("gateway.cli.control").add_to(nouns.add_parser("control"))
    return parser


class _Version(argparse.Action):
    """Prints the version; it is looked up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"nbgate {version()}")
        parser.exit()


def version() -> str:
    """Return the installed version of nbgate."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("nbgate")
    except PackageNotFoundError:
        return "unknown (not installed)"


def commands_of(noun: Parser) -> Commands:
    """Return where the commands of a noun are added; one of them must be given."""
    return noun.add_subparsers(metavar="COMMAND", required=True, title="commands")


def command(commands: Commands, name: str, summary: str, example: str, run: Run) -> Parser:
    """Add a command.

    Args:
        commands: from commands_of.
        name: the word.
        summary: one line, without a full stop.
        example: a command line; more lines are indented by two blanks.
        run: does it; returns the exit code.
    """
    parser = commands.add_parser(name, help=summary, description=f"{summary}.", example=example)
    parser.set_defaults(run=run)
    return parser

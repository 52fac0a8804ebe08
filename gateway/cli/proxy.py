"""`nbgate proxy`, and `nbgate-proxy`: the proxy of a JupyterHub, in place of its own."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from gateway.chp.flags import add_options
from gateway.chp.options import options_of
from gateway.cli.failures import CommandError, Exit
from gateway.cli.output import say
from gateway.cli.parser import Parser, version
from gateway.errors import GatewayError

_ABOUT = """\
Run the proxy of a JupyterHub, with the options, the environment and the REST API of
configurable-http-proxy. It serves until SIGTERM or SIGINT, and then exits with 2.
"""

_EXAMPLE = """\
CONFIGPROXY_AUTH_TOKEN=… {prog} --default-target http://127.0.0.1:8081

environment:
  CONFIGPROXY_AUTH_TOKEN                 what callers of the API send: Authorization: token …
  CONFIGPROXY_AUTH_TOKEN_FILE            a file that holds it
  CONFIGPROXY_SSL_KEY_PASSPHRASE         of --ssl-key
  CONFIGPROXY_API_SSL_KEY_PASSPHRASE     of --api-ssl-key\
"""


def add_to(parser: Parser) -> None:
    """Add the flags."""
    parser.description = _ABOUT
    parser.epilog = "example:\n  " + _EXAMPLE.format(prog=parser.prog)
    add_options(parser)
    parser.set_defaults(run=_run)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `nbgate-proxy`; return its exit code: 1 for whatever keeps it from serving.

    Args:
        argv: the arguments without the program's name; None for those of this process.
    """
    parser = Parser("nbgate-proxy")
    parser.add_argument("-V", "--version", action="store_true", help="print the version and exit")
    add_to(parser)
    try:
        args = parser.parse_args(sys.argv[1:] if argv is None else argv)
        if args.version:
            print(version())
            return Exit.OK
        return _run(args)
    except SystemExit as end:  # --help
        return Exit.OK if end.code is None else int(end.code)
    except (CommandError, GatewayError) as error:
        say(str(error))
    except OSError as error:
        say(error.strerror or str(error))
    return Exit.FAILED


def _run(args: argparse.Namespace) -> int:
    options = options_of(args, os.environ)
    if options.workers > 1:
        from gateway.chp_fleet.supervising import run as run_fleet

        return run_fleet(options)
    # The HTTP library takes long to import: wrong options are told at once.
    from gateway.chp.serving import run

    return run(options)

"""The command line and the environment, against configurable-http-proxy's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.chp.options import Options, Place
from gateway.cli import main as nbgate
from gateway.cli.proxy import main
from gateway.errors import InvalidInput
from tests.chp.harness import options
from tests.support.waiting import PATIENCE

PROGRAM = [sys.executable, "-c", "import sys; from gateway.cli.proxy import main; sys.exit(main())"]

# What configurable-http-proxy 5.3 offers: flag → (whether it takes a value, the default it tells).
# Two are left out: --ssl-allow-rc4, for no OpenSSL of today has RC4, and what it is called by.
CONTRACT = {
    "--ip": (True, "all addresses"),
    "--port": (True, "8000"),
    "--socket": (True, ""),
    "--ssl-key": (True, ""),
    "--ssl-cert": (True, ""),
    "--ssl-ca": (True, ""),
    "--ssl-request-cert": (False, ""),
    "--ssl-reject-unauthorized": (False, ""),
    "--ssl-protocol": (True, "any"),
    "--ssl-ciphers": (True, "OpenSSL's"),
    "--ssl-dhparam": (True, ""),
    "--api-ip": (True, "localhost"),
    "--api-port": (True, "--port plus one"),
    "--api-socket": (True, ""),
    "--api-ssl-key": (True, ""),
    "--api-ssl-cert": (True, ""),
    "--api-ssl-ca": (True, ""),
    "--api-ssl-request-cert": (False, ""),
    "--api-ssl-reject-unauthorized": (False, ""),
    "--client-ssl-key": (True, ""),
    "--client-ssl-cert": (True, ""),
    "--client-ssl-ca": (True, ""),
    "--client-ssl-request-cert": (False, ""),
    "--client-ssl-reject-unauthorized": (False, ""),
    "--default-target": (True, ""),
    "--error-target": (True, ""),
    "--error-path": (True, ""),
    "--redirect-port": (True, ""),
    "--redirect-to": (True, "--port"),
    "--pid-file": (True, ""),
    "--no-x-forward": (False, ""),
    "--no-prepend-path": (False, ""),
    "--no-include-prefix": (False, ""),
    "--auto-rewrite": (False, ""),
    "--change-origin": (False, ""),
    "--protocol-rewrite": (True, ""),
    "--custom-header": (True, ""),
    "--insecure": (False, ""),
    "--host-routing": (False, ""),
    "--metrics-ip": (True, "all addresses"),
    "--metrics-port": (True, "no metrics"),
    "--metrics-socket": (True, ""),
    "--log-level": (True, "info"),
    "--timeout": (True, "never"),
    "--proxy-timeout": (True, "no bound"),
    "--keep-alive-timeout": (True, "5000"),
    "--storage-backend": (True, ""),
}


def told(text: str) -> dict[str, tuple[bool, str]]:
    """Return the options of a help text, as in CONTRACT."""
    found = {}
    for block in re.split(r"\n(?=  -)", text.partition("\nexample:")[0])[1:]:
        flat = " ".join(block.split())
        flag = re.match(r"(?:-\w, )?(--[\w-]+)( [A-Z][A-Z:]+)?", flat)
        assert flag is not None, flat
        default = re.search(r"default: ([^;]*)$", flat.partition("\n\n")[0])
        value = default[1] if default else ""
        found[flag[1]] = (flag[2] is not None, re.split(r" [a-zA-Z ]+:$", value)[0])
    return found


@pytest.mark.parametrize("program", ["nbgate-proxy", "nbgate proxy"])
def test_help_has_the_options_and_defaults_of_the_contract(
    program: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    assert (nbgate(["proxy", "--help"]) if " " in program else main(["--help"])) == 0
    found = told(capsys.readouterr().out)
    for own in ("--help", "--version", "--persist-routes", "--route-file", "--workers"):
        found.pop(own, None)
    assert found == CONTRACT


def test_defaults() -> None:
    made = options()
    assert made.public == Place("", 8000)
    assert made.api == Place("localhost", 8001)
    assert made.metrics is None
    assert (made.x_forward, made.prepend_path, made.include_prefix) == (True, True, True)
    assert (made.timeout, made.proxy_timeout, made.keep_alive_timeout) == (None, None, 5.0)
    assert made.log_level == "info"
    assert made.client_tls.verify


def value_of(made: Options, flag: str) -> object:
    places: dict[str, object] = {
        "--ip": made.public.host,
        "--port": made.public.port,
        "--api-port": made.api.port,
        "--timeout": made.timeout,
        "--default-target": made.default_target,
        "--log-level": made.log_level,
    }
    return places[flag]


@pytest.mark.parametrize(
    ("flag", "text", "value"),
    [
        ("--ip", "hub.example", "hub.example"),
        ("--ip", "*", ""),
        ("--ip", "", ""),
        ("--port", "80", 80),
        ("--api-port", "99", 99),
        ("--timeout", "1500", 1.5),
        ("--default-target", "http://h", "http://h"),
        ("--log-level", "DEBUG", "DEBUG"),
    ],
)
def test_values_follow_or_stand_behind_an_equals_sign(flag: str, text: str, value: object) -> None:
    assert value_of(options(flag, text), flag) == value
    assert value_of(options(f"{flag}={text}"), flag) == value


def test_routes_are_kept_where_that_is_asked_for() -> None:
    assert options().route_file == ""
    assert options("--persist-routes", "--route-file=/x").route_file == "/x"
    environ = {"NBGATE_ROUTE_FILE": "/y"}
    assert options("--persist-routes", environ=environ).route_file == "/y"
    assert options(environ=environ).route_file == ""


def test_api_port_follows_the_port() -> None:
    assert options("--port=9000").api == Place("localhost", 9001)
    assert options("--socket=/x").api == Place("localhost", 8001)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--error-target=http://h", "--error-path=/x"), "exclude each other"),
        (("--redirect-port=80",), "no certificate"),
        (("--socket=/x", "--port=1"), "--socket is in place of --ip and --port"),
        (("--socket=/x", "--ip=1.1.1.1"), "--socket is in place of"),
        (("--api-socket=/x", "--api-port=1"), "--api-socket is in place of"),
        (("--api-socket=/x", "--api-ip=h"), "--api-socket is in place of"),
        (("--metrics-socket=/x", "--metrics-port=1"), "--metrics-socket is in place of"),
        (("--storage-backend", "redis"), "Node.js module"),
        (("--storage-backend="), "Node.js module"),
        (("--persist-routes",), "--route-file"),
        (("--route-file=/x",), "--persist-routes"),
        (("--custom-header", "no colon"), "A colon was expected in custom header"),
        (("--custom-header", ":x"), "A colon was expected in custom header"),
        (("--custom-header", "a b: x"), "no header field"),
        (("--custom-header", "a: x\ny"), "no header field"),
        (("--custom-header", "Content-Length: 1"), "the proxy's to say"),
        (("--custom-header", "connection: close"), "the proxy's to say"),
        (("--ssl-key=/x",), "go together"),
        (("--api-ssl-cert=/x",), "go together"),
        (("--ssl-key=/x", "--ssl-cert=/y", "--ssl-request-cert"), "--ssl-ca"),
        (("--log-level=loud",), "none of debug"),
        (("--protocol-rewrite=ftp",), "http or https"),
    ],
)
def test_what_makes_no_sense_is_one_line(flags: tuple[str, ...] | str, words: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(words)):
        options(*((flags,) if isinstance(flags, str) else flags))


@pytest.mark.parametrize("ip", ["0.0.0.0", "", "*", "::", "10.0.0.1", "hub.example"])
def test_open_api_listens_on_loopback_only(ip: str) -> None:
    with pytest.raises(InvalidInput, match="CONFIGPROXY_AUTH_TOKEN"):
        options("--api-ip", ip, environ={})
    assert options("--api-ip", ip).token


@pytest.mark.parametrize("ip", ["localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_open_api_may_listen_on_loopback(ip: str) -> None:
    assert options("--api-ip", ip, environ={}).token == ""


def test_token_may_be_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("of-a-file\n")
    named = {"CONFIGPROXY_AUTH_TOKEN_FILE": str(file)}
    assert options(environ=named).token == "of-a-file"
    assert options(environ={**named, "CONFIGPROXY_AUTH_TOKEN": "own"}).token == "own"
    for bad in ("", " \n"):
        file.write_text(bad)
        with pytest.raises(InvalidInput, match="is empty"):
            options(environ=named)
    with pytest.raises(InvalidInput, match="cannot read"):
        options(environ={"CONFIGPROXY_AUTH_TOKEN_FILE": str(tmp_path / "none")})


def test_secrets_are_not_in_what_is_shown() -> None:
    given = {"CONFIGPROXY_AUTH_TOKEN": "s3cret", "CONFIGPROXY_SSL_KEY_PASSPHRASE": "s3cret"}
    made = options(environ=given)
    assert made.tls.passphrase == "s3cret"
    assert "s3cret" not in repr(made)


@pytest.mark.parametrize(
    "flags",
    [
        ["--no-such-flag"], ["--por", "80"], ["--port"], ["--port", "x"], ["--port", "70000"],
        ["--timeout=soon"], ["stray"], ["--storage-backend=x"], ["--redirect-port=80"],
        ["--custom-header", "x"], ["--ssl-key=/none", "--ssl-cert=/none"],
        ["--default-target=nonsense"], ["--error-target=ftp://h"], ["--pid-file=/none/x"],
        ["--ssl-allow-rc4"],
    ],
)  # fmt: skip
def test_what_keeps_it_from_serving_is_one_line_and_1(flags: list[str]) -> None:
    environ = {**os.environ, "CONFIGPROXY_AUTH_TOKEN": "x"}
    done = subprocess.run(  # noqa: PLW1510
        [*PROGRAM, "--ip=127.0.0.1", *flags],
        env=environ,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 1, done
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("nbgate: ")


def test_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert re.match(r"\d+\.\d+", capsys.readouterr().out)


def test_it_needs_nothing_of_notebooks() -> None:
    """No engine, database, settings library or libgdbm is loaded to serve."""
    code = (
        "import sys, gateway.cli.proxy, gateway.chp.serving\n"
        "heavy = {'docker', 'sqlalchemy', 'alembic', 'pydantic', 'pydantic_settings', 'jinja2',"
        " 'prometheus_client', 'aiosqlite', 'routes.apachedb', 'ctypes', 'gateway.settings',"
        " 'gateway.notebooks', 'gateway.spawners', 'gateway.launch', 'requests'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

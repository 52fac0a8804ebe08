from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from gateway.errors import InvalidInput
from gateway.settings import load_settings, parse_address, parse_bytes

ROOT = Path(__file__).resolve().parent.parent


def test_settings_reference_is_current() -> None:
    reference = runpy.run_path(str(ROOT / "docs" / "make_settings.py"))["reference"]
    assert (ROOT / "docs" / "settings.md").read_text() == reference()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("NBGATE_LISTEN", "8000", "host:port"),
        ("NBGATE_SPAWNER", "podman", "'process' or 'docker'"),
        ("NBGATE_MEMORY", "lots", "512M"),
        ("NBGATE_TRUSTED_PROXIES", "10.0.0.0/99", "10.0.0.0/99"),
        ("NBGATE_ROUTING", "host", "base_domain"),
        ("NBGATE_NETWORK_SUBNET", "10.0.0.0/30", "256"),
        ("NBGATE_PUBLIC_URL", "nb.example.org", "https://"),
        ("NBGATE_PUBLIC_URL", "http://", "a host"),
        ("NBGATE_PUBLIC_URL", "http://x/y", "a host"),
        ("NBGATE_TLS_CERT", "/etc/nb.pem", "NBGATE_TLS_KEY is not set"),
        ("NBGATE_TLS_KEY", "/etc/nb.key", "NBGATE_TLS_CERT is not set"),
        ("NBGATE_BASE_DOMAIN", "foo_bar..x", "nb.example.org"),
        ("NBGATE_FRAME_ANCESTORS", "https://a.example;b", "no origin"),
        ("NBGATE_NETWORK_SUBNET", "fd00::/64", "fd00::/64"),
        ("NBGATE_CPUS", "inf", "4096"),
        ("NBGATE_MEMORY", "1", "32M"),
        ("NBGATE_CONFIG", "/tmp", "/tmp"),
        ("NBGATE_START_TIMEOUT", "-1", "greater than 0"),
    ],
)
def test_wrong_value_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidInput) as caught:
        load_settings()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_named_people_and_those_whom_httpd_admits_by_itself_exclude_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NBGATE_TRUSTED_PROXIES", "127.0.0.1")
    monkeypatch.setenv("NBGATE_HTTPD_DIRECT", "true")
    assert load_settings().httpd_direct
    monkeypatch.setenv("NBGATE_USER_HEADER", "X-Remote-User")
    with pytest.raises(InvalidInput, match="USER_HEADER and NBGATE_HTTPD_DIRECT exclude") as caught:
        load_settings()
    assert "\n" not in str(caught.value)
    monkeypatch.setenv("NBGATE_HTTPD_DIRECT", "false")
    assert load_settings().user_headers == ("X-Remote-User",)


def test_with_a_certificate_the_origin_is_https(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().origin == "http://127.0.0.1:8000"
    monkeypatch.setenv("NBGATE_TLS_CERT", "/etc/nb.pem")
    monkeypatch.setenv("NBGATE_TLS_KEY", "/etc/nb.key")
    assert load_settings().origin == "https://127.0.0.1:8000"
    assert load_settings(public_url="https://nb.example.org").origin == "https://nb.example.org"
    with pytest.raises(InvalidInput, match="people need https"):
        load_settings(public_url="http://nb.example.org")
    monkeypatch.setenv("NBGATE_TLS_CERT", "")
    monkeypatch.setenv("NBGATE_TLS_KEY", "")
    assert load_settings().tls_cert is None


def test_flag_wins_over_environment_and_environment_over_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "nbgate.conf"
    config.write_text("NBGATE_IMAGE=from-file\nNBGATE_MEMORY=1G\nNBGATE_LISTEN=127.0.0.1:1\n")
    monkeypatch.setenv("NBGATE_CONFIG", str(config))
    monkeypatch.setenv("NBGATE_MEMORY", "3G")
    monkeypatch.setenv("NBGATE_LISTEN", "127.0.0.1:2")
    settings = load_settings(listen="127.0.0.1:3")
    assert (settings.image, settings.memory, settings.listen) == ("from-file", "3G", "127.0.0.1:3")


def test_unreadable_settings_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBGATE_CONFIG", "/nowhere/nbgate.conf")
    with pytest.raises(InvalidInput, match="/nowhere/nbgate"):
        load_settings()


def test_lists_are_split_at_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBGATE_FRAME_ANCESTORS", "https://lms.example.org, https://b.example.org")
    assert load_settings().frame_ancestors == ("https://lms.example.org", "https://b.example.org")


@pytest.mark.parametrize(("text", "value"), [("512M", 2**29), ("2G", 2**31), ("1024", 1024)])
def test_sizes_are_binary(text: str, value: int) -> None:
    assert parse_bytes(text) == value


def test_ipv6_addresses_stand_in_brackets() -> None:
    assert parse_address("[::1]:8000") == ("::1", 8000)


def test_misspelt_setting_in_the_file_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "nbgate.conf"
    config.write_text("NBGATE_IMGAE=x\n")
    monkeypatch.setenv("NBGATE_CONFIG", str(config))
    with pytest.raises(InvalidInput, match="NBGATE_IMGAE"):
        load_settings()


def test_notebook_cannot_take_the_gateways_own_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBGATE_ROUTING", "host")
    monkeypatch.setenv("NBGATE_BASE_DOMAIN", "nb.example.org")
    monkeypatch.setenv("NBGATE_PUBLIC_URL", "https://hub.nb.example.org")
    with pytest.raises(InvalidInput, match="could be a notebook's"):
        load_settings()
    monkeypatch.setenv("NBGATE_PUBLIC_URL", "https://www.nb.example.org")
    assert load_settings().origin == "https://www.nb.example.org"

from __future__ import annotations

import pytest

from bench.datapath.load import LoadFailed, parse_wrk

_QUIET = """\
Running 4s test @ http://127.0.0.1:8000/nb/bench/api/status
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.31ms  240.10us   9.70ms   92.10%
    Req/Sec    24.46k     1.02k   26.12k    85.00%
  Latency Distribution
     50%    1.25ms
     75%    1.38ms
     90%  900.50us
     99%    2.03s
  97856 requests in 4.00s, 45.10MB read
Requests/sec:  24464.11
Transfer/sec:     11.27MB
"""
_TROUBLED = _QUIET.replace(
    "Requests/sec",
    "  Socket errors: connect 1, read 2, write 3, timeout 4\n"
    "  Non-2xx or 3xx responses: 90\nRequests/sec",
)


def test_output_of_wrk_is_read() -> None:
    result = parse_wrk(_QUIET)
    assert (result.requests, result.rate, result.errors) == (97856, 24464.11, 0)
    assert (result.p50, result.p99) == (0.00125, 2.03)


def test_errors_of_every_kind_count() -> None:
    assert parse_wrk(_TROUBLED).errors == 100


def test_output_without_numbers_is_an_error() -> None:
    with pytest.raises(LoadFailed, match="unable to connect"):
        parse_wrk("unable to connect to 127.0.0.1:1 Connection refused\n")

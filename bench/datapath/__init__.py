"""The data path against its peers: `python -m bench.datapath`.

    cores.py      pinning, and what a process tree used (processor seconds, memory)
    processes.py  programs started, waited for and ended by their ids
    requests.py   the requests that are sent: a browser's full one, and a bare one
    upstream.py   what all proxies proxy to: nginx for answers and files, sink.py for the rest
    peers.py      the proxies under test; configs.py has their configurations, aiohttp_proxy.py one
    load.py       wrk, and client.py: a process that runs sockets.py (WebSockets), transfers.py
                  (large bodies), fixed_rate.py (latency) or publishing.py (routes into nbgate)
    case.py       what a case is; cases.py lists them, checks.py and measures.py carry them out
    runner.py     takes turns; results.py holds the numbers
    goals.py      what nbgate must and wants to reach
    report.py     tables; machine.py describes where the numbers are from

The proxy under test runs on one core, upstream and load generator on another. Every case checks
that the proxy does its work before it is measured, and all peers are measured in each round.
"""

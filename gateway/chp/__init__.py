"""The gateway as JupyterHub's proxy: configurable-http-proxy's command line, API and behaviour.

It is the same data path (gateway/proxy) and the same route table (routes/table.py) under another
Gate; nothing of notebooks, Docker or a database is imported. `serving.py` is its composition root.

    JupyterHub ─► api.py ─► book.py (routes with their JSON, in memory) ─► routes.table
    browser ────► gateway.proxy ─ decide ─► gate.py ─► routes.table
                      ├─ headers.py   what upstreams and clients are told
                      └─ exchange.py  errorpages.py, what counts as activity

- `paths.py` is the rule how a path in the API, a key and a request's path go together. Pure.
- `flags.py` is the command line, `options.py` what it means; `tls.py` and `sockets.py` open what
  it names.
- `metrics.py` shows what `tally.py` counts.
"""

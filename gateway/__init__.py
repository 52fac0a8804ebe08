"""nbgate: a reverse-proxy gateway for Jupyter notebooks that starts them on demand.

The architecture on one screen; ARCHITECTURE.md has the reasons.

    client ─► proxy (the data path) ─ decide ─► access.AccessGate ─► routes.table, launch.sessions
                 │
                 ├─ Relay  ─► the notebook's server, over a pooled connection; after a 101 a tunnel
                 ├─ Hold   ─► activation.Activator ─► Lifecycle ─► spaces, spawners, readiness;
                 │            then routing: the table, and the file for httpd
                 ├─ Local  ─► web (the pages), on a private Unix socket
                 └─ Refuse ─► problem+json

    operator ─► cli ─► api (management, on loopback) ─► notebooks.Catalogue, Lifecycle, routing

- The data path owns connections and nothing durable; control (app/control.py) owns the rest.
- With `--workers N` (workers/) the data path is N processes over copies of control's tables.
- The database holds intent (notebooks/), the engine holds facts (spawners/).
- A start is one task per notebook and belongs to the application, not to a request.
- app/ is the only place that knows which parts there are.
"""

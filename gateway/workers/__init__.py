"""Several processes: a supervisor, one control, and data workers with a copy of its tables.

    supervisor ── starts and restarts ──► control (no public socket)     ◄─ lifeline ─┐
        │                                    ▲ control.sock: snapshot, deltas, acks   │
        └── listening socket, lifeline ──► worker 1 … N (the data path) ──────────────┘

- frames.py and records.py: what crosses the socket, as bytes. Pure.
- feed.py: control's numbered changes, and the tables that write them. Pure.
- hub.py: control's end of the socket: a link per worker, fences, what workers report.
- replica.py: a worker's copy, and what is out of step with it. Pure.
- remote.py: a worker's end: connects again and again, asks for starts, reports.
- tally.py: counts and activity, on both ends. Pure.
- acceptor.py and board.py: how workers share the connections of one socket.
- roll.py: the workers that control has to wait for. Pure.
- member.py: the life of a worker; worker.py: a worker of `nbgate serve`.
- supervisor.py: the process that owns them all.
"""

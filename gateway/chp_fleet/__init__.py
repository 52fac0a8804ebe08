"""`nbgate-proxy --workers N`: the proxy of a JupyterHub in several processes.

It puts gateway.chp and gateway.workers together and adds little to them:

- supervising.py: the process that is started; it holds every socket that has to outlive a child.
- control.py: the routes and their API; journal.py: how they outlive a control that was killed.
- worker.py: the data path over a copy of the routes.
- passing.py: what the children are told.

It writes to no directory: the control socket has a name in no file system, and the journal is
memory that the supervisor holds.
"""

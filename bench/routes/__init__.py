"""nbgate-proxy beside configurable-http-proxy in what is not proxying: `python -m bench.routes`.

    proxies.py     the contenders: how each is started, and how long that takes
    api.py         the client of their REST API: one kept connection, one call at a time
    operations.py  adding, removing and telling routes, by how many there are
    starting.py    start time and memory
    following.py   how long the files lag behind where routes are kept
    leaks.py       what stays of many requests and WebSockets; churn.py makes them
    goals.py       what nbgate must and wants to reach
    report.py      ROUTES.md

What does not know these contenders (pinning, processes, tables) is bench.datapath's.
"""

"""Measurements of the life cycle: a class that starts at once, servers that are ended by hand.

`python -m bench.lifecycle [--students 200] [--write-results]` runs a whole gateway with a real
Docker Engine and servers that are up at once. One notebook is hot and is asked all the time, first
while nothing else happens, then while so many students open their cold notebooks at once. Told are
the percentiles of both, the time until all are served, and whether the order was kept. Then
servers of theirs are killed and removed behind the gateway's back: told is how soon it knows.
"""

"""The database's history. Each file in versions/ is one step; migrate.py takes them.

A step is written by hand, names its predecessor, and is never changed once released. It does
not use schema.py, which goes on changing. A test holds the sum of all steps against schema.py.
"""

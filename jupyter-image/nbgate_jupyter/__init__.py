"""Jupyter Server as nbgate's notebook image runs it.

`identity.py` says who a request is from, `config.py` turns the environment into Jupyter's
configuration, `contents.py` saves files, `pages.py` tells Lab's pages what the project sets,
`lazily.py` puts off imports, `__main__.py` starts the server. Nothing here knows of
the gateway's code.
"""

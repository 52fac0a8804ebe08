"""People's files: the one package that touches them."""

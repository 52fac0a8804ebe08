"""People's files: the one package that touches them."""

from gateway.notebooks.source import Source
from gateway.spaces.exercises import Exercises
from gateway.spaces.reading import Reading
from gateway.spaces.spaces import Spaces

__all__ = ["Exercises", "Reading", "Source", "Spaces"]

"""Pages for people: index, waiting, errors."""

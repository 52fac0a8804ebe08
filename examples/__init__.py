"""What `make run` shows: a demo course and the command that serves it."""

"""Engines that run notebooks: the protocol, Docker, and child processes."""

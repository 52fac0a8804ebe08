"""Engines that run notebooks.

base.py is the protocol that the core owns. Two implementations:
  - docker.py: containers. docker_spec.py (what a container is made of) and docker_facts.py (what
    the engine's answers mean) are pure; network.py gives out addresses, firewall.py has the rules
    that an operator sets once, surroundings.py finds out where the gateway itself runs,
    containers.py and images.py ask the engine, engine.py is docker-py behind threads.
  - process.py: child processes on localhost, for development. process_launch.py starts them,
    process_records.py remembers them, procfs.py reads /proc, jupyter_child.py is what they run.
"""

"""Engines that run notebooks.

base.py is the protocol that the core owns. Two implementations:
  - docker.py: containers. docker_spec.py (what a container is made of) and docker_facts.py (what
    the engine's answers mean) are pure; network.py gives out addresses, firewall.py has the rules
    that an operator sets once, surroundings.py and placing.py find out where the gateway itself
    runs and so where containers are put, attachment.py puts the gateway on the network,
    docker_events.py reads events (pure), removal.py has what cannot be removed out of the way,
    pulls.py gets images, containers.py and images.py ask the engine, engine.py and
    engine_stream.py are docker-py behind threads.
  - process.py: child processes on localhost, for development. process_launch.py starts them,
    process_records.py remembers them, process_control.py stops and freezes them,
    process_events.py tells what happens to them, procfs.py reads /proc, jupyter_child.py is what
    they run.
"""

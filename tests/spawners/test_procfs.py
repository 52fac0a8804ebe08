"""What /proc tells of processes."""

from __future__ import annotations

import contextlib
import os
import subprocess

from gateway.spawners import procfs


def test_stat_line_with_a_hostile_name_is_read() -> None:
    line = "17 (a) R 1 (b)) S 4 " + " ".join(["0"] * 17) + " 4711 0"

    assert procfs.parse_stat(line) == procfs.Stat(pid=17, state="S", parent=4, ticks=4711)


def test_family_has_children_in_other_sessions() -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as child:
        try:
            assert child.pid in {member.pid for member in procfs.family(os.getpid())}
        finally:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
    assert not procfs.runs(child.pid, 0)

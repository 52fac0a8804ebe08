from __future__ import annotations

from pathlib import Path

from gateway.spawners.engine import Engine
from gateway.spawners.surroundings import candidate_ids, look_around, own_container

ID = "0123456789abcdef" * 4
OTHER = "f" * 64
MOUNTS = f"""\
1 0 8:1 / / rw - overlay overlay rw
2 1 8:1 /var/lib/docker/containers/{ID}/resolv.conf /etc/resolv.conf rw - ext4 /dev/sda rw
3 1 8:1 /var/lib/docker/containers/{ID}/hostname /etc/hostname rw - ext4 /dev/sda rw
4 1 8:1 /srv/{OTHER} /data rw - ext4 /dev/sda rw
short line
"""


def test_id_is_found_in_the_mounts_that_docker_makes() -> None:
    assert candidate_ids("nb", MOUNTS, "0::/\n") == [ID]


def test_id_is_found_in_the_cgroup() -> None:
    assert candidate_ids("nb", "", f"5:memory:/docker/{ID}\n4:cpu:/docker/{ID}\n") == [ID]


def test_hostname_is_the_last_resort() -> None:
    assert candidate_ids("0123456789ab", "", "") == ["0123456789ab"]
    assert candidate_ids("gateway.example.org", "", "") == []


async def test_engine_is_not_asked_where_there_is_no_container(tmp_path: Path) -> None:
    engine = Engine(f"unix://{tmp_path}/no.sock")

    assert await own_container(engine, tmp_path) is None
    found = await look_around(engine, "auto", tmp_path, None)

    assert (found.prod, found.host_root, found.container) == (False, tmp_path, None)
    await engine.close()


async def test_setting_of_the_hosts_folder_wins(tmp_path: Path) -> None:
    engine = Engine(f"unix://{tmp_path}/no.sock")

    found = await look_around(engine, "prod", tmp_path, Path("/srv/spaces"))

    assert (found.prod, found.host_root) == (True, Path("/srv/spaces"))
    await engine.close()

"""What a machine lacks is told with the remedy, before anything is built."""

from pathlib import Path

import pytest

from fleetmeter_cluster import cgroups, needs
from fleetmeter_cluster.failure import Failure


def test_everything_that_is_missing_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "DISK_COLD", 1 << 60)
    monkeypatch.setattr(needs, "DISK_WARM", 1 << 60)
    monkeypatch.setattr(needs, "MEMORY", 1 << 60)
    with pytest.raises(Failure) as caught:
        needs.check()
    told = str(caught.value)
    assert "GiB are free at" in told
    assert "of memory are free" in told
    assert told.count("What to do:") >= 2


def test_a_missing_program_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "PROGRAMS", {"sh": "dash", "no-such-program": "some-package"})
    monkeypatch.setattr(needs, "BROWSERS", ("sh",))
    assert set(needs.packages()) - {"busybox-static"} == {"some-package"}


def test_a_killed_install_does_not_hold_services_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = tmp_path / "policy-rc.d"
    monkeypatch.setattr(needs, "POLICY", policy)
    policy.with_suffix(".fleetmeter").write_text("the machine's own")
    policy.write_text(needs.HELD)
    needs.release_services()
    assert policy.read_text() == "the machine's own"
    assert list(tmp_path.iterdir()) == [policy]


V1 = """\
25 20 0:22 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro
26 25 0:23 / {root}/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
27 25 0:24 / {root}/memory rw - cgroup cgroup rw,memory
28 25 0:25 / {root}/unified rw - cgroup2 cgroup2 rw
"""


def test_missing_controllers_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(V1.format(root=tmp_path))
    (tmp_path / "unified").mkdir()
    (tmp_path / "unified" / "cgroup.controllers").write_text("pids\n")
    monkeypatch.setattr(cgroups, "MOUNTS", mounts)
    assert cgroups.missing() == ["cpuset"]

"""The number of cores, from the affinity and from the groups of both versions."""
import os

import pytest

from ghostdet.infer import cores
from ghostdet.infer.cores import usable_cores

V2, V1 = '0::{}\n', '5:memory:/other\n3:cpu,cpuacct:{}\n1:name=systemd:/other\n'


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Returns what sets up a machine of eight cores, with the text of /proc/self/cgroup and files of limits."""
    def set_up(own, files=(), usable=8):
        monkeypatch.setattr(os, 'sched_getaffinity', lambda _: set(range(usable)), raising=False)
        monkeypatch.setattr(cores, 'CGROUPS', tmp_path / 'cgroup')
        monkeypatch.setattr(cores, 'OWN', tmp_path / 'own')
        if own is not None:
            (tmp_path / 'own').write_text(own)
        for name, text in dict(files).items():
            file = tmp_path / 'cgroup' / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f'{text}\n')
        return usable_cores()
    return set_up


@pytest.mark.parametrize('count', [1, 3])
def test_usable_cores_are_those_of_the_affinity(count, machine):
    assert machine(V2.format('/'), usable=count) == count


def test_usable_cores_without_affinity_are_all_of_the_machine(machine, monkeypatch):
    machine(None)
    monkeypatch.delattr(os, 'sched_getaffinity')
    monkeypatch.setattr(os, 'cpu_count', lambda: 6)
    assert usable_cores() == 6
    monkeypatch.setattr(os, 'cpu_count', lambda: None)
    assert usable_cores() == 1


@pytest.mark.parametrize(('own', 'files'), [
    (None, {}), ('', {}), (V2.format('/a'), {}),
    (V2.format('/a'), {'a/cpu.max': 'max 100000', 'cpu.max': 'max 100000'}),
    (V2.format('/a'), {'a/cpu.max': 'no number'}), (V2.format('/a'), {'b/cpu.max': '100000 100000'}),
    ('5:memory:/a\n', {'a/cpu.max': '100000 100000', 'memory/a/cpu.cfs_quota_us': '100000'})])
def test_usable_cores_without_a_limit_are_those_of_the_affinity(own, files, machine):
    assert machine(own, files) == 8


@pytest.mark.parametrize(('limit', 'expected'), [('50000 100000', 1), ('100000 100000', 1), ('250000 100000', 3),
                                                 ('1 1000000', 1), ('6000 2000', 3), ('9900000 100000', 8)])
def test_usable_cores_are_the_share_of_the_own_group_rounded_up(limit, expected, machine):
    assert machine(V2.format('/a/b'), {'a/b/cpu.max': limit}) == expected


@pytest.mark.parametrize('parent', ['cpu.max', 'a/cpu.max', 'unified/a/cpu.max'])
def test_usable_cores_are_limited_by_a_group_above(parent, machine):
    assert machine(V2.format('/a/b'), {parent: '200000 100000', 'a/b/cpu.max': 'max 100000'}) == 2


def test_usable_cores_are_the_least_of_all_limits(machine):
    files = {'cpu.max': '700000 100000', 'a/cpu.max': '300000 100000', 'a/b/cpu.max': '500000 100000'}
    assert machine(V2.format('/a/b'), files) == 3
    assert machine(V2.format('/a/b'), files, usable=2) == 2


def v1(folder, quota, period=100000):
    return {f'{folder}/cpu.cfs_quota_us': quota, f'{folder}/cpu.cfs_period_us': period}


@pytest.mark.parametrize('root', ['cpu', 'cpu,cpuacct'])
@pytest.mark.parametrize(('quota', 'expected'), [(-1, 8), (50000, 1), (250000, 3), (400000, 4)])
def test_usable_cores_in_groups_of_version_1(quota, expected, root, machine):
    assert machine(V1.format('/a'), v1(f'{root}/a', quota)) == expected
    assert machine(V1.format('/a'), {**v1(root, -1), **v1(f'{root}/a', quota)}) == expected


@pytest.mark.parametrize(('own', 'files'), [
    (V2.format('/docker/0123'), {'cpu.max': '200000 100000'}), (V1.format('/docker/0123'), v1('cpu', 200000))])
def test_usable_cores_in_a_container_that_sees_the_path_of_its_host(own, files, machine):
    assert machine(own, files) == 2

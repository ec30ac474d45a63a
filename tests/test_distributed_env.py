from pathlib import Path

import pytest

from vsr_cli import distributed_env as launch


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch):
    for name in (*launch.COUNT, *launch.INDEX, *launch.LOCAL_INDEX):
        monkeypatch.delenv(name, raising=False)


def test_single_process_is_the_main_process():
    assert (launch.process_count(), launch.is_main(), launch.speaks()) == (1, True, True)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"WORLD_SIZE": "4", "RANK": "0", "LOCAL_RANK": "0"}, (4, True, True)),
        ({"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1"}, (4, False, False)),
        ({"WORLD_SIZE": "4", "RANK": "2", "LOCAL_RANK": "0"}, (4, False, True)),
        (
            {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_LOCAL_RANK": "1"},
            (2, False, False),
        ),
        ({"RANK": "5"}, (1, True, True)),  # of something else: no launcher leaves out how many there are
    ],
)
def test_launched_process_knows_its_rank(monkeypatch, environment, expected):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert (launch.process_count(), launch.is_main(), launch.speaks()) == expected


def test_errors_are_reported_by_one_process(monkeypatch, capsys):
    from vsr_cli import console

    waited = []
    monkeypatch.setattr(console.time, "sleep", waited.append)
    monkeypatch.setattr(console.err, "quiet", True)
    console.say("what all would say alike")
    console.fail("what only this one knows")
    assert waited == [console.QUIET_DELAY]
    assert capsys.readouterr().err == "error: what only this one knows\n"


@pytest.mark.parametrize("named", [None, "GOMP_SPINCOUNT", "OMP_WAIT_POLICY"])
def test_idle_threads_sleep_unless_configured(monkeypatch, named):
    environment = {named: "active"} if named else {}
    monkeypatch.setattr(launch.os, "environ", environment)
    monkeypatch.setattr(launch, "CPU_QUOTA", Path("no such file"))
    launch.share_processor()
    assert environment == ({named: "active"} if named else {"GOMP_SPINCOUNT": "2000"})


@pytest.mark.parametrize(
    ("quota", "chosen", "cores", "threads"),
    [
        ("max 100000", None, 8, None),
        ("200000 100000", None, 2, "2"),
        ("150000 100000", None, 2, "2"),
        ("20000 100000", None, 1, "1"),
        ("900000 100000", None, 8, None),
        ("200000 100000", "5", 2, "5"),
        ("", None, 8, None),
    ],
)
def test_threads_are_limited_to_the_cpu_quota(monkeypatch, tmp_path, quota, chosen, cores, threads):
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    environment = {"OMP_NUM_THREADS": chosen} if chosen else {}
    monkeypatch.setattr(launch, "CPU_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(launch, "_cores_by_affinity", lambda: 8)
    monkeypatch.setattr(launch.os, "environ", environment)
    launch.share_processor()
    assert launch.usable_cores() == cores
    assert environment.get("OMP_NUM_THREADS") == threads

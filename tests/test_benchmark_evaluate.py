"""The benchmark of evaluation measures stages that exist."""


def test_every_stage_is_a_function_of_vsr_and_is_timed(load_benchmark):
    benchmark = load_benchmark("evaluate")
    watch = benchmark.Stopwatch()
    with watch.running():
        for targets in benchmark.STAGES.values():
            for target in targets:
                holder, _, name = target.rpartition(".")
                assert callable(getattr(benchmark._resolve(holder), name))
    assert not watch.seconds
    assert watch.timed("a stage", lambda: 3)() == 3
    assert set(watch.seconds) == {"a stage"}

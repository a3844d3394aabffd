"""`dysonjax bench`: input is checked before anything is measured; one real run."""

import json

import pytest

from dysonjax.bench import frame
from dysonjax.cli import main


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["something"],
            "name must be one of teacher-student, rbm, linear, spikes, nanogpt, dyson, samplers, statistics",
        ),
        (["rbm", "--sampler", "exact"], "sampler must be one of gibbs, collapsed, got 'exact'"),
        (["linear", "--train", "all"], "the benchmark linear has no option train"),
        (["rbm", "--seeds", "0"], "seeds must be a positive integer"),
        (
            ["samplers", "--steps", "5"],
            "the benchmark samplers has no option steps; its options: seeds, beta",
        ),
        (["dyson", "--figure", "a.png"], "--figure goes with teacher-student, rbm, linear"),
        (["linear", "--only", "torch"], "only must be one of engine, xla, plain_vmap, numpy_loop, limit"),
        (["linear", "--members", "10,many"], "members must be whole numbers with commas between"),
        (["linear", "--members", "10", "--seeds", "2"], "--members stands in place of --seeds"),
        (["rbm", "--figure", "no/such/folder/a.png"], "the folder no/such/folder does not exist"),
    ],
)
def test_bad_input_is_refused_with_a_sentence(arguments, sentence, capsys):
    assert main(["bench", *arguments]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.slow
def test_a_short_run_reports_rates_ratios_and_versions(capsys):
    arguments = ["--seeds", "1", "--steps", "50", "--repetitions", "2", "--only", "numpy_loop", "--json"]
    assert main(["bench", "linear", *arguments]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["members"] == 10 and found["steps"] == 50
    engine, loop = found["variants"]["engine"], found["variants"]["numpy_loop"]
    assert len(engine["seconds"]) == 2 and engine["compile_seconds"] > 0
    assert 1e8 < engine["peak_bytes"] < 1e10
    assert found["ratios"]["numpy_loop"] == engine["per_second"] / loop["per_second"]
    assert {"jax", "numpy"} <= set(found["versions"])


def test_members_are_rounded_up_to_whole_seeds_and_cost_time_and_memory(monkeypatch, capsys):
    """With made-up measurements: 1 and 3 µs a step, 1 kB a member."""

    def measure(module, jobs, repetitions, say):
        settings = [setting for _, setting in jobs.values()]
        assert [setting["steps"] for setting in settings] == [4 * (64 * 100_000 // 9), 25_000]
        rates = [
            frame.Rate(rate, [1.0] * repetitions, 0, 0, 1000 * 10 * setting["seeds"], {})
            for setting, rate in zip(settings, (1e6, 1e6 / 3), strict=True)
        ]
        return dict(zip(jobs, rates, strict=True)), {}

    monkeypatch.setattr(frame, "measure", measure)
    monkeypatch.setattr(frame, "cores", lambda: 3)
    assert main(["bench", "linear", "--members", "100000,61", "--repetitions", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [point["members"] for point in found["points"]] == [90, 100_020]
    assert [point["bytes_per_member"] for point in found["points"]] == [None, 1000]
    assert found["flatness"] == pytest.approx(2)

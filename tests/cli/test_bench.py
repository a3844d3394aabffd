"""`dysonjax bench`: input is checked before anything is measured; one real run."""

import json

import pytest

from dysonjax.cli import main


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["something"], "name must be one of teacher-student, rbm, linear, nanogpt"),
        (["rbm", "--sampler", "exact"], "sampler must be one of gibbs, collapsed"),
        (["linear", "--train", "all"], "the benchmark linear has no option train"),
        (["rbm", "--seeds", "0"], "seeds must be a positive integer"),
        (["rbm", "--figure", "no/such/folder/a.png"], "the folder no/such/folder does not exist"),
    ],
)
def test_bad_input_is_refused_with_a_sentence(arguments, sentence, capsys):
    assert main(["bench", *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_a_short_run_reports_rates_ratios_and_versions(capsys):
    arguments = ["--seeds", "1", "--steps", "50", "--repetitions", "2", "--only", "numpy_loop", "--json"]
    assert main(["bench", "linear", *arguments]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["members"] == 10 and found["steps"] == 50
    engine, loop = found["variants"]["engine"], found["variants"]["numpy_loop"]
    assert len(engine["seconds"]) == 2 and engine["compile_seconds"] > 0
    assert found["ratios"]["numpy_loop"] == engine["per_second"] / loop["per_second"]
    assert {"jax", "numpy"} <= set(found["versions"])

import json

import pytest

from dysonjax.cli import doctor, main, selftest
from dysonjax.cli.selftest import Check

GOOD = Check("good", 1.0, 1.1, 0.1, True, "nothing")
BAD = Check("bad", 2.0, 1.0, 0.1, True, "noise is too strong")


def _doctor(monkeypatch, capsys, checks, *options):
    monkeypatch.setattr(selftest, "checks", lambda: tuple(lambda c=c: c for c in checks))
    code = main(["doctor", "--json", *options])
    captured = capsys.readouterr()
    return code, json.loads(captured.out), captured.err


def test_a_healthy_machine_is_exit_code_zero(monkeypatch, capsys):
    code, found, text = _doctor(monkeypatch, capsys, [GOOD])
    assert code == 0 and found["healthy"] and found["problems"] == []
    assert found["versions"]["jax"] and found["machine"]["cores"] >= 1
    assert found["checks"][0]["z"] == pytest.approx(-1.0)
    assert "all is well" in text


def test_a_failed_check_is_exit_code_one_and_says_what_it_means(monkeypatch, capsys):
    code, found, text = _doctor(monkeypatch, capsys, [GOOD, BAD], "--quiet")
    assert code == 1 and not found["healthy"]
    assert "bad: noise is too strong" in text


def test_known_bad_versions_and_mismatches_are_problems(monkeypatch, capsys):
    bad = {"jax": "0.10.2", "jaxlib": "0.9.0", "flax": "not installed", "safetensors": "not installed"}
    monkeypatch.setattr(doctor, "versions", lambda: bad)
    code, found, _ = _doctor(monkeypatch, capsys, [GOOD])
    assert code == 1 and len(found["problems"]) == 3
    assert "jax#39103" in found["problems"][0] and "do not belong together" in found["problems"][1]
    assert "safetensors" in found["notes"][0]

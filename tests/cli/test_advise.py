import json

import pytest

from dysonjax.cli import main


def test_advice_writes_picture_and_summary(tmp_path, capsys):
    out = tmp_path / "advice"
    options = ["--lr", "0.5:4", "--sigma-w", "0.1:1", "--points", "4", "--steps", "400", "--out", str(out)]
    assert main(["advise", "linear", *options, "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert json.loads((out / "summary.json").read_text()) == found
    assert (out / "advice.png").stat().st_size > 10_000 and (out / "advice.pdf").exists()
    assert found["verdict"].startswith("A converged window is predicted") and found["verdict"] in captured.err
    assert len(found["window"]) == 25 and all(row["share"] == 1 for row in found["window"])
    assert found["evidence"]["lr_stable"][0] == pytest.approx(2, abs=0.3)
    # Errors shrink in the mean square for α < 2/(1 + 2/|B|) to 2/(1 + 1/|B|), |B| = 4: 1.33 to 1.6.
    assert all(1.0 <= row["lr_high_0.5"] <= 2.0 for row in found["window"])
    assert main(["report", str(out), "--quiet"]) == 0  # a report can be made of it as well


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "name a model: teacher-student, rbm, linear"),
        (["resnet"], "model must be one of teacher-student, rbm, linear, got 'resnet'"),
        (["linear", "--lr", "1"], "lr must be of the form FIRST:LAST, got '1'"),
        (["linear", "--lr", "2:1"], "lr needs first < last, got 2 and 1"),
        (["linear", "--pilot-steps", "0"], "pilot_steps must be"),
    ],
)
def test_bad_input(options, sentence, tmp_path, capsys):
    assert main(["advise", *options, "--out", str(tmp_path / "x")]) == 2
    error = capsys.readouterr().err
    assert sentence in error and len(error.splitlines()) == 1 and not (tmp_path / "x").exists()

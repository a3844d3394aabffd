import json

import numpy as np
import pytest

from dysonjax.cli import main

KEYS = {
    "command", "out", "members", "steps", "seconds", "device", "version", "levels_mean", "levels_sem",
    "spacing_mean", "spacing_sem", "wasserstein", "p_value", "z", "verdict", "targets", "notes",
}  # fmt: skip


def test_compare_writes_tables_figure_levels_and_summary(tmp_path, capsys):
    out = tmp_path / "run"
    # As many members as the library's tests train: their compiled programs are found again.
    args = ["compare", "linear", "--members", "400", "--steps", "100", "--permutations", "49", "--json"]
    assert main([*args, "--out", str(out)]) == 0
    output = capsys.readouterr()
    summary = json.loads(output.out.strip().splitlines()[-1])
    assert summary.keys() >= KEYS
    assert json.loads((out / "summary.json").read_text()) == summary
    assert len(summary["rungs"]) == 5 and np.shape(summary["wasserstein"]) == (4,)
    assert all(len(mean) == 2 for mean in summary["levels_mean"].values())
    assert summary["verdict"] in output.err
    assert (out / "compare.png").stat().st_size > 10_000 and (out / "compare.pdf").exists()
    with np.load(out / "levels.npz") as levels:
        assert levels["Coulomb_gas"].shape == (400, 2)


@pytest.mark.slow
def test_a_grid_has_a_ladder_at_each_point(tmp_path, capsys, sketched):
    out = tmp_path / "run"
    args = "compare linear --lr 0.1,0.2 --members 40 --steps 60 --permutations 19 --epsilon 0.3 --values 1,2"
    assert main([*args.split(), "--order", "2", "--json", "--out", str(out)]) == 0
    summary = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert [point["lr"] for point in summary["points"]] == [0.1, 0.2]
    assert all(point.keys() >= {"levels_mean", "verdict", "wasserstein"} for point in summary["points"])
    assert summary["verdict"].startswith("Over 2 points") and summary["points"][0]["order"] == 2
    assert "no Coulomb gas" in summary["points"][0]["notes"][0] and len(summary["points"][0]["rungs"]) == 4
    assert {f.name for f in out.glob("*.png")} == {"compare.png", "compare_0.png", "compare_1.png"}


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ("", "name a system: rbm or linear"),
        ("ising", "system must be one of rbm, linear"),
        ("linear --members 0", "members must be"),
        ("linear --steps 0", "steps must be a positive integer"),
        ("linear --steps 5 --noise measured", "needs more steps"),
        ("linear --mu 3", "an option of linear must be one of values, epsilon, z, noise_of, got 'mu'"),
        ("rbm --kappa 4,a", "kappa must be"),
        ("rbm --sigma-w 0", "sigma_w must be positive"),
        ("rbm --seed -1", "seed must be"),
        ("rbm --order 3", "order must be 1 or 2"),
        ("rbm --lr 0.1,0", "lr must be positive"),
        ("rbm --data missing.npy", "cannot be read"),
        ("linear --z diagonal", "z must be one of"),
        ("rbm --permutations 0", "permutations must be"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(args, sentence, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["compare", *args.split(), "--out", str(out)]) == 2
    error = capsys.readouterr().err.strip()
    assert sentence in error and len(error.splitlines()) == 1 and not out.exists()

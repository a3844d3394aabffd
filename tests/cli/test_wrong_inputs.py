"""One table of wrong inputs over all commands: exit code 2, one sentence, nothing written, in a moment.

The files that the commands name are made once; every command runs in an empty working folder.
"""

import json
import os
import signal
import zipfile

import numpy as np
import pytest

import dysonjax as dj
from dysonjax.cli import main

LINEAR = "linear --lr 0.1 --batch-size 4 --seeds 4 --steps 3 --records 2"
DYSON = "dyson --levels 2 --members 8 --steps 4 --samples 8 --time 0.1"
SECONDS = 30  # in which a refusal must be there

CONFIGURATIONS = {  # what a file for --config may hold by mistake
    "types": "steps = 'many'",
    "list": "steps = [1, 2]",
    "truth": "steps = true",
    "date": "steps = 1979-05-27",
    "fraction": "steps = 2.5",
    "endless": "lr = inf",
    "unknown": "learning_rate = 0.1",
    "twice": "steps = 1\nsteps = 2",
    "in-two-tables": "[a]\nsteps = 1\n[b]\nsteps = 2",
    "two-spellings": "batch-size = 4\nbatch_size = 8",
    "lists": "lr = [[0.1]]",
    "tables": "[[a]]\nsteps = 3",
    "deep": "a = " + "[" * 5000 + "]" * 5000,
    "dots": "a." * 3000 + "a = 1",
    "other-command": "command = 'rbm'",
    "no-command": "command = 5",
    "hidden": "resume = true",
    "zero-byte": 'out = "a\\u0000b"',
    "yaml": "lr: 0.1",
    "nameless": '"" = 1',
    "itself": "config = 'x.toml'",
}
WRONG = [
    # sizes beyond memory or range
    "linear --lr 0.1:1:3000000000",
    "linear --lr 1e-300:1e300:x1.00000001",
    "linear --sigma-w 1e-300:1e300:x1e308",
    "linear --sigma-w 1e-300:1e300:x1e200",
    "linear --batch-size 1e12",
    "linear --batch-size 1e30",
    "linear --batch-size 2147483647",
    "linear --seeds 10000000000000",
    "linear --seeds 2000000000",
    "linear --seeds 99999999999999999999999",
    "linear --seeds 0",
    "linear --seeds -1",
    "linear --steps 2147483648",
    "linear --steps 99999999999999999999999",
    "linear --steps 0",
    "linear --lr 1e300",
    "linear --lr 1e-320",
    "linear --lr 0.1,0.1",
    "linear --sigma-w 1e39",
    "linear --seed 4294967296",
    "linear --seed -1",
    "linear --records 1e9",
    "linear --records log:1000000000000",
    "linear --records 2000000000 --steps 2000000000",
    "linear --steps 10 --records 1000",
    "linear --records ''",
    "linear --records 0",
    "linear --epsilon nan",
    "linear --keep-weights some",
    "linear --backend c",
    "linear --save-every 0",
    "linear --save-every nan",
    "linear --randomness none",
    "phase-diagram --lr 1e300",
    "phase-diagram --seeds 100000000000",
    "phase-diagram --batches 1000000000000",
    "phase-diagram --threshold-memory 2",
    "phase-diagram --seed 99999999999",
    "spikes --s 0",
    "spikes --s nan",
    "spikes --profile 1,-1",
    "spikes --rows 4 --columns 3 --profile 1,1,1,1",
    "spikes --epsilon -1",
    "spikes --blocks 1,0",
    "spikes --columns 64 --blocks 1,1,1",
    "spikes --noise white",
    "spikes --rows 1000000000 --columns 1000000000",
    "spikes --lr 1e300",
    "spikes --s 1e300",
    "spikes --s 1e-300",
    "spikes --s 1,1",
    "spikes --profile 1e300",
    "spikes --profile 1e-300",
    "spikes --profile nan",
    "spikes --profile 0",
    "spikes --epsilon 1e300",
    "spikes --epsilon 0.1,0.1",
    "spikes --blocks 1e300",
    "spikes --blocks nan",
    "spikes --activation sigmoid",
    "spikes --columns 2147483648",
    "spikes --noise gradient --activation tanh",
    "spikes --keep overlaps,none",
    "spikes --keep overlaps-goal",
    "linear --keep ''",
    "rbm --visible 100000 --hidden 100000",
    "rbm --visible 1000000000000",
    "rbm --seed 4294967296",
    "rbm --k 99999999999",
    "nanogpt --width 1000000000",
    "nanogpt --context 1000000000000",
    "nanogpt --seed 4294967296",
    "nanogpt --sample 99999999999",
    "compare linear --members 100000000000",
    "compare linear --seed 4294967296",
    "compare linear --permutations 1000000000000",
    "compare nothing",
    "advise linear --seed 4294967296",
    "advise linear --steps 99999999999",
    "dyson --seed 4294967296",
    "dyson --seed -1",
    "dyson --members 100000000000",
    "dyson --samples 1000000000000",
    "dyson --steps 2147483648",
    "dyson --levels 1000000000",
    "dyson --time nan",
    "dyson --beta 0.5",
    "dyson --records 0",
    "spectrum {good}.npy --seed -1",
    "spectrum {good}.npy --seed 4294967296",
    "spectrum {good}.npy --resamples 100000000000",
    "spectrum {good}.npy --quick --out {good}.npy --overwrite",
    "bench linear --members 10,²",
    "bench linear --members 0",
    "bench linear --members -5",
    "bench linear --figure {folder}",
    "bench linear --out {folder}",
    "bench linear --out {good}.npy",
    "bench linear --figure figure.xyz",
    "bench linear --repetitions 0",
    "bench linear --seeds 99999999999",
    "figure rbm-repulsion --dpi 1000000000",
    "figure nothing",
    "completion tcsh",
    "linear --values 1e300,1e300",
    "linear --epsilon 1e308",
    "linear --z {folder}.npy",
    "linear --records -1",
    "linear --out {good}.npy",
    "linear --out {good}.npy/run",
    "rbm --kappa 1,-1",
    "rbm --covariance {huge}.npy",
    "rbm --covariance {tiny}.npy",
    "nanogpt --line-ends mac",
    "nanogpt --warmup 99999999999",
    "phase-diagram --widths 3,0,4,1",
    "phase-diagram --label-noise 1e300",
    "compare rbm --values 2,2",
    "compare linear --order 3",
    "dyson --time 1e308",
    "dyson --levels 0",
    "advise linear --lr 1:0.1",
    "advise linear --points 0",
    "advise linear --threshold 2",
    "advise linear --threshold 0",
    "spectrum {good}.npy --jobs 0",
    "spectrum {good}.npy --layout none",
    "figure",
    "figure rbm-repulsion --dpi 0",
    "bench linear --only nothing",
    "bench linear --members 1,x",
    "completion",
    # digits that are no digits
    "linear --tile ²",
    "linear --devices ²",
    "linear --shard ²/³",
    "linear --shard 3/2",
    "linear --distributed --coordinator host:² --num-processes 2 --process-id 0 --out x",
    "linear --lr ²",
    "linear --seeds ²",
    # data files
    "rbm --data {empty}.npy",
    "rbm --data {truncated}.npy",
    "rbm --data {truncated}.npz",
    "rbm --data {nothing}.npy",
    "rbm --data {none}.npz",
    "rbm --data {lies}.npy",
    "rbm --data {lies}.npz",
    "rbm --data {text}.npy",
    "rbm --data {half}.csv",
    "rbm --data {empty}.csv",
    "rbm --data {folder}",
    "rbm --data missing.npy",
    "rbm --covariance {complex}.npy",
    "rbm --covariance {objects}.npy",
    "compare linear --z {complex}.npy",
    "spectrum {lies}.npy",
    "spectrum {truncated}.npz",
    "spectrum {empty}.npy",
    "spectrum {nan}.npy",
    "nanogpt --text {empty}.npy",
    "nanogpt --text {good}.npy",
    "nanogpt --text {folder}",
    # run folders
    "resume {folder}",
    "resume missing",
    "resume {good}.npy",
    "info {folder}",
    "info missing",
    "report {folder}",
    "report missing",
    "merge {folder} {folder}",
    "merge missing",
    "watch {folder}",
    "watch {good}.npy",
    "watch missing",
    "watch missing --port 99999999",
    "verify {folder}",
    "verify {good}.npy",
    "verify missing",
    "verify {folder} --members 0",
    "verify {folder} --members 99999999999999999999",
    "verify {folder} --seed -1",
    "export {folder}",
    "export {good}.npy",
    "export missing",
    "spectrum {good}.npy --resume",
    "spectrum {good}.npy --resume --out missing",
    "spectrum {good}.npy --resume --out {folder}",
    "spectrum {good}.npy --resume --out {loop}.npy",
    # paths
    *(
        f"{command} {path}"
        for command in ("info", "resume", "report", "merge", "spectrum", "watch", "verify", "export")
        for path in (
            "{loop}.npy",
            "{loop}.npy/x",
            "{good}.npy/x",
            "{dangling}.npy",
            "{pipe}.npy",
            "a\0b",
            "{long}",
        )
    ),
    *(
        f"{LINEAR} --out {path}"
        for path in (
            "{loop}.npy",
            "{loop}.npy/x",
            "{dangling}.npy/x",
            "{pipe}.npy",
            "a\0b",
            "{long}",
            "/dev/null/x",
        )
    ),
    *(
        f"{command} {path}.npy"
        for path in ("{loop}", "{pipe}", "a\0b", "{long}", "{folder}")
        for command in (
            "rbm --data",
            "rbm --covariance",
            "compare linear --z",
            "spectrum {good}.npy --start",
        )
    ),
    "dyson --out a\0b",
    "bench linear --out a\0b",
    "bench linear --out {long}",
    "bench linear --out {almost}",
    "bench linear --out /proc/bench.json",
    "bench linear --figure /proc/bench.png",
    "nanogpt --text a\0b",
    "nanogpt --text {pipe}.npy",
    "nanogpt --text {loop}.npy",
    "figure rbm-repulsion --released {loop}.npy",
    "figure rbm-repulsion --released {folder}",
    "figure rbm-repulsion --released missing",
    "spectrum {good}.npy --start {nothing}.npy",
    "spectrum {good}.npy --start {folder}",
    # configurations
    *(f"linear --config {{{name}}}.toml" for name in CONFIGURATIONS),
    "linear --config {loop}.npy",
    "linear --config {pipe}.npy",
    "linear --config {good}.npy",
    "linear --config {folder}",
    "linear --config a\0b",
    "linear --config missing.toml",
    "linear --config",
    "linear --print-config --steps many",
    # options
    "linear -x",
    "linear -qv --steps many",
    "-q linear",
    "nothing",
    "linear --nothing",
    "linear --steps many",
    "linear --out",
    "dyson --levels 1.5",
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Good and bad files, by name."""
    place = tmp_path_factory.mktemp("files")
    good = np.random.default_rng(0).standard_normal((30, 10))
    np.save(place / "good.npy", good)
    np.save(place / "nan.npy", good * np.nan)
    np.savez(place / "truncated.npz", good)
    np.savez(place / "none.npz")
    for name in ("truncated.npy", "truncated.npz"):
        whole = (place / "good.npy").read_bytes() if name.endswith("npy") else (place / name).read_bytes()
        (place / name).write_bytes(whole[: len(whole) // 2])
    (place / "empty.npy").touch()
    (place / "empty.csv").touch()
    (place / "text.npy").write_text("no array\n" * 20)
    np.save(place / "nothing.npy", np.zeros((0, 10)))
    np.save(place / "complex.npy", np.eye(10) * (1 + 0.1j))
    np.save(place / "objects.npy", np.array([{}, []], object))
    np.save(place / "huge.npy", np.eye(3) * 1e308)
    np.save(place / "tiny.npy", np.eye(3) * 1e-320)
    (place / "half.csv").write_text("1.0,a\n2.0,3.0\n")
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999, 9999999), }"
    header += b" " * (117 - len(header)) + b"\n"
    (place / "lies.npy").write_bytes(
        b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + bytes(80)
    )

    with zipfile.ZipFile(place / "lies.npz", "w") as archive:
        archive.writestr("a.npy", (place / "lies.npy").read_bytes())
    (place / "folder").mkdir()
    (place / "loop.npy").symlink_to(place / "loop.npy")
    (place / "dangling.npy").symlink_to(place / "gone")
    os.mkfifo(place / "pipe.npy")
    for name, text in CONFIGURATIONS.items():
        (place / f"{name}.toml").write_text(text)
    names = {p.stem for p in place.iterdir()}
    return {name: str(place / name) for name in names} | {"long": 300 * "x", "almost": 253 * "x"}


def words(text: str, names: dict) -> list[str]:
    return [word.strip("'").format(**names) for word in text.split()]


@pytest.fixture
def hurry():
    """No refusal may take long: what is refused is not computed first."""

    def late(*_):
        raise AssertionError(f"no answer within {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_input_is_one_sentence_and_leaves_nothing(text, files, tmp_path, monkeypatch, capsys, hurry):
    monkeypatch.chdir(tmp_path)
    code = main(words(text, files))
    captured = capsys.readouterr()
    assert code == 2, (code, captured.err[-300:])
    lines = captured.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("dysonjax: ") and "Error" not in lines[0], captured.err
    assert "Traceback" not in captured.err and len(lines[0]) < 400
    assert not list(tmp_path.iterdir())


def test_the_table_is_long_and_holds_every_command():
    from dysonjax.cli import COMMANDS

    assert len(set(WRONG)) == len(WRONG) > 60
    assert set(COMMANDS) - {text.split()[0] for text in WRONG} == {"doctor"}


def python(files):
    """Calls of the Python functions that must raise InputError."""
    grid, model = dj.Grid(0.1, 4), dj.models.linear()
    train = lambda **options: dj.train(model, grid, 2, **({"records": 1} | options))  # noqa: E731
    gas = lambda key: dj.dyson.CoulombGas(dj.dyson.quadratic(1.0, 0.0), 0.5, 1.0, 2).sample(key, 10)  # noqa: E731
    integrate = lambda key: dj.dyson.integrate(  # noqa: E731
        dj.dyson.quadratic(1.0, 0.0), 0.5, np.array([[0.0, 1.0]]), time=1.0, steps=2, key=key
    )
    data = dj.train(model, grid, 2, 1).dataset
    return {
        "read None": lambda: dj.read(None),
        "read a number": lambda: dj.read(5),
        "read a file": lambda: dj.read(files["good"] + ".npy"),
        "resume None": lambda: dj.resume(None, model),
        "scalars as a list": lambda: dj.Grid(0.1, 4, scalars=[0.1]),
        "lr as text": lambda: dj.Grid("0.1", 4),
        "lr None": lambda: dj.Grid(None, 4),
        "lr as a dict": lambda: dj.Grid({0.1: 1}, 4),
        "first_seed of 2**32": lambda: dj.Grid(0.1, 4, first_seed=2**32),
        "seeds beyond 2**32": lambda: dj.Grid(0.1, 4, first_seed=2**32 - 2, seeds=3),
        "seed of 2**32": lambda: train(key=2**32),
        "seed of 2**70": lambda: train(key=2**70),
        "seed as text": lambda: train(key="1"),
        "steps of 2**31": lambda: dj.train(model, grid, 2**31, 1),
        "seeds beyond memory": lambda: dj.train(model, dj.Grid(0.1, 4, seeds=2**31 - 1), 2, 1),
        "batch beyond memory": lambda: dj.train(model, dj.Grid(0.1, 2**31 - 1), 2, 1),
        "lr beyond float32": lambda: dj.train(model, dj.Grid(1e300, 4), 2, 1),
        "lr below float32": lambda: dj.train(model, dj.Grid(1e-320, 4), 2, 1),
        "no records": lambda: train(records=[]),
        "records as text": lambda: train(records="2"),
        "records None": lambda: train(records=None),
        "x64 as text": lambda: train(x64="no"),
        "x64 as a number": lambda: train(x64=2),
        "out as a number": lambda: train(out=5),
        "progress as a number": lambda: train(progress=5),
        "say as a number": lambda: train(say=5),
        "announce as text": lambda: train(announce="x"),
        "tile as text": lambda: train(tile="²"),
        "tile as a list": lambda: train(tile=[1]),
        "devices as text": lambda: train(devices="²"),
        "devices as a float": lambda: train(devices=1.5),
        "no model": lambda: dj.train("linear", grid, 2, 1),
        "no grid": lambda: dj.train(model, {"lr": 0.1}, 2, 1),
        "optimizer as a number": lambda: train(optimizer=5),
        "merge nothing": lambda: dj.merge([], "out"),
        "merge a text": lambda: dj.merge("runs", "out"),
        "merge a zero byte": lambda: dj.merge(["a\0b"], "out"),
        "read a pipe": lambda: dj.read(files["pipe"] + ".npy"),
        "read a circle": lambda: dj.read(files["loop"] + ".npy"),
        "out in a circle": lambda: train(out=files["loop"] + ".npy/run"),
        "out too long": lambda: train(out=300 * "x"),
        "out with a zero byte": lambda: train(out="a\0b"),
        "out without characters of a name": lambda: train(out="\ud800"),
        "spectrum of a pipe": lambda: dj.spectrum(files["pipe"] + ".npy"),
        "spectrum of a name too long": lambda: dj.spectrum(300 * "x"),
        "steps of 5000 digits": lambda: dj.train(model, grid, 10**5000, 1),
        "lr of 400 digits": lambda: dj.Grid(10**400, 4),
        "seed of 5000 digits": lambda: train(key=10**5000),
        "keep two opposites": lambda: train(keep="none,overlaps"),
        "keep a number": lambda: train(keep=3),
        "spikes without values": lambda: dj.models.spiked_teacher(profile=[]),
        "spikes beyond their squares": lambda: dj.models.spiked_teacher(s=1e30),
        "spikes of text": lambda: dj.models.spiked_teacher(profile="a"),
        "more spikes than columns": lambda: dj.models.spiked_teacher(4, 2, (1.0, 1.0, 1.0)),
        "advice for any loss": lambda: dj.advise(model, lr=(0.1, 1), sigma_w=(0.1, 1), threshold=1.5),
        "merge None": lambda: dj.merge([None], "out"),
        "classify without test loss": lambda: dj.phase.classify(data),
        "gas with a fraction as key": lambda: gas(0.5),
        "gas with None as key": lambda: gas(None),
        "integrate with a negative number as key": lambda: integrate(-5),
        "draws with a text as key": lambda: dj.spectra.sample_beta_hermite("a", n=2, beta=1.0, scale=1.0),
        "mp of text": lambda: dj.spectra.MarchenkoPastur(ratio="x", sigma2=1.0),
        "labels of complex levels": lambda: dj.spectra.spacing_ratio(np.ones((3, 4)) * 1j),
    }


def test_wrong_arguments_of_functions_raise_input_errors(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wrong = {}
    for name, call in python(files).items():
        try:
            call()
            wrong[name] = "accepted"
        except dj.InputError as error:
            if "\n" in str(error):
                wrong[name] = f"more than a sentence: {error}"
        except Exception as error:
            wrong[name] = f"{type(error).__name__}: {error}"[:150]
    assert not wrong, json.dumps(wrong, indent=1)
    assert not list(tmp_path.iterdir())

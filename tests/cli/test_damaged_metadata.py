"""Metadata of a run folder that are not what was written: a sentence that names the file, nothing changed."""

import copy
import json
import shutil

import pytest

from dysonjax.cli import main

pytestmark = pytest.mark.usefixtures("sketches")

COMMANDS = ("info", "report", "resume", "merge")
WRONG = (None, 5, "x", [], {}, True, -1, [[[[]]]])


@pytest.fixture
def run(shards, tmp_path):
    shutil.copytree(shards, tmp_path / "runs")
    return tmp_path / "runs" / "1"


def attempt(run, capsys, expect_file: str | None = None, commands=COMMANDS) -> dict[str, int]:
    """Exit codes of the commands that read a run folder; a refusal is one sentence and changes nothing."""
    codes = {}
    for command in commands:
        words = [command, str(run)]
        if command == "merge":
            words += [str(run.parent / "2"), "--out", str(run.parent / "merged")]
        before = content(run)
        codes[command] = main([*words, "--quiet"])
        error = capsys.readouterr().err
        assert codes[command] in (0, 2), (command, error)
        assert "Error" not in error and "Traceback" not in error, (command, error)
        if codes[command] == 2:
            assert error.startswith("dysonjax: ") and error.count("\n") == 1 and len(error) < 500
            assert content(run) == before and not (run.parent / "merged").exists(), command
            assert expect_file is None or expect_file in error or "--shard" in error, (command, error)
        else:
            shutil.rmtree(run.parent / "merged", ignore_errors=True)
            (run / "report.html").unlink(missing_ok=True)
    return codes


def content(folder) -> dict:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


RAW = {
    "empty": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "a number": b"5",
    "null": b"null",
    "deep": b"[" * 100_000,
    "deep objects": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "no text": b"\xff\xfe\x00",
    "NaN": b"NaN",
}


# Both files are read in one place: every kind of content is tried on one of them.
KINDS = [("run.json", how) for how in [*RAW, "folder"]]
KINDS += [("summary.json", how) for how in ("no JSON", "deep")]
REST = [("summary.json", how) for how in [*RAW, "folder"] if ("summary.json", how) not in KINDS]


@pytest.mark.parametrize(
    ("file", "how"), [*KINDS, *(pytest.param(*case, marks=pytest.mark.slow) for case in REST)]
)
def test_files_that_hold_something_else(file, how, run, capsys):
    path = run / file
    path.unlink()
    path.mkdir() if how == "folder" else path.write_bytes(RAW[how])
    # That no command goes on with what it cannot read has three kinds to show; all are read in one place.
    commands = COMMANDS if file == "run.json" or how in ("no JSON", "a list", "folder") else COMMANDS[:2]
    assert 2 in attempt(run, capsys, file, commands).values()


def changed(tree: dict):
    """The tree with every key removed, and with every value of another type, one at a time."""
    for key, value in tree.items():
        yield f"no {key}", {k: v for k, v in tree.items() if k != key}
        for wrong in WRONG:
            if type(wrong) is not type(value):
                yield f"{key} = {wrong!r}", tree | {key: wrong}
        if isinstance(value, dict):
            for name, inner in changed(value):
                yield f"{key}.{name}", tree | {key: inner}


@pytest.mark.parametrize("file", ["run.json", pytest.param("summary.json", marks=pytest.mark.slow)])
def test_every_key_missing_or_of_another_type(file, run, capsys):
    path = run / file
    tree = json.loads(path.read_text())
    refused = 0
    kept = {"run.json": {"format", "command", "version"}, "summary.json": {"command", "seconds", "phases"}}
    always = {"command = 5", "seconds = 'x'"}
    for number, (name, wrong) in enumerate(changed(tree), 1):
        if (
            name.split()[-1] not in kept[file] and name not in always and number % 127
        ):  # and a sample of others
            continue
        path.write_text(json.dumps(wrong))
        # Where a key is missing every command is tried, and those that take long for a fourth of the others.
        codes = attempt(run, capsys, commands=COMMANDS if "no " in name or number % 4 == 0 else COMMANDS[:2])
        refused += 2 in codes.values()
    assert refused > 1


def test_a_truth_value_is_no_number_of_an_option(run, capsys):
    recorded = json.loads((run / "run.json").read_text())
    recorded["options"]["training"]["steps"] = True
    (run / "run.json").write_text(json.dumps(recorded))
    assert main(["resume", str(run), "--quiet"]) == 2
    assert "run.json is damaged: the option steps cannot be 'True'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "sums", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["with sums", "without"]
)
def test_attributes_of_the_store(sums, run, capsys):
    """With sums every change is noticed; without, as in older versions, those that make a difference."""
    path = run / "run.zarr" / "zarr.json"
    tree = json.loads(path.read_text())
    if not sums:
        shutil.rmtree(run / "checksums")
    for key in ("config", "summary", "format", "seeds_per_block", "versions", "device"):
        kinds = ("missing", None, 5, "x", [], {}, '"x"', "[]", "{}", "[" * 5000)
        for wrong in kinds[:3] if sums else kinds:
            attributes = copy.deepcopy(tree["attributes"])
            attributes.pop(key) if wrong == "missing" else attributes.update({key: wrong})
            path.write_text(json.dumps(tree | {"attributes": attributes}))
            for command in ("info", "report") if key in ("config", "summary") else ("info",):
                code, error = main([command, str(run), "--quiet"]), capsys.readouterr().err
                assert code in ((2,) if sums else (0, 2)), (key, wrong, command, error)
                assert "Error" not in error and error.count("\n") <= 1
                (run / "report.html").unlink(missing_ok=True)
                if code == 0:
                    assert key in ("versions", "device", "summary") or (wrong == 5 and key != "config")


def test_a_configuration_that_nothing_tells_is_not_made_up(run, capsys):
    """Without attributes and checkpoints nobody knows what the chunks are of."""
    path = run / "run.zarr" / "zarr.json"
    tree = json.loads(path.read_text())
    (run / "summary.json").unlink()
    del tree["attributes"]["config"]
    path.write_text(json.dumps(tree))
    shutil.rmtree(run / "checkpoints")
    before = content(run)
    assert main(["resume", str(run), "--quiet"]) == 2
    assert "no checkpoint says with which configuration" in capsys.readouterr().err
    assert content(run) == before


def test_a_configuration_that_a_checkpoint_tells_is_written_anew(run, capsys):
    path = run / "run.zarr" / "zarr.json"
    tree = json.loads(path.read_text())
    del tree["attributes"]["config"]
    path.write_text(json.dumps(tree))
    assert main(["resume", str(run), "--quiet"]) == 0
    assert "writing them anew" in capsys.readouterr().err
    assert main(["info", str(run), "--quiet"]) == 0


@pytest.mark.parametrize(
    "where", ["run.zarr", "checkpoints", "run.zarr/zarr.json", "run.zarr/lr/c/0", "run.lock"]
)
def test_a_file_or_folder_in_the_place_of_the_other(where, run, capsys):
    path = run / where
    if path.is_dir():
        shutil.rmtree(path)
        path.write_text("x")
    else:
        path.unlink(missing_ok=True)
        path.mkdir()
    (run / "summary.json").unlink()
    for command in ("info", "report", "resume"):
        code, error = main([command, str(run), "--quiet"]), capsys.readouterr().err
        assert code in (0, 1, 2) and "Error" not in error and "Errno" not in error, (command, error)
        (run / "report.html").unlink(missing_ok=True)


def test_escape_sequences_in_attributes_do_not_reach_the_terminal(run, capsys):
    path = run / "run.zarr" / "zarr.json"
    shutil.rmtree(run / "checksums")
    text = path.read_text().replace("learning rate", "\\u001b[2J\\u001b]0;owned\\u0007rate")
    path.write_text(text)
    assert main(["info", str(run)]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_a_link_is_no_figure_of_a_run(run, tmp_path):
    (tmp_path / "secret").write_text("-----BEGIN KEY-----")
    (run / "extra.png").symlink_to(tmp_path / "secret")
    assert main(["report", str(run), "--quiet"]) == 0
    import base64

    assert base64.b64encode(b"-----BEGIN KEY").decode()[:12] not in (run / "report.html").read_text()

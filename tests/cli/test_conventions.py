"""Help, configuration files and closing lines of every command, by the conventions of the command line."""

import importlib
import re
import tomllib

import pytest

from dysonjax.cli import COMMANDS, config_file, main, next_step


def command_of(name):
    module, _, cls = COMMANDS[name][0].partition(":")
    return getattr(importlib.import_module(module), cls)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_its_options_in_groups_and_nothing_that_nobody_types(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: dysonjax {name}") and "None" not in text
    assert max(map(len, text.splitlines())) <= 80
    groups = re.findall(r"^(arguments|physics|run|machine|results|always):$", text, re.M)
    order = ["arguments", "physics", "run", "machine", "results", "always"]
    assert groups == [group for group in order if group in groups] and groups[-1] == "always"
    listed = set(re.findall(r"^  (?:-q, )?--(?:no-)?([a-z0-9-]+)", text, re.M))
    fields = config_file.fields(command_of(name))
    positional = {key for key, field in fields.items() if "Positional" in str(field.type)}
    missing = {key.replace("_", "-") for key in fields.keys() - positional} - listed
    assert not missing


def test_the_overview_names_every_command_once_by_its_purpose(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    listed = re.findall(r"^  ([a-z-]+) {2,}\w", text, re.M)
    assert sorted(listed) == sorted(COMMANDS)
    assert text.index("train networks:") < text.index("a run:") < text.index("this machine:")


def test_the_physics_of_the_grid_comes_first_and_a_preset_is_named_as_what_it_is(capsys):
    main(["phase-diagram", "--help"])
    text = capsys.readouterr().out
    physics = text[text.index("physics:") :]
    assert re.findall(r"^  --([a-z-]+)", physics, re.M)[:3] == ["lr", "batch-size", "sigma-w"]
    assert (
        " ".join(text.split()).count("(default: from --preset)") == 5
        and "--activation {tanh,relu,identity}" in text
    )


def test_a_positional_argument_without_default_is_required(capsys):
    main(["info", "--help"])
    assert "usage: dysonjax info FOLDER [options]" in capsys.readouterr().out
    main(["compare", "--help"])
    assert "usage: dysonjax compare {rbm,linear} [options]" in capsys.readouterr().out
    main(["merge", "--help"])
    assert "usage: dysonjax merge FOLDERS ... [options]" in capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_no_word_of_the_parser_and_no_number_of_many_digits(name, capsys):
    main([name, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert not re.search(r"\bSTR\b|\[\[|default: \)|\d\.\d{12}", text)
    assert "-q, --quiet" in text
    # A closed choice that is shown is not told again in words.
    for choices, rest in re.findall(r"\{([a-z0-9,-]+)\} (.{60})", text):
        assert not rest.startswith(" or ".join(", ".join(choices.split(",")).rsplit(", ", 1)))


def test_help_says_what_a_width_of_the_weights_is_in_this_model(capsys):
    said = {"spikes": "N(0, sigma_W^2/M)", "rbm": "N(0, sigma_W^2/N_v)", "nanogpt": "Factors sigma_W of the"}
    for name, words in said.items():
        main([name, "--help"])
        text = " ".join(capsys.readouterr().out.split())
        assert words in text and "sigma_W^2/n_in" not in text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("dyson --potential foo", "potential must be one of quadratic, laguerre, "),
        ("phase-diagram --backend c", "backend must be one of auto, cuda, native, xla, got 'c'"),
        ("bench rbm --sampler exact", "sampler must be one of gibbs, collapsed, got 'exact'"),
        ("dyson --time soon", "--time must be a number, got 'soon'"),
        ("dyson --levels 1.5", "--levels must be an integer, got '1.5'"),
        ("nanogpt --line-ends crlf", "line_ends must be one of plain, kept, got 'crlf'"),
        ("advise foo", "model must be one of teacher-student, rbm, linear, got 'foo'"),
        ("info", "info needs FOLDER (see dysonjax info --help)"),
        ("completion", "completion needs SHELL"),
        ("compare", "name a system: rbm or linear"),
        ("rbm --sedes 3", "rbm has no option --sedes; did you mean --seeds? (see"),
        ("rbm --sedes=3", "rbm has no option --sedes; did you mean --seeds? (see"),
        ("info a b", "info cannot use 'b': no option or argument takes it"),
        ("rbm --seeds", "--seeds needs a value"),
        ("phase-diagramm", "unknown command 'phase-diagramm'; did you mean phase-diagram?"),
        ("info nowhere", "nowhere holds no run: there is no such folder; name one that a command wrote"),
        ("report nowhere", "nowhere holds no run: there is no such folder; name one that a command wrote"),
        ("resume nowhere", "nowhere holds no run: there is no such folder; name one that a command wrote"),
    ],
)
def test_a_wrong_choice_or_number_is_told_in_one_sentence(words, sentence, capsys):
    assert main(words.split()) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1


CONFIGURABLE = [name for name in COMMANDS if name not in ("completion",)]
WORDS = {"info": ["x"], "report": ["x"], "watch": ["x"], "export": ["x"], "verify": ["x"],
         "resume": ["x"], "merge": ["x", "y"], "spectrum": ["x.npy"],
         "compare": ["rbm"], "advise": ["linear"], "figure": ["phase-diagram"], "bench": ["rbm"]}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGURABLE)
def test_a_printed_configuration_is_read_as_the_same_command(name, capsys, tmp_path):
    assert main([name, *WORDS.get(name, []), "--print-config"]) == 0
    text = capsys.readouterr().out
    assert tomllib.loads(text)["command"] == name
    file = tmp_path / "run.toml"
    file.write_text(text)
    assert main([name, "--config", str(file), "--print-config"]) == 0
    assert capsys.readouterr().out == text


def test_a_configuration_gives_way_to_what_is_typed_and_may_have_tables(capsys, tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("[physics]\nlr = [0.1, 0.2]\nmu = -2\n[run]\nseeds = 3\nx64 = true\n")
    assert main(["rbm", f"--config={file}", "--seeds", "5", "--print-config"]) == 0
    found = tomllib.loads(capsys.readouterr().out)
    assert (found["lr"], found["mu"], found["seeds"], found["x64"]) == ("0.1,0.2", -2.0, 5, True)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("learning_rate = 1", "rbm has no option learning_rate; dysonjax rbm --help lists them"),
        ("lr = ", "is no TOML file"),
        ('command = "linear"', "is the configuration of dysonjax linear, not of rbm"),
        ("lr = 1979-05-27", "lr must be a text, a number or a list of them"),
        ('sampler = "exact"', "sampler must be one of gibbs, collapsed, got 'exact'"),
    ],
)
def test_a_wrong_configuration_is_one_sentence(text, sentence, capsys, tmp_path):
    file = tmp_path / "run.toml"
    file.write_text(text)
    assert main(["rbm", "--config", str(file)]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
    assert main(["rbm", "--config", str(tmp_path / "none.toml")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_every_command_ends_with_what_to_do_next():
    summary = {"out": "runs/a b", "name": "digits", "finished": False, "healthy": True}
    lines = {name: next_step.sentence(name, summary) for name in COMMANDS}
    assert lines.pop("completion") is None and all(line.startswith("next: ") for line in lines.values())
    assert lines["rbm"] == "next: dysonjax report 'runs/a b'" == lines["merge"]
    assert lines["info"] == "next: dysonjax resume 'runs/a b'"
    assert lines["spectrum"] == "next: open 'runs/a b'/report.html in a browser"
    assert next_step.sentence("rbm", {}) == "next: the same command without --dry-run"


def test_what_to_do_after_a_figure_and_after_verifying_what_was_exported(tmp_path):
    made = {"command": "figure", "name": "digits", "out": "runs/figures", "checks": []}
    assert next_step.sentence("figure", made) == (
        "next: look at runs/figures/digits.png; digits.nc holds its numbers, and "
        "dysonjax export runs/figures writes all for publication"
    )
    assert next_step.sentence("figure", {"figures": [made]}) == "next: look at the .png files"
    listed = {"figures": [{"name": "digits", "command": "dysonjax figure digits"}]}
    assert next_step.sentence("figure", listed) == "next: dysonjax figure NAME --quick"
    verified = {"out": str(tmp_path), "equal": True}
    assert next_step.sentence("verify", verified) == f"next: dysonjax export {tmp_path}"
    (tmp_path / "ro-crate-metadata.json").touch()
    assert next_step.sentence("verify", verified) == f"next: dysonjax report {tmp_path}"


@pytest.mark.parametrize("name", ["info", "report", "verify", "export", "watch", "resume"])
def test_a_folder_of_figures_is_told_from_a_run(name, tmp_path, capsys):
    (tmp_path / "digits.nc").touch()
    assert main([name, str(tmp_path)]) == 2
    taken = name in ("info", "verify", "export")
    wanted = (
        "holds no figure with its summary" if taken else "holds figures and no run; info, verify and export"
    )
    error = capsys.readouterr().err
    assert wanted in error and error.count("\n") == 1


def test_tables_have_words_on_the_left_and_numbers_on_the_right(capsys):
    from dysonjax.cli.terminal import Terminal, amount

    rows = [["a", "noise", "1.0 ± 0.1"], ["a-long-name", "heavy tail", "-12 s"]]
    Terminal().table("t", ["name", "verdict", "value"], rows)
    out = capsys.readouterr().out
    assert "│ noise      │ 1.0 ± 0.1 │" in out and "│ heavy tail │     -12 s │" in out
    found = [amount(value, "steps/s") for value in (3.94e6, 208.4, 2.1e9)]
    assert found == ["3.94 M steps/s", "208 steps/s", "2.1 G steps/s"]


def test_choices_are_told_in_the_order_of_their_type_in_groups_of_options_too():
    from dysonjax.cli import choices
    from dysonjax.cli.bench import Bench
    from dysonjax.cli.rbm import Rbm

    assert choices.of_option(Rbm, "keep-weights") == ["none", "last", "all"]
    assert choices.of_option(Rbm, "dynamics") == ["pcd", "langevin", "langevin-chains"]
    assert choices.of_option(Bench, "sampler") == ["gibbs", "collapsed"]
    assert choices.of_option(Rbm, "mu") == choices.of_option(Rbm, "nothing") == []

"""The workflow in `examples/snakemake`: its commands have the options they use, and Snakemake accepts it."""

import ast
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from dysonjax.cli import COMMANDS, _parse, main

EXAMPLE = Path(__file__).parents[1] / "examples" / "snakemake"
TEXT = (EXAMPLE / "Snakefile").read_text()
CONFIG = {
    "out": "OUT", "lr": "0.25,2", "sigma_w": "0.5,8", "batch_sizes": [4], "seeds": 3, "steps": 20,
    "records": 3, "figures": ["phase-diagram"], "verify_members": 2, "license": "CC0-1.0",
    "authors": ["Weyl, Hermann"],
}  # fmt: skip


def rules() -> dict[str, str]:
    """The shell command of every rule, as it stands in the file."""
    found = {}
    for name, body in re.findall(r"^rule (\w+):.*\n((?:    .*\n|\n)+)", TEXT, re.M):
        shell = re.search(r"^    shell:\n((?:        .*\n)+)", body, re.M)
        if shell:
            found[name] = ast.literal_eval(f"({shell[1]})")
    return found


def commands(out: str) -> dict[str, list[str]]:
    """The words of every rule's command, for one batch size and figure."""
    size, run = "4", f"{out}/run-4"
    grid = f"--lr {CONFIG['lr']} --sigma-w {CONFIG['sigma_w']} --batch-size {size}"
    length = f"--seeds {CONFIG['seeds']} --steps {CONFIG['steps']} --records {CONFIG['records']}"
    authors = " ".join(f'"{name}"' for name in CONFIG["authors"])
    params = SimpleNamespace(grid=grid, length=length, members=2, authors=authors, license=CONFIG["license"])
    place = {
        "grid": {"input": "", "output": run},
        "report": {"input": run, "output": f"{out}/report.html"},
        "verify": {"input": run, "output": f"{out}/verified.json"},
        "figure": {"input": run, "output": f"{out}/figures/phase-diagram.png"},
        "publish": {"input": SimpleNamespace(run=run), "output": f"{out}/published-4/README.md"},
    }
    wildcards = SimpleNamespace(size=size, figure="phase-diagram")
    return {
        name: shlex.split(
            shell.format(**place[name], params=params, wildcards=wildcards, threads=1, OUT=out).split(" > ")[
                0
            ]
        )
        for name, shell in rules().items()
    }


def test_every_rule_is_a_command_with_options_that_it_has(tmp_path):
    found = commands(str(tmp_path))
    assert found.keys() == {"grid", "report", "verify", "figure", "publish"}
    for program, name, *words in found.values():
        assert program == "dysonjax" and name in COMMANDS
        _parse(name, words)  # raises InputError for an unknown option or value


def test_every_entry_of_the_configuration_is_used():
    keys = set(re.findall(r"^(\w+):", (EXAMPLE / "config.yaml").read_text(), re.M))
    assert keys == CONFIG.keys() == set(re.findall(r"config\[['\"](\w+)['\"]\]", TEXT))


def test_snakemake_accepts_the_workflow(tmp_path):
    if shutil.which("snakemake") is None:
        pytest.skip("Snakemake is not installed")
    shutil.copytree(EXAMPLE, tmp_path / "x")
    command = ["snakemake", "--dry-run", "--cores", "2"]
    done = subprocess.run(command, cwd=tmp_path / "x", capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "run-8" in done.stdout + done.stderr


@pytest.mark.slow
def test_the_commands_one_after_the_other_make_all_files(tmp_path):
    found = commands(str(tmp_path))
    for name in ("grid", "report", "verify", "figure", "publish"):
        assert main(found[name][1:]) == 0, name
    for path in ("report.html", "figures/phase-diagram.png", "published-4/README.md"):
        assert (tmp_path / path).exists()

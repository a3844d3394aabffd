"""The report as a reader meets it: one file, everything in it, nothing fetched."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import xarray as xr

import dysonjax as dj
from dysonjax.cli import main
from dysonjax.report import page, tables, verdicts

SMALL = [
    "--seeds",
    "20",
    "--lr",
    "0.1,0.2",
    "--batch-size",
    "4",
    "--steps",
    "40",
    "--records",
    "5",
    "--quiet",
]


class Page(HTMLParser):
    """What a test asks about an HTML page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.tables, self.open, self.text = [], [], [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.links += [attributes[name] for name in ("src", "href", "action", "srcset") if name in attributes]
        if tag not in ("meta", "img", "link", "br"):
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append(0)
        elif tag in ("td", "th"):
            self.tables[-1][-1] += 1

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "a <run> & more"
    assert main(["linear", *SMALL, "--out", str(path)]) == 0
    return path


def test_a_report_is_one_page_with_every_figure_and_table_and_no_request(folder, tmp_path, capsys):
    out = tmp_path / "report.html"
    assert main(["report", str(folder), "--out", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    text = out.read_text()
    parsed = Page(text)
    assert parsed.open == []
    assert all(link.startswith(("data:", "#")) for link in parsed.links)
    names = text.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")  # a name, not an address
    assert "http" not in names and "@import" not in text and "url(" not in text
    assert 'name="viewport"' in text and "@media print" in text
    assert text.count("data:image/png") == len(list(folder.glob("*.png"))) + 1 == len(found["figures"])
    assert len(parsed.tables) == len(found["tables"])
    assert {"grid points", "degenerate pairs", "levels", "configuration"} <= set(found["tables"])
    assert all(len(set(table)) == 1 for table in parsed.tables)  # as many cells in every row
    assert len(parsed.tables[found["tables"].index("levels")]) == 1 + 2 * 2  # 2 points x 2 levels
    assert found["finished"] and "All 40 networks were trained to the end." in parsed.text
    assert "dysonjax linear --lr 0.1,0.2 --batch-size 4 --seeds 20 --steps 40 --records 5" in parsed.text
    assert "<run>" not in text and "&lt;run&gt; &amp; more" in text


def test_existing_output_is_kept(folder, tmp_path, capsys):
    out = tmp_path / "mine.html"
    out.write_text("mine")
    assert main(["report", str(folder), "--out", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err and out.read_text() == "mine"
    assert main(["report", str(folder), "--out", str(out), "--overwrite", "--quiet"]) == 0
    assert out.read_text().startswith("<!DOCTYPE html>")


@pytest.mark.filterwarnings("ignore:Failed to open Zarr store with consolidated metadata")
def test_an_unfinished_run_is_reported_from_what_is_there_and_marked_so(folder, tmp_path, capsys):
    """One learning rate has all but the last two records, the other none."""
    half = tmp_path / "half"
    dataset = xr.open_zarr(folder / "run.zarr").load()
    for name, variable in dataset.data_vars.items():
        if "record" in variable.dims:
            empty = False if variable.dtype == bool else np.nan
            variable[{"lr": 0, "record": slice(3, None)}] = empty
            variable[{"lr": 1}] = empty
        elif name.startswith("target"):
            variable[{"lr": 1}] = np.nan
    del dataset.attrs["summary"]
    dataset.to_zarr(half / "run.zarr", consolidated=False)
    assert main(["report", str(half), "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    text = (half / "report.html").read_text()
    assert not found["finished"] and "not finished" in text and "30 % so far" in text
    assert "warning: This run is not finished" in captured.err
    assert "not yet" in text and found["figures"] == ["training curves"]


@pytest.mark.parametrize("prepare", ["nothing", "empty", "file", "damaged"])
def test_a_folder_without_a_run_is_bad_input(prepare, tmp_path, capsys):
    path = tmp_path / "x"
    if prepare == "file":
        path.write_text("")
    elif prepare != "nothing":
        path.mkdir()
    if prepare == "damaged":
        (path / "summary.json").write_text('{"members": ')
    assert main(["report", str(path)]) == 2
    error = capsys.readouterr().err
    assert ("is damaged" if prepare == "damaged" else "holds no run") in error
    assert len(error.splitlines()) == 1 and not (path / "report.html").exists()


def test_numbers_show_the_digits_that_their_errors_leave():
    assert page._cell((0.123456, 0.0056)).endswith(">0.1235 ± 0.0056</td>")
    assert page._cell((123.456, 5.6)).endswith(">123.5 ± 5.6</td>")
    assert page._cell((0.5, float("nan"))).endswith(">0.5</td>")
    assert page._cell(7) == '<td data-value="7">7</td>'


def test_means_of_the_point_table_are_those_of_the_dataset(folder):
    dataset = dj.read(folder).load()
    table = tables.of_points(dataset)
    column = table.columns.index("train_loss")
    losses = dataset["train_loss"].isel(batch_size=0, sigma_w=0, record=-1).transpose("lr", "seed").values
    for row, values in zip(table.rows, losses, strict=True):
        assert row[column][0] == pytest.approx(values.mean())
        assert row[column][1] == pytest.approx(values.std(ddof=1) / np.sqrt(20))


def test_levels_that_still_move_are_noticed(folder):
    """The linear network is at rest after 40 steps of α = 0.2 or more, but not in its first steps."""
    dataset = dj.read(folder).load()
    assert verdicts.still_moving(dataset) is not None  # α = 0.1: e^{-4} of the way is left
    assert "1 of 2" in verdicts.still_moving(dataset)
    assert verdicts.still_moving(dataset.sel(lr=[0.2])) is None


def test_a_deviation_from_theory_is_stated_with_its_size():
    summary = {"spacing_mean": [[0.5, 1.0]], "spacing_sem": [[0.1, 0.1]], "spacing_theory": [[None, 2.0]],
               "pairs": [1], "targets": [1.0, 2.0, 2.0]}  # fmt: skip
    (sentence,) = verdicts.sentences(summary)
    assert sentence.startswith("0 of 1") and "10.0 standard errors" in sentence


def test_a_finished_run_of_python_is_finished_in_its_report_with_its_speed(tmp_path):
    from dysonjax.report import gather

    grid = dj.Grid(lr=[0.1, 0.2], batch_size=4, seeds=3)
    dj.train(dj.models.linear(), grid, 4, 2, out=tmp_path / "run")
    report = gather(tmp_path / "run", curves=False)
    facts = dict(report.facts)
    assert report.finished and not [w for w in report.warnings if "not finished" in w]
    assert facts["wall time"].endswith(" s") and re.fullmatch(
        r"[\d.]+ [kMG]? ?network-steps/s", facts["speed"]
    )

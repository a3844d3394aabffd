"""The explorer of a report: what is embedded is what was stored, and clicks, keys and touches show it."""

import json
import re
import shutil

import browser
import numpy as np
import pytest
import xarray as xr

import dysonjax as dj
from dysonjax.cli import main
from dysonjax.report import explore, gather, render
from dysonjax.report.explore import scene as scenes
from dysonjax.report.explore.embed import QUANTILES, quantiles
from dysonjax.report.explore.pack import pack, pack_small, unpack

pytestmark = pytest.mark.usefixtures("sketches")

needs_browser = pytest.mark.skipif(browser.find() is None, reason="no Chromium or Chrome on this machine")


@pytest.fixture(scope="module")
def folder(phases, tmp_path_factory):
    path = tmp_path_factory.mktemp("explore") / "run <script>alert(1)</script>"
    shutil.copytree(phases, path)
    assert main(["report", str(path), "--quiet"]) == 0
    return path


def embedded(page: str) -> dict:
    return json.loads(re.search(r'id="explore-data">(.*?)</script>', page, re.S)[1])


@pytest.mark.parametrize(
    "values",
    [
        np.linspace(-1, 3, 50),
        [1.0, 1.0],
        [0.0, 0.0],
        [-0.5],
        [],
        [np.nan, np.inf],
        [2.0, np.nan, 2.001, 3.0],
        np.geomspace(1e-8, 1e9, 99),
        np.concatenate([-np.geomspace(1e-3, 1e4, 9), [0.0], np.geomspace(1e-5, 1e3, 9)]),
        [1e-300, 1.0, 1e300],
    ],
)
def test_packed_numbers_are_off_by_half_a_step_at_most(values):
    values = np.array(values, float)
    packed = json.loads(json.dumps(pack(values), allow_nan=False))
    found, known = unpack(packed), np.isfinite(values)
    assert found.shape == values.shape and (np.isfinite(found) == known).all()
    error, size = np.abs(found - values)[known], np.abs(values[known])
    if packed["kind"] == "linear":
        assert (error <= 0.5001 * packed["step"] + 1e-12 * size).all()
    else:
        lost = size < 1e-15 * size.max()
        assert (found[known][lost] == 0).all()
        assert (error[~lost] <= 0.51 * packed["step"] * size[~lost]).all() and packed["step"] < 2e-3


def test_small_numbers_are_kept_exactly():
    assert np.array_equal(unpack(pack_small([0, 3, 254, -1])), [0, 3, 254, np.nan], equal_nan=True)


def test_quantiles_are_those_of_numpy():
    values = np.random.default_rng(0).normal(size=(4, 9, 3))
    values[0, 3:, 1] = np.nan
    values[1, :, 2] = np.inf
    wanted = np.nanquantile(np.where(np.isfinite(values), values, np.nan)[:1], QUANTILES, axis=1)
    found = quantiles(values)
    assert np.allclose(found[:, :1], wanted) and np.isnan(found[:, 1, 2]).all()


def test_embedded_numbers_are_those_of_the_store(folder):
    dataset = dj.read(folder).load()
    data = embedded((folder / "report.html").read_text())
    assert [axis["name"] for axis in data["axes"]] == ["batch_size", "lr", "sigma_w"]
    assert data["records"]["values"] == dataset["record"].values.tolist() and data["shown"] == 3
    for index, place in enumerate(np.ndindex(2, 3, 2)):
        at = dataset.isel(dict(zip(("batch_size", "lr", "sigma_w"), place, strict=True)))
        alive = at["alive"].transpose("seed", "record").values
        for observable in data["observables"]:
            values = np.where(alive, at[observable["name"]].transpose("seed", "record").values, np.nan)
            close = {"rtol": 2e-3, "atol": 1e-4 * np.nanmax(np.abs(values)), "equal_nan": True}
            assert np.allclose(unpack(observable["members"])[index], values, **close)
            with np.errstate(all="ignore"):
                median = np.median(values, axis=0)
            whole = np.isfinite(median)
            assert np.allclose(unpack(observable["median"])[index][whole], median[whole], **close)
            assert (unpack(observable["count"])[index] == alive.sum(axis=0)).all()
        (levels,) = data["spectra"]
        values = at["eigenvalues"].where(at["alive"]).transpose("seed", "record", "mode").values
        assert np.allclose(unpack(levels["members"])[index], values, rtol=2e-3, atol=0, equal_nan=True)
        counts = unpack(levels["density"]["counts"])[index]
        assert np.allclose(counts.sum(axis=-1), np.isfinite(values).sum(axis=(0, 2)), atol=0.5)
    phases = dj.phase.classify(dataset, dj.phase.Thresholds(memory=0.6))
    assert (unpack(data["phases"]["point"])[:, -1] == phases["point"].values.ravel()).all()
    assert (unpack(data["phases"]["member"]).ravel() == phases["member"].values.ravel()).all()


@pytest.mark.slow
def test_the_command_of_a_point_gives_its_networks_again(folder, tmp_path):
    data = embedded((folder / "report.html").read_text())
    chosen = {"batch_size": "4", "lr": "0.25", "sigma_w": "8"}  # no chaos, which would see the tile
    words = "".join(part if isinstance(part, str) else chosen[part["axis"]] for part in data["command"])
    assert main([*words.split()[1:], "--quiet", "--out", str(tmp_path / "point")]) == 0
    old, new = (dj.read(path).load() for path in (folder, tmp_path / "point"))
    xr.testing.assert_allclose(
        old.sel(batch_size=[4], lr=[0.25], sigma_w=[8.0])["eigenvalues"], new["eigenvalues"], rtol=1e-5
    )


@pytest.mark.parametrize("randomness", ["common", pytest.param("independent", marks=pytest.mark.slow)])
def test_further_axes_are_in_the_command_unless_their_names_decide_the_randomness(randomness, tmp_path):
    words = (
        "linear --lr 0.1 --epsilon 0.05,0.2 --batch-size 4 --seeds 2 --steps 6 --records 2 --quiet".split()
    )
    out = tmp_path / randomness
    assert main([*words, "--randomness", randomness, "--out", str(out)]) == 0
    assert main(["report", str(out), "--quiet"]) == 0
    data = embedded((out / "report.html").read_text())
    parts = [part if isinstance(part, str) else f"<{part['axis']}>" for part in data["command"]]
    found = "".join(parts)
    if randomness == "common":
        assert "--lr <lr> --batch-size <batch_size> --sigma-w <sigma_w> --epsilon <epsilon>" in found
    else:
        assert found.startswith("run = dj.train(") and "'epsilon': <epsilon>" in found


@pytest.mark.slow
def test_a_published_grid_with_100_seeds_stays_under_ten_megabytes():
    """The data alone, of numbers that no packing makes smaller; pictures and tables add a megabyte."""
    rng, points = np.random.default_rng(0), 144
    axes = [scenes.Axis(n, n, 2.0 ** np.arange(12)) for n in ("lr", "sigma_w")]
    levels = scenes.Levels("eigenvalues", "x", rng.lognormal(0, 3, (points, 100, 21, 16)), None)
    observables = [scenes.Observable(f"o{i}", "o", rng.normal(size=(points, 100, 21))) for i in range(14)]
    phases = scenes.Phases(["a"], np.zeros((points, 21), int), np.zeros((points, 100), int))
    scene = scenes.Scene(axes, "step", np.arange(21), None, np.arange(100), np.full((points, 100), -1),
                         [levels], observables, phases, [])  # fmt: skip
    data = explore.embed(scene, None)
    assert len(json.dumps(data)) < 8e6 and 10 <= data["shown"] < 100
    assert len(data["records"]["values"]) == 21 and any("one by one" in note for note in data["notes"])


def test_what_is_too_large_is_thinned_out_and_said():
    rng = np.random.default_rng(0)
    levels = scenes.Levels("eigenvalues", "x", rng.normal(size=(1024, 2, 60, 40)), None)
    axes = [scenes.Axis("lr", "lr", np.arange(1, 1025))]
    scene = scenes.Scene(axes, "step", np.arange(60), None, np.arange(2), np.full((1024, 2), -1), [levels],
                         [], None, [])  # fmt: skip
    data = explore.embed(scene, None)
    assert len(json.dumps(data)) < 10e6
    kept = data["records"]["values"]
    assert kept[0] == 0 and kept[-1] == 59 and len(kept) < 60
    said = " ".join(data["notes"])
    assert "60 records are shown" in said and "of 40 modes" in said
    assert {0, 39} <= set(data["spectra"][0]["modes"])


def test_names_and_attributes_cannot_bring_in_a_script(folder, tmp_path):
    evil = '</script><script>document.title="owned"</script><img src=x onerror="document.title=\'owned\'">'
    shutil.copytree(folder, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checksums")
    metadata = tmp_path / "run" / "run.zarr" / "zarr.json"
    text = json.dumps(json.loads(metadata.read_text())).replace(
        "mean squared error on fresh inputs", evil[:-1]
    )
    metadata.write_text(text.replace(evil[:-1], json.dumps(evil)[1:-1]))
    page = render(gather(tmp_path / "run"))
    assert "<img src=x" not in page and page.count("</script>") == 2 and "<script>document" not in page
    assert embedded(page)["observables"][0]["label"].count("</script>") == 2


def test_folders_of_levels_are_explored_too(of_levels, tmp_path, capsys):
    out = shutil.copytree(of_levels, tmp_path / of_levels.name)
    assert main(["report", str(out), "--quiet"]) == 0
    data = embedded((out / "report.html").read_text())
    found = np.load(out / "levels.npz")
    members = unpack(data["spectra"][0]["members"])
    if of_levels.name == "dyson":
        wanted = np.moveaxis(found["levels"], 1, 1)[None]
        assert data["records"]["values"] == found["times"].tolist() and data["axes"] == []
    else:
        names = [name.replace(" ", "_") for name in data["records"]["names"]]
        wanted = np.stack([[found[f"{name}_{i}"] for name in names] for i in (0, 1)]).swapaxes(1, 2)
        assert [axis["texts"] for axis in data["axes"]] == [["0.1", "0.2"], ["8"]]
    assert np.allclose(members, wanted, atol=2e-4 * np.ptp(wanted), rtol=2e-3)
    (out / "levels.npz").write_bytes(b"PK no archive")
    assert main(["report", str(out), "--overwrite"]) == 2
    assert "levels.npz is damaged" in capsys.readouterr().err


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    found = browser.Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


def opened(tab, folder, **size):
    tab.errors.clear()
    tab.requests.clear()
    tab.size(size.pop("width", 1000), **size)
    tab.open((folder / "report.html").as_uri())
    tab.wait("document.querySelectorAll('.cell').length === 6")


COMMAND = "document.querySelector('#explore-command')?.textContent"
PLACE = "document.querySelector('#explore-place')?.textContent"


@needs_browser
def test_a_click_on_a_cell_shows_its_networks(tab, folder):
    opened(tab, folder)
    assert tab.ask(COMMAND) is None
    tab.hover(".cell[data-row='0'][data-column='0']")
    reading = tab.ask("document.querySelector('#explore-reading').textContent")
    assert "α = 0.25" in reading and "σ_W = 8" in reading  # widths fall to the right: it is 1/σ_W
    tab.click(".cell[data-row='2'][data-column='1']")
    assert "--lr 64 --batch-size 2 --sigma-w 0.5" in tab.ask(COMMAND)
    assert "α = 64, σ_W = 0.5" in tab.ask(PLACE)
    assert tab.ask("document.querySelectorAll('.plot').length") == 2 + 13
    assert tab.ask("document.querySelectorAll('.plot')[0].querySelectorAll('path.line').length") == 16
    assert tab.errors == [] and tab.requests == []


def test_lines_between_the_phases_are_those_of_the_picture(folder):
    dataset = dj.read(folder).load()
    found = {line.name: line for line in scenes.of_dataset(dataset).boundaries}
    assert set(found) == {"jamming", "jamming-measured", "noise-published", "noise-variance"}
    assert found["jamming"].points[0][:, 0] == pytest.approx(2**0.5)
    for index in range(2):
        line = dj.phase.noise_line(dataset.isel(batch_size=[index])).isel(contour=0)
        widths, temperatures = found["noise-published"].points[index].T
        assert widths == pytest.approx(np.sort(1 / line["sigma_w"].values))
        known = np.isfinite(temperatures)
        assert np.sort(temperatures[known]) == pytest.approx(np.sort(line.values[np.isfinite(line.values)]))
    without = dataset.drop_vars(["preactivation_variance"])
    assert scenes.of_dataset(without).boundaries == ()


@needs_browser
def test_the_map_has_the_lines_of_its_batch_size(tab, folder):
    opened(tab, folder)
    path = "document.querySelector('.map .boundary.{}').getAttribute('d')"
    left, top = (
        np.unique(
            tab.ask(f"[...document.querySelectorAll('.cell')].map((cell) => +cell.getAttribute('{x}'))")
        )
        for x in "xy"
    )
    size = float(tab.ask("document.querySelector('.cell').getAttribute('height')"))
    # Columns are 1/σ_W = 1/8 and 2, rows α = 0.25, 2 and 64, of which the first is the lowest.
    width, height = np.log([1 / 8, 2]), np.log([0.25, 2, 64])
    middle = left + (left[1] - left[0]) / 2, top[::-1] + size / 2
    found = {line.name: line.points[0] for line in scenes.of_dataset(dj.read(folder).load()).boundaries}
    for name, points in found.items():
        points = points[np.isfinite(points[:, 1]) & (points[:, 1] > 0)]
        if name.startswith("noise") and len(points) > 1:
            drawn = np.array(re.findall(r"[\d.]+", tab.ask(path.format(name))), float).reshape(-1, 2)
            assert drawn[:, 0] == pytest.approx(np.interp(np.log(points[:, 0]), width, middle[0]), abs=0.1)
            assert drawn[:, 1] == pytest.approx(
                np.interp(np.log(2 * points[:, 1]), height, middle[1]), abs=0.1
            )
    lines = tab.ask(path.format("jamming"))
    numbers = [float(x) for x in re.findall(r"[\d.]+", lines)]
    assert numbers[0] == numbers[2] == pytest.approx(np.interp(np.log(2) / 2, width, middle[0]), abs=0.1)
    assert numbers[1] == pytest.approx(top[-1] + size, abs=0.1)
    tab.ask("""(() => { const s = document.querySelector('select'); s.value = 'test_loss';
            s.dispatchEvent(new Event('change')); })()""")
    assert tab.ask(path.format("jamming")) == lines
    assert "jamming, published" in tab.ask("document.querySelector('.map-and-key').textContent")
    assert tab.errors == []


@needs_browser
def test_numbers_that_are_read_off_are_those_of_the_store(tab, folder):
    dataset = dj.read(folder).load().sel(batch_size=2, lr=2.0, sigma_w=8.0)
    opened(tab, folder)
    tab.click(".cell[data-row='1'][data-column='0']")
    readings = tab.ask("[...document.querySelectorAll('.plot output')].map((o) => o.textContent)")
    loss = np.median(dataset["test_loss"].isel(record=-1).values)
    assert float(readings[2].split()[3]) == pytest.approx(loss, rel=2e-3)
    tab.click(".seed:nth-child(3)")  # seed 1, alone
    readings = tab.ask("[...document.querySelectorAll('.plot output')].map((o) => o.textContent)")
    loss = dataset["test_loss"].sel(seed=1).isel(record=-1).item()
    assert float(readings[2].split()[3]) == pytest.approx(loss, rel=2e-3)
    assert float(readings[0].split()[-1]) == pytest.approx(
        dataset["eigenvalues"].sel(seed=1).isel(record=-1).max().item(), rel=2e-3
    )


@needs_browser
def test_keys_move_and_enter_chooses_and_sliders_keep_the_focus(tab, folder):
    opened(tab, folder)
    tab.ask("document.querySelector('.map').focus()")
    for key in ("ArrowUp", "ArrowRight", "ArrowLeft", "ArrowRight", "Enter"):
        tab.press(key)
    assert "--lr 2 --batch-size 2 --sigma-w 0.5" in tab.ask(COMMAND)
    tab.ask("document.querySelector('[data-slider=\"training step\"]').focus()")
    tab.press("ArrowLeft")
    tab.press("ArrowLeft")
    assert tab.ask("document.activeElement.dataset.slider") == "training step"
    assert "density at training step 10" in tab.ask("document.querySelectorAll('figcaption')[1].textContent")
    tab.ask("document.querySelector('[data-slider^=\"mini-batch\"]').focus()")
    tab.press("ArrowRight")
    assert "--batch-size 4" in tab.ask(COMMAND) and tab.errors == []


@needs_browser
def test_a_phone_in_the_dark_takes_touches_and_needs_no_scrolling_sideways(tab, folder):
    opened(tab, folder, width=360, height=740, phone=True, dark=True)
    tab.tap(".cell[data-row='0'][data-column='1']")
    assert "--lr 0.25 --batch-size 2 --sigma-w 0.5" in tab.ask(COMMAND)
    assert tab.ask("document.documentElement.scrollWidth") <= 360
    paper = tab.ask("getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, re.findall(r"\d+", paper)[:3])) < 150
    assert tab.ask("Math.min(...[...document.querySelectorAll('.seed')].map((b) => b.offsetHeight))") >= 30


@needs_browser
def test_another_colour_and_a_sorted_table(tab, folder):
    opened(tab, folder)
    before = tab.ask("document.querySelector('.cell').getAttribute('fill')")
    tab.ask("""(() => { const s = document.querySelector('select'); s.value = 'test_loss';
            s.dispatchEvent(new Event('change')); })()""")
    assert tab.ask("document.querySelector('.cell').getAttribute('fill')") != before
    assert "test_loss" in tab.ask("document.querySelector('.cell title').textContent")
    tab.click("section.table th:nth-child(2) button")
    assert (
        tab.ask("document.querySelector('section.table th:nth-child(2)').getAttribute('aria-sort')")
        == "ascending"
    )


@needs_browser
def test_nothing_of_a_file_runs_as_a_script(tab, folder, tmp_path):
    evil = "<img src=x onerror=\"document.title='owned'\">"
    shutil.copytree(folder, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checksums")
    metadata = tmp_path / "run" / "run.zarr" / "zarr.json"
    metadata.write_text(
        metadata.read_text().replace("mean squared error on fresh inputs", json.dumps(evil)[1:-1])
    )
    (tmp_path / "run" / "report.html").write_text(render(gather(tmp_path / "run")))
    opened(tab, tmp_path / "run")
    tab.click(".cell")
    assert evil in tab.ask("document.querySelector('#explore').textContent")
    assert (
        "owned" not in tab.ask("document.title")
        and tab.ask("document.querySelectorAll('#explore img').length") == 0
    )

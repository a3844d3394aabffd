"""A run is watched while it trains: the same page, renewed from the store, for this machine alone."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import browser
import pytest
import xarray as xr

from dysonjax.cli import main, watch
from dysonjax.report import server

PATIENCE = 60.0


def half_of(finished, path) -> Path:
    """A run folder as it is in the middle of training: the second half of the records is not there."""
    dataset = xr.open_zarr(finished / "run.zarr").load()
    late = {"record": slice(dataset.sizes["record"] // 2, None)}
    for name, variable in dataset.data_vars.items():
        if "record" in variable.dims:
            variable[late] = False if name == "alive" else float("nan")
    del dataset.attrs["summary"]
    dataset.to_zarr(path / "run.zarr", consolidated=True)
    shutil.copy(finished / "run.json", path)
    return path


def ask(port: int, path: str = "/", method: str = "GET", host: str | None = None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request(method, path, headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    return answer, answer.read().decode()


@pytest.fixture
def served(finished, tmp_path):
    """The port of a server of a run under way, in this process."""
    folder = half_of(finished, tmp_path / "run")
    page = server.server(lambda: watch._page(folder, 0.1), 0.1)
    thread = threading.Thread(target=page.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield page.server_address[1], folder
    page.shutdown()
    page.server_close()
    thread.join()


def test_the_command_serves_the_page_and_ends_with_control_c(finished, tmp_path):
    folder = half_of(finished, tmp_path / "run")
    command = [sys.executable, "-u", "-m", "dysonjax", "watch", str(folder), "--json"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        port = int(re.search(r"http://127\.0\.0\.1:(\d+)/", process.stderr.readline())[1])
        answer, page = ask(port)
        assert answer.status == 200 and 'id="explore-data"' in page and "not finished" in page
        assert "connect-src 'self'" in page and 'data-live="2.0"' in page
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 0 and "Traceback" not in errors
    assert json.loads(out.splitlines()[-1])["address"].endswith(f":{port}/")


def test_nothing_but_the_page_is_served_and_only_under_this_machines_names(served):
    port, _ = served
    assert ask(port, "/run.json")[0].status == 404 and ask(port, "/../run.json")[0].status == 404
    assert ask(port, host="evil.example")[0].status == 403
    assert ask(port, host=f"localhost:{port}")[0].status == 200
    head, content = ask(port, method="HEAD")
    assert head.status == 200 and content == "" and head.headers["Cache-Control"] == "no-store"
    assert ask(port, method="POST")[0].status == 501
    with (
        pytest.raises(OSError),
        socket.create_connection((socket.gethostbyname(socket.gethostname()), port), 1),
    ):
        if socket.gethostbyname(socket.gethostname()).startswith("127."):
            raise OSError("this machine has no other address")


def test_a_store_that_cannot_be_read_for_a_moment_leaves_the_old_page(served):
    port, folder = served
    before = ask(port)[1]
    (folder / "run.zarr" / "zarr.json").write_text("{")
    time.sleep(0.3)
    assert ask(port)[1] == before


def test_a_run_that_has_recorded_nothing_is_waited_for(finished, tmp_path):
    shutil.copy(finished / "run.json", tmp_path)
    page = watch._page(tmp_path, 1.0)
    assert "Nothing is recorded yet" in page and "explore-data" not in page.split("<script>")[0]


def test_reports_that_are_not_watched_ask_for_nothing(finished, tmp_path):
    assert main(["report", str(finished), "--out", str(tmp_path / "x.html"), "--quiet"]) == 0
    page = (tmp_path / "x.html").read_text()
    assert "connect-src" not in page and "fetch(" not in page


@pytest.mark.slow
@pytest.mark.skipif(browser.find() is None, reason="no Chromium or Chrome on this machine")
def test_the_page_renews_itself_and_keeps_what_one_looks_at(served, finished, tmp_path):
    port, folder = served
    tab = browser.Browser(tmp_path / "profile")
    try:
        tab.size(800)
        tab.open(f"http://127.0.0.1:{port}/")
        tab.wait("document.querySelector('#head .state').textContent === 'not finished'")
        tab.click(".cell")
        tab.click(".seed:nth-child(3)")
        steps = "document.querySelector('.slider output').textContent"
        before = tab.ask(steps)
        shutil.rmtree(folder / "run.zarr")
        for name in ("run.zarr", "summary.json"):
            source = finished / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
        tab.wait("document.querySelector('#head .state').textContent === 'finished'")
        assert int(tab.ask(steps)) > int(before)  # the last record that is there
        assert tab.ask("document.querySelectorAll('.seed')[1].getAttribute('aria-pressed')") == "true"
        assert tab.errors == []
    finally:
        tab.close()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["{empty}"], "holds no run"),
        (["{file}"], "it is not a folder"),
        (["{run}", "--port", "70000"], "port must be from 0 to 65535, got 70000"),
        (["{run}", "--port", "-1"], "port must be from 0 to 65535, got -1"),
        (["{run}", "--every", "0"], "every must be positive"),
        (["{run}", "--port", "{busy}"], "cannot be used"),
    ],
)
def test_wrong_inputs_are_one_sentence(words, sentence, finished, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        names = {"empty": tmp_path / "empty", "file": tmp_path / "file", "run": finished}
        names["busy"] = busy.getsockname()[1]
        assert main(["watch", *(word.format(**names) for word in words)]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1

"""On the machine with the GPU, at most six minutes and no network: python benchmarks/device/check.py

Are the numbers of every model those of a CPU, and how fast are they? Writes `result.json`, a log and a table
into --out, entry by entry, so that what was measured before an end that comes too early is there. Correctness
is checked and everything is compiled by several processes together; what is timed has the machine for itself.
`--stand-in LIBRARY` goes through the same calls on a CPU, with a stand-in for the driver, measuring nothing.
"""

import argparse
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

BEGIN = time.monotonic()
STALLED = 100.0  # seconds without a result, after which a process is given up,
OF_A_RUN = 240.0  # and for a whole run
TOGETHER = 8  # processes that compile and check
HERE = Path(__file__).parent
PLACES = ("/usr/local/cuda/bin", "/opt/nvidia/nsight-compute/*")
RUNS = ("published grid, cuda", "published grid, xla", "resume")
COMMAND_BUFFERS = {"as it is": "", "loops as command buffers": "+WHILE,+CONDITIONAL", "none": "-FUSION"}
PROFILED = ("student, 144 x 10", "student, 144 x 100", "RBM gibbs, 10 x 64", "RBM gibbs, 10 x 10000")
PAGES = "SpeedOfLight LaunchStats Occupancy SchedulerStats WarpStateStats"
SANITIZED = ("memcheck", "racecheck")


class Report:
    """What was found so far, on the disk after every entry."""

    def __init__(self, folder: Path, seconds: float):
        self.path, self.found, self.lock = folder / "result.json", {}, threading.Lock()
        self.log = (folder / "log.txt").open("w")
        self.seconds = seconds

    def left(self) -> float:
        return self.seconds - (time.monotonic() - BEGIN)

    def add(self, section: str, name: str, value) -> None:
        with self.lock:
            self.found.setdefault(section, {})[name] = value
            self.path.write_text(json.dumps(self.found, indent=1) + "\n")
            print(f"{time.monotonic() - BEGIN:5.0f} s {section:9s} {name:28s} {str(value)[:400]}", flush=True)

    def say(self, line: str) -> None:
        with self.lock:
            self.log.write(line)
            self.log.flush()


def asked(report: Report, entries: list[str], options: list[str], before=(), environment=None) -> None:
    """The entries by a process, or by further ones if it ends before all of them are done."""
    entries = list(entries)
    while entries:
        if report.left() < 15:
            for entry in entries:
                report.add(*entry.split("/", 1), "no time")
            return
        words = [*before, sys.executable, "-u", str(HERE / "measure.py"), *options, *entries]
        done = _one_process(report, words, entries[0], os.environ | (environment or {}))
        entries = [entry for entry in entries if entry not in done]


def _one_process(report: Report, words: list[str], under_way: str, environment) -> list[str]:
    """What it has answered, with failures: at least one entry. under_way: the first one."""
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    lines: queue.Queue = queue.Queue()

    def read():
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    done, last = [], ""
    while True:
        stalled = OF_A_RUN if under_way.startswith("runs/") else STALLED
        try:
            line = lines.get(timeout=max(1.0, min(stalled, report.left())))
        except queue.Empty:
            process.kill()
            report.add(*under_way.split("/", 1), {"error": "given up: no answer"})
            return [*done, under_way]
        if line is None:
            break
        report.say(line)
        if line.startswith("BEGIN "):
            under_way = json.loads(line.removeprefix("BEGIN "))
        elif line.startswith("RESULT "):
            section, name, value = json.loads(line.removeprefix("RESULT "))
            report.add(section, name, value)
            done.append(f"{section}/{name}")
        elif line.strip():
            last = line.strip()
    code = process.wait()
    if under_way.startswith("sanitizer/"):
        report.add(*under_way.split("/", 1), "clean" if code == 0 else f"exit status {code}: {last[:200]}")
    elif code and under_way not in done:
        report.add(*under_way.split("/", 1), {"error": f"ended with status {code}: {last[:200]}"})
    return [*done, under_way]


def everything(report: Report, options: argparse.Namespace, few: bool) -> None:
    from cases import CHECKED, TIMED

    how = ["--few"] * few + ["--thorough"] * options.thorough
    timed = [entry.name for entry in (TIMED[::3] if few else TIMED)]

    def entries(section, names):
        every = [f"{section}/{name}" for name in names]
        if not options.only or section in options.only:
            return every
        return [entry for entry in every if entry in options.only]

    precisions = ("float32", "tf32", "bfloat16")
    asked(report, entries("machine", ["found"]), how)
    together = entries("numbers", CHECKED)
    if not few:
        together += entries("warm", [*precisions, *timed])
    with ThreadPoolExecutor(2 if few else TOGETHER) as pool:
        list(pool.map(lambda entry: asked(report, [entry], how), together))
    alone = [*entries("runs", RUNS), *entries("records", ["published grid"]), *entries("rates", timed)]
    asked(report, [*alone, *entries("nanogpt", precisions)], how)
    if not few:
        if path := tool("compute-sanitizer"):
            for entry in entries("sanitizer", SANITIZED):
                words = [path, "--tool", entry.split("/")[1], "--kernel-name", "kns=advance"]
                asked(report, [entry], how, before=[*words, "--error-exitcode", "9"])
        profiled(report, entries("profile", PROFILED), how)
    for name, value in COMMAND_BUFFERS.items():
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_enable_command_buffer={value}"
        asked(report, entries("loops", [name]), how, environment={"XLA_FLAGS": flags} if value else {})


def profiled(report: Report, entries: list[str], how: list[str]) -> None:
    """What NVIDIA's profiler says of one launch each, if it is there."""
    path, log = tool("ncu"), report.path.with_name("profile.txt")
    pages = [word for page in PAGES.split() for word in ("--section", page)]
    for entry in entries if path else []:
        one = log.with_name("of_one.txt")
        words = [path, "--clock-control", "none", "-k", "advance", *pages, "--log-file", str(one)]
        asked(report, [entry], how, before=words)
        if one.exists():
            with log.open("a") as every:
                every.write(f"{entry}\n{one.read_text()}\n")
            one.unlink()


def tool(name: str) -> str | None:
    """The path of a tool of NVIDIA's."""
    folders = [folder for place in PLACES for folder in Path("/").glob(place[1:])]
    found = [str(folder / name) for folder in folders if (folder / name).exists()]
    return shutil.which(name) or next(iter(found), None)


def table(found: dict) -> str:
    heads = ["ensemble", "goal", "kernel", "layout", "the fastest", "XLA", "kernel over XLA"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, row in found.get("rates", {}).items():
        if not isinstance(row, dict) or "XLA" not in row:
            lines.append(f"| {name} | | {row if isinstance(row, str) else row.get('error')} | | | | |")
            continue
        ways = {key: way["rate"] for key, way in row.items() if isinstance(way, dict)}
        chosen = ways.get(row["chosen"], 0)
        numbers = (row["goal"], chosen, max(ways.values()), row["XLA"])
        goal, rate, best, xla = (f"{value / 1e6:.0f} M/s" for value in numbers)
        cells = [name, goal, rate, row["chosen"], best, xla, f"{chosen / row['XLA']:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def carried(folder: Path) -> Path:
    """A cache with the machine code that was brought along; what others might have written is not used."""
    before = os.umask(0o077)
    cache = folder / "cache"
    for path in (HERE / "carry" / "cache").glob("*/*"):
        (cache / path.parent.name).mkdir(parents=True, exist_ok=True)
        (cache / path.parent.name / path.name).write_bytes(path.read_bytes())
    os.umask(before)
    return cache


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "found")
    parser.add_argument("--stand-in", help="a library in the place of the driver's")
    parser.add_argument("--only", nargs="*", help="sections or entries, such as runs/resume")
    parser.add_argument("--seconds", type=float, default=345.0, help="in all")
    parser.add_argument("--thorough", action="store_true", help="time more ways to cut a network")
    options = parser.parse_args()
    few = options.stand_in is not None
    options.out.mkdir(parents=True, exist_ok=True)
    report = Report(options.out, options.seconds)
    with tempfile.TemporaryDirectory() as programs:
        os.environ |= {"JAX_COMPILATION_CACHE_DIR": programs, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        if few:
            os.environ |= {"DYSONJAX_LIBCUDA": options.stand_in, "JAX_PLATFORMS": "cpu"}
        else:
            os.environ["DYSONJAX_CACHE"] = str(carried(Path(programs)))
        everything(report, options, few)
    report.add("machine", "seconds", round(time.monotonic() - BEGIN, 1))
    text = "A stand-in ran on a CPU: nothing was measured.\n" if few else table(report.found)
    (options.out / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()

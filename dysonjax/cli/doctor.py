"""`dysonjax doctor`: is this installation sound, and what does it run on?"""

import dataclasses
import platform
import re
import shutil
from pathlib import Path

from dysonjax.cache import private
from dysonjax.cli import compile_cache
from dysonjax.cli.terminal import Terminal
from dysonjax.cli.versions import versions

# library: {version: what is wrong with it}
KNOWN_BAD = {
    "jax": {"0.10.2": "gives wrong results in vmapped reductions on CPUs (jax#39103) and crashes"},
    "jaxlib": {"0.10.2": "gives wrong results in vmapped reductions on CPUs (jax#39103) and crashes"},
}
MIN_FREE_BYTES = 1e9


@dataclasses.dataclass(frozen=True)
class Doctor:
    """Check versions, devices, precision and cache, then train and integrate a little against exact laws.

    The self-test takes about ten seconds, half a minute the first time, when it has to compile. The exit code
    is 1 if something is wrong.
    """

    clear_cache: bool = False
    """Delete the programs and the sizes of tiles that earlier runs kept, then check."""
    json: bool = False
    """Print the findings as one JSON object on the last line of standard output."""
    quiet: bool = False
    """Print nothing but warnings and errors."""

    def run(self, terminal: Terminal) -> dict:
        if self.clear_cache:
            _clear_cache(terminal)
        found = versions()
        machine = _machine()
        cache = _cache()
        terminal.table("versions", ["name", "version"], [[name, version] for name, version in found.items()])
        terminal.table(
            "machine", ["what", "found"], [[k.replace("_", " "), str(v)] for k, v in machine.items()]
        )
        terminal.print(f"compiled programs: {_describe(cache)}")
        problems, advice = _judge(found, machine, cache)
        checks = self._checks(terminal)
        problems += [f"{check['name']}: {check['means']}" for check in checks if not check["passed"]]
        for sentence in advice:
            terminal.print(f"note: {sentence}")
        for sentence in problems:
            terminal.warn(sentence)
        terminal.print("something is wrong, see above" if problems else "all is well")
        return {
            "command": "doctor",
            "healthy": not problems,
            "problems": problems,
            "notes": advice,
            "versions": found,
            "machine": machine,
            "cache": cache,
            "checks": checks,
        }

    def exit_code(self, summary: dict) -> int:
        """1 if something is wrong."""
        return 0 if summary["healthy"] else 1

    def _checks(self, terminal: Terminal) -> list[dict]:
        from dysonjax.cli import selftest

        results = []
        with terminal.progress("self-test", "checks") as progress:
            number = len(selftest.checks())
            progress(0, number)
            for done, check in enumerate(selftest.run(), 1):
                results.append(check)
                progress(done, number)
        terminal.table(
            "self-test",
            ["check", "measured", "expected", "deviation", "allowed", "verdict"],
            [
                [
                    check.name,
                    f"{check.measured:.5g}",
                    f"{check.expected:.5g}" if check.statistical else "-",
                    f"z = {check.z:+.2f}" if check.statistical else f"{abs(check.measured):.1e}",
                    f"{selftest.MAX_Z:g}" if check.statistical else f"{check.error:.1e}",
                    "pass" if check.passed else "FAIL",
                ]
                for check in results
            ],
        )
        return [
            {
                "name": check.name,
                "measured": check.measured,
                "expected": check.expected,
                "z" if check.statistical else "deviation_over_allowed": check.z,
                "passed": check.passed,
                "means": check.catches,
            }
            for check in results
        ]


def _machine() -> dict:
    """Devices, memory and instruction set."""
    import jax

    from dysonjax import ensemble
    from dysonjax.compile import compiler_path
    from dysonjax.ensemble import devices

    ensemble.one_device_per_core()
    text = _read("/proc/cpuinfo")
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.M)
    wanted = ("avx2", "fma", "avx512f", "amx_tile", "asimd", "sve")
    features = [name for name in wanted if flags and name in flags[1].split()]
    model = re.search(r"^model name\s*:\s*(.*)$", text, re.M)
    memory = re.search(r"^MemAvailable:\s*(\d+) kB", _read("/proc/meminfo"), re.M)
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": model[1] if model else platform.processor() or "unknown",
        "instructions": " ".join(features) or "unknown",
        "cores": ensemble.cores(),
        "memory_free_gb": round(int(memory[1]) / 1e6, 1) if memory else None,
        "backend": jax.default_backend(),
        "devices": devices.named(),
        "c_compiler": compiler_path() or "none",
        "training_precision": "float32, products in full float32",
        "x64_by_default": bool(devices.setting("jax_enable_x64")),
        "disk_free_gb": round(shutil.disk_usage(Path.cwd()).free / 1e9, 1),
    }


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _cache() -> dict:
    """Where compiled programs are kept, how many and how large."""
    place = compile_cache.folder()
    if place is None:
        return {"folder": None, "programs": 0, "bytes": 0}
    base = compile_cache.root() or place.parent
    found = (*(base / "compiled").rglob("*-cache"), *place.glob("*-cache"), *(base / "native").glob("*.so"))
    files = [file for file in set(found) if file.is_file()]
    return {"folder": str(place), "programs": len(files), "bytes": sum(f.stat().st_size for f in files)}


def _describe(cache: dict) -> str:
    if cache["folder"] is None:
        return f"not kept ({compile_cache.VARIABLE} turns the cache off)"
    return f"{cache['programs']} kept, {cache['bytes'] / 1e6:.1f} MB, in {cache['folder']}"


def _clear_cache(terminal: Terminal) -> None:
    for place in compile_cache.clear():
        terminal.print(f"deleted {place}")
    compile_cache.activate()


def _judge(found: dict[str, str], machine: dict, cache: dict) -> tuple[list[str], list[str]]:
    """What is wrong, and what is merely worth knowing."""
    problems = [
        f"{name} {found[name]} {reason[found[name]]}; install another version"
        for name, reason in KNOWN_BAD.items()
        if found[name] in reason
    ]
    if found["jax"].split(".")[:2] != found["jaxlib"].split(".")[:2]:
        problems.append(f"jax {found['jax']} and jaxlib {found['jaxlib']} do not belong together")
    missing = [
        name for name, version in found.items() if version == "not installed" and name != "safetensors"
    ]
    problems += [f"{name} is not installed" for name in missing]
    notes = []
    if found["safetensors"] == "not installed":
        notes.append("safetensors is not installed; dysonjax spectrum reads .npz and .npy only")
    if machine["x64_by_default"]:
        notes.append("JAX_ENABLE_X64 is set; training still uses float32 unless --x64 is given")
    if machine["backend"] == "cpu" and Path("/proc/driver/nvidia/version").exists():
        notes.append("there is an NVIDIA driver, but JAX uses the CPU: install dysonjax[cuda] to use the GPU")
    if machine["c_compiler"] == "none":
        notes.append("there is no C compiler: on a CPU small networks train several times slower without one")
    if machine["disk_free_gb"] * 1e9 < MIN_FREE_BYTES:
        notes.append(f"only {machine['disk_free_gb']} GB are free on the disk of this folder")
    if cache["folder"] is not None:
        reason = private("native")[1]
        if reason:
            notes.append(f"{reason}: it is not used, and every run compiles anew")
    return problems, notes

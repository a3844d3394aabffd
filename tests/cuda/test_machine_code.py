"""NVRTC compiles the kernels of the built-in models without a GPU, within budgets that are committed.

`python tests/cuda/budgets.py --write` makes the table of registers and instructions; a change that makes a
kernel larger by more than `ROOM` is to be seen in it.
"""

import json
import sys
from pathlib import Path

import budgets
import kernels
import pytest

from dysonjax.compile import cubin, layouts, nvrtc, warps

reason = nvrtc.refuses()
needs_nvrtc = pytest.mark.skipif(reason is not None, reason=str(reason))
KNOWN = json.loads(budgets.FILE.read_text())
ROOM = 1.1
QUICK = ["student sm_90"]


def check(entry):
    name, architecture = entry.split(" sm_")
    found, known = budgets.use(name, int(architecture)), budgets.Use(**KNOWN[entry])
    assert found.stack <= known.stack, f"{entry}: {found.stack} bytes of stack, {known.stack} committed"
    assert found.registers <= 255
    for what in ("instructions", "whole"):
        new, old = getattr(found, what), getattr(known, what)
        assert new <= ROOM * old, f"{entry}: {new} {what}, {old} committed"


@needs_nvrtc
@pytest.mark.parametrize("entry", QUICK)
def test_kernels_stay_within_their_budget(entry):
    check(entry)


@needs_nvrtc
@pytest.mark.slow
@pytest.mark.parametrize("entry", sorted(set(KNOWN) - set(QUICK)))
def test_all_other_kernels_stay_within_their_budget(entry):
    check(entry)


def test_students_and_linear_networks_need_no_stack_on_any_gpu():
    for entry, use in KNOWN.items():
        if not entry.startswith(("collapsed", "gibbs")):
            assert use["stack"] == 0, entry
    # Instructions of all threads of a network: less than those of the first prototype.
    for name, prototype in {"student": 473, "all": 2549}.items():
        use = KNOWN[f"{name} sm_90"]
        assert use["instructions"] * use["threads"] < prototype * 16


@pytest.mark.slow
@needs_nvrtc
def test_a_bad_layout_is_told_by_its_stack():
    one = kernels.case("student", (0.01, 0.02))
    step = one.ready.step
    few = warps.written(step, kernels.cut(2, (1, None)).how)  # 256 weights a thread
    assert warps.usage(warps.compiled(few, 90)).stack > 0
    _, worlds, points = one.tile.shape
    assert layouts.ranked(step, worlds, points)[0].how.threads > 2


@needs_nvrtc
def test_what_a_cubin_says_is_read():
    text = """extern "C" __global__ void __launch_bounds__(32) sum(const float *x, float *y, int n) {
      __shared__ float part[32];
      float total = 0;
      _Pragma("unroll 1") for (int i = 0; i < n; i++) { asm volatile("pmevent 1;"); total += x[i] * total; }
      part[threadIdx.x] = total;
      __syncwarp();
      y[threadIdx.x] = part[31 - threadIdx.x];
    }"""
    for architecture in (80, 90, 100):
        found = cubin.usage(nvrtc.compile(text, architecture, {}), "sum")
        assert 0 < found.registers < 64 and found.stack == 0 and found.shared >= 128
        assert 4 < found.marked < found.instructions < 200
    with pytest.raises(ValueError, match="no kernel other"):
        cubin.usage(nvrtc.compile(text, 90, {}), "other")


@needs_nvrtc
def test_a_text_that_does_not_compile_says_where():
    with pytest.raises(nvrtc.NvrtcError, match=r"step\.cu\(1\): error"):
        nvrtc.compile("__global__ void f() { x = 1; }", 90, {})


@needs_nvrtc
def test_cubins_are_kept_and_damaged_ones_made_again(tmp_path, monkeypatch):
    monkeypatch.setenv("DYSONJAX_CACHE", str(tmp_path))
    text = 'extern "C" __global__ void f(int *x) { *x = 1; }'
    first = nvrtc.compile(text, 90, {})
    (file,) = (tmp_path / "cubin").iterdir()
    assert (tmp_path / "cubin").stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(nvrtc, "_compiled", lambda *_: pytest.fail("it was kept"))
    assert nvrtc.compile(text, 90, {}) == first
    monkeypatch.setattr(nvrtc, "_compiled", lambda *_: b"made again")
    file.write_bytes(first[:-1] + b"?")
    assert nvrtc.compile(text, 90, {}) == b"made again"
    (file,) = (tmp_path / "cubin").iterdir()
    file.chmod(0o666)  # anybody could have written it
    assert nvrtc.compile(text, 90, {}) == b"made again"


@pytest.mark.slow
def test_the_model_of_costs_takes_one_of_the_fastest_kernels_that_an_h100_ran():
    """Of those timed there, with the registers and stack that they had; a model without stack does not."""
    root = Path(__file__).parents[2] / "benchmarks/device"
    sys.path.append(str(root))
    from cases import MOST_TRIED, TIMED, tried
    from measure import label

    rates = json.loads((root / "results/h100-2.json").read_text())["rates"]
    shares = {True: [], False: []}
    for entry in TIMED:
        if "XLA" not in rates.get(entry.name, {}):
            continue
        step, timed = entry.case(few=True).ready.step, []
        for layout in tried(entry.case(few=True), entry.seeds, entry.points, MOST_TRIED):
            source = warps.written(step, layout.how, layout.block)
            if way := rates[entry.name].get(label(source)):
                use = layouts.Use(way["registers"], way["stack"], source.chunk, source.shared_bytes)
                timed.append((layout, use, way["rate"]))
        best = max(rate for *_, rate in timed)
        assert len(timed) > 10 and best > entry.goal
        for right in shares:
            *_, rate = min(
                timed, key=lambda one: one[0].cycles(one[1] if right else one[1]._replace(stack=0))
            )
            shares[right].append(rate / best)
    assert len(shares[True]) >= 9 and min(shares[True]) > 0.85
    assert min(shares[False]) < 0.6

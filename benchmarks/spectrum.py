"""`dysonjax spectrum` beside WeightWatcher, on one file of planted truths with the shapes of GPT-2.

    python benchmarks/spectrum.py --weightwatcher OTHER/bin/python [--layers 12] [--rounds 2] [--threads 1]

OTHER is a Python that has torch and weightwatcher. Each round runs both in processes of their own, one after
the other: the exponent and the Marchenko-Pastur fit alone (`--quick` here, `mp_fit` there), and with nulls.
Seconds are those of the processors from the opened file to the table, so that neighbours on the machine
count less. WeightWatcher leaves out the embedding, so that ours are also timed on a file without it: the
same matrices on both sides. Then where the two differ, and what was planted.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SHAPES = {"attn": (768, 2304), "proj": (768, 768), "up": (768, 3072), "down": (3072, 768)}
SPIKES = (4.0, 3.0, 2.0)  # θ/θ_c
EXPONENT = 3.0  # of a planted tail
EMBEDDING = "wte"


def planted(path: Path, shared: Path, layers: int) -> dict[str, str]:
    """Write the file, and the one that holds what both analyse; what every matrix is."""
    rng = np.random.default_rng(0)
    arrays = {
        EMBEDDING: rng.normal(size=(50257, 768)).astype(np.float32),
        "wpe": rng.normal(size=(1024, 768)).astype(np.float32),
    }
    truth = dict.fromkeys(arrays, "noise")
    for layer in range(layers):
        for kind, (m, n) in SHAPES.items():
            name = f"{layer}.{kind}"
            heavy = kind == "proj" and layer % 3 == 0
            directions = min(m, n) if heavy else len(SPIKES)
            u, v = (np.linalg.qr(rng.normal(size=(side, directions)))[0] for side in (m, n))
            if heavy:
                tail = (1 - rng.random(min(m, n))) ** (-1 / (EXPONENT - 1))
                w, truth[name] = (u * np.sqrt(tail)) @ v.T, f"tail of exponent {EXPONENT:g}"
            else:
                w, truth[name] = rng.normal(size=(m, n)), "noise"
                if layer % 2:
                    theta = (m * n) ** 0.25 * np.array(SPIKES)
                    w += (u * theta) @ v.T
                    truth[name] = f"{len(SPIKES)} spikes"
            arrays[name] = w.astype(np.float32)
    np.savez(path, **{f"{name}.weight": w for name, w in arrays.items()})
    np.savez(shared, **{f"{name}.weight": w for name, w in arrays.items() if name != EMBEDDING})
    return truth


def ours(path: Path, full: bool) -> dict:
    from dysonjax.layers.table import spectrum

    began, wall = time.process_time(), time.perf_counter()
    found = spectrum(path, quick=not full)
    seconds = time.process_time() - began, time.perf_counter() - wall
    rows = {
        str(name).removesuffix(".weight"): {
            "sigma2": float(found.mp_sigma2[i]) / int(str(found["shape"][i].item()).split("x")[0]),
            "spikes": int(found.outliers[i]),
            "alpha": float(found.tail_alpha[i]),
            "says": str(found.verdict[i].item()),
            "largest": float(found.spectral_norm[i]),
        }
        for i, name in enumerate(found.matrix.values)
    }
    return {"cpu": seconds[0], "wall": seconds[1], "rows": rows}


def theirs(path: Path, full: bool) -> dict:
    import logging

    import torch
    import weightwatcher

    logging.disable(logging.WARNING)
    names, layers = [], []
    with np.load(path) as file:
        for name in file.files:
            w = torch.from_numpy(file[name])
            layer = torch.nn.Linear(1, 1, bias=False)
            layer.out_features, layer.in_features = w.shape
            layer.weight = torch.nn.Parameter(w)
            names.append(name.removesuffix(".weight"))
            layers.append(layer)
    model = torch.nn.Sequential(*layers)
    began, wall = time.process_time(), time.perf_counter()
    table = weightwatcher.WeightWatcher(model=model).analyze(mp_fit=True, randomize=full)
    seconds = time.process_time() - began, time.perf_counter() - wall
    rows = {
        names[int(row["longname"])]: {
            "sigma2": float(row["sigma_mp"]) ** 2,
            "spikes": int(row["num_spikes"]),
            "alpha": float(row["alpha"]),
            "says": str(row["warning"]) or "–",
            "largest": float(np.sqrt(row["lambda_max"])),
        }
        for _, row in table.iterrows()
    }
    return {"cpu": seconds[0], "wall": seconds[1], "rows": rows}


def measured(python: str, who: str, path: Path, full: bool, threads: int) -> dict:
    """One analysis in a process of its own."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    command = [python, __file__, "--worker", who, "--file", str(path)] + ["--full"] * full
    result = subprocess.run(
        command, env=os.environ | dict.fromkeys(names, str(threads)), capture_output=True, text=True
    )
    if result.returncode:
        sys.exit(f"{' '.join(command)} ended with {result.returncode}: {result.stderr[-800:]}")
    return json.loads(result.stdout.splitlines()[-1])


def compare(path: Path, truth: dict[str, str], here: dict, there: dict) -> None:
    """A row for every matrix; σ² and the largest singular value are those of entries of variance 1."""
    print("matrix | planted | σ²: here, there | spikes: here, there | α: here, there | said: here, there")
    for name, what in truth.items():
        a, b = here["rows"].get(name), there["rows"].get(name)
        if a is None or b is None:
            print(f"{name} | {what} | missing {'here' if a is None else 'there'}")
            continue
        print(
            f"{name} | {what} | {a['sigma2']:.4f}, {b['sigma2']:.4f} | {a['spikes']}, {b['spikes']} | "
            f"{a['alpha']:.2f}, {b['alpha']:.2f} | {a['says']}, {b['says']}"
        )
    with np.load(path) as file:
        for name in list(truth)[1:4]:
            s = np.linalg.svd(file[f"{name}.weight"].astype(np.float64), compute_uv=False)
            off = [abs(x["rows"][name]["largest"] / s[0] - 1) for x in (here, there)]
            print(f"{name}: largest singular value off numpy's by {off[0]:.1g} here, {off[1]:.1g} there")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--weightwatcher", default=sys.executable, help="a Python that has it")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--nulls", action="store_true", help="also with shuffled matrices")
    parser.add_argument("--worker", choices=("ours", "theirs"), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--full", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps({"ours": ours, "theirs": theirs}[options.worker](options.file, options.full)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path, shared = Path(folder) / "planted.npz", Path(folder) / "shared.npz"
        truth = planted(path, shared, options.layers)
        for full in (False, True) if options.nulls else (False,):
            times = []
            for _ in range(options.rounds):
                here = measured(sys.executable, "ours", path, full, options.threads)
                same = measured(sys.executable, "ours", shared, full, options.threads)
                there = measured(options.weightwatcher, "theirs", path, full, options.threads)
                times.append([x[kind] for kind in ("cpu", "wall") for x in (here, same, there)])
                cpu, same_cpu, other_cpu, wall, same_wall, other_wall = times[-1]
                print(
                    f"{'with nulls' if full else 'fits alone'}: processor seconds {cpu:.1f} here "
                    f"({same_cpu:.1f} for what both analyse), {other_cpu:.1f} there; "
                    f"elapsed {wall:.1f} ({same_wall:.1f}), {other_wall:.1f}",
                    flush=True,
                )
            best = np.min(times, axis=0)
            ratios = [best[2] / best[0], best[2] / best[1], best[5] / best[3], best[5] / best[4]]
            print(
                "ratio of the best: {:.1f}, for what both analyse {:.1f} (processor); "
                "{:.1f}, {:.1f} (elapsed)".format(*ratios)
            )
            if not full:
                compare(path, truth, here, there)


if __name__ == "__main__":
    main()

"""XLA's own program of a step for an H100, compiled without one: how many kernels it launches a step.

    python tests/cuda/xla_kernels.py            # of the models, needs jax-cuda13-plugin and jax-cuda13-pjrt
    python tests/cuda/xla_kernels.py --write    # ... into xla_kernels.json, which a test holds later ones to

What XLA is told of the card are the numbers of its data sheet.
"""

import argparse
import collections
import importlib.util
import json
import os
import re
from pathlib import Path

FILE = Path(__file__).with_name("xla_kernels.json")
SIZES = dict.fromkeys(("student", "online", "all"), (144, 10))
SIZES |= {"gibbs": (10, 64), "collapsed": (10, 64), "linear": (32, 64)}
NAME = "NVIDIA H100 80GB HBM3"
CARD = {
    "threads_per_block_limit": 1024,
    "threads_per_warp": 32,
    "threads_per_core_limit": 2048,
    "core_count": 132,
    "fpus_per_core": 128,
    "shared_memory_per_block": 48 * 1024,
    "shared_memory_per_block_optin": 227 * 1024,
    "shared_memory_per_core": 228 * 1024,
    "registers_per_core_limit": 65536,
    "registers_per_block_limit": 65536,
    "block_dim_limit_x": 2**31 - 1,
    "block_dim_limit_y": 2**16 - 1,
    "block_dim_limit_z": 2**16 - 1,
    "thread_dim_limit_x": 1024,
    "thread_dim_limit_y": 1024,
    "thread_dim_limit_z": 64,
    "memory_bandwidth": 3352320000000,
    "l2_cache_size": 50 * 2**20,
    "device_memory_size": 80 * 10**9,
    "clock_rate_ghz": 1.98,
    "device_address_bits": 64,
}
# Instructions of a program that are a kernel each.
KERNEL = re.compile(r" (fusion|custom-call|copy|dot|reduce|sort|scatter|dynamic-update-slice)\(")


def refuses() -> str | None:
    """Why nothing can be compiled here, or None."""
    if importlib.util.find_spec("jax_cuda13_plugin") is None:
        return "JAX's plugin for CUDA 13 is not installed"
    return None


def kernels_of(name: str) -> dict[str, int]:
    """Kernels in the body of the loop over steps, by kind."""
    import jax
    import jax.numpy as jnp
    import kernels
    import numpy as np
    from jax.experimental import topologies

    import dysonjax as dj
    from dysonjax.ensemble import programs

    card = " ".join(f"{key}: {value}" for key, value in CARD.items())
    card += f' name: "{NAME}" device_vendor: "NVIDIA Corporation" cuda_compute_capability {{ major: 9 }}'
    card += ' driver_version: "13.0.0" runtime_version: "13.0.0" compile_time_toolkit_version: "13.0.0"'
    told = f'gpu_device_info {{ {card} }} platform_name: "CUDA" device_description_str: "{NAME}"'
    told += " dnn_version_info { major: 9 minor: 12 patch: 0 }"
    topology = topologies.get_topology_desc(
        platform="cuda", topology_name="h100", topology="1x1x1", target_config=told
    )
    mesh = jax.sharding.Mesh(np.array(topology.devices[:1]), ("devices",))
    make, batch_size = kernels.MODELS[name]
    model = dj.models.teacher_student() if name == "student" else make()
    points, seeds = SIZES[name]
    one = kernels.of_model(model, batch_size, np.geomspace(0.01, 0.1, points).tolist(), seeds)
    built = programs.build(model, one.task.optimizer, batch_size, True, mesh, one.task.one.state)
    world, state = jax.eval_shape(built.start, one.tile.identity)
    number = jax.ShapeDtypeStruct((1,), jnp.int32)
    text = built.advance.lower(one.tile.identity, world, state, number, number).compile().as_text()
    bodies = set(re.findall(r"body=%?([\w.\-]+)", text))
    found = [_counted(text, body) for body in bodies]
    return dict(max(found, key=lambda kinds: sum(kinds.values())))


def _counted(text: str, body: str) -> collections.Counter:
    """The kernels of a computation and of those that it calls."""
    block = re.search(rf"^%?{re.escape(body)} .*?^}}", text, re.S | re.M).group(0)
    kinds = collections.Counter(KERNEL.findall(block))
    for called in re.findall(r"(?:to_apply|calls)=%?(command_buffer[\w.\-]*)", block):
        kinds += _counted(text, called)
    return kinds


def main() -> None:
    os.environ |= {"JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1"}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("names", nargs="*", default=list(SIZES))
    options = parser.parse_args()
    known = json.loads(FILE.read_text()) if FILE.exists() else {}
    for name in options.names:
        known[name] = sum((kinds := kernels_of(name)).values())
        print(f"{name}: {known[name]} kernels a step, {kinds}", flush=True)
    if options.write:
        FILE.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")


if __name__ == "__main__":
    main()

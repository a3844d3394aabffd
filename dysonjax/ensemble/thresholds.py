"""Numbers at which one target becomes faster than another, measured: `thresholds.json` holds them with the
measurement that chose each, and `benchmarks/targets.py` measures them again.
"""

import json
from pathlib import Path

FILE = Path(__file__).with_name("thresholds.json")
VALUES: dict[str, int] = {name: one["value"] for name, one in json.loads(FILE.read_text()).items()}

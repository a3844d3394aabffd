"""Put this folder on the path, for `ensemble_statistics`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

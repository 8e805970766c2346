"""Every kind of encoder on both backends: its loss falls, it goes on bit for bit, recomputation is equal.

In: nothing. Out: pytest's report. The same assertions as test_encoders.py and test_every_head.py, which take
those kinds that differ most; here are all of them, all are compiled, each has every kind of head, and
recomputation is compared with none:

    python scripts/check_encoders.py [-k NAME]
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "unit" / "architectures"
TESTS = [str(FOLDER / "test_encoders.py"), str(FOLDER / "test_every_head.py")]


def main() -> int:
    """Run the tests of all kinds on each backend; arguments go to pytest."""
    failed = 0
    for backend in ("tensorflow", "jax"):
        environment = {**os.environ, "KERAS_BACKEND": backend, "CLUE_EVERY_ENCODER": "1"}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS, *sys.argv[1:]]
        print(f"{backend}:", flush=True)
        failed += subprocess.run(command, env=environment, check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())

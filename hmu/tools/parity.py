"""``python -m hmu.tools.parity <folder>``: another name of ``python -m tests.parity``, which a checkout has."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Hand over to the tests of this checkout; exit code 2 with one line where there are none."""
    if not (ROOT / "tests" / "parity").is_dir():
        sys.stderr.write(
            "error: parity with the authors' code is checked by the tests of a checkout, which an installed package "
            "does not have: clone the repository and run python -m tests.parity <folder> in it\n"
        )
        sys.exit(2)
    sys.path.insert(0, str(ROOT))
    sys.exit(importlib.import_module("tests.parity.__main__").main(sys.argv[1:]))


if __name__ == "__main__":
    main()

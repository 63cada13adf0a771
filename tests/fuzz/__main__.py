"""``python -m tests.fuzz [count] [reader …]``: a table of what damaged files do to the readers; faults go to a folder.

With the environment variable ``FUZZ_KEEP=<folder>`` every file that caused a fault is kept there.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

from tests.fuzz.run import ALL, fuzz


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Print one line per reader; the exit code is 1 where there was a fault."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    total, faults, keep = 0, 0, os.environ.get("FUZZ_KEEP")
    for name in sys.argv[2:] or ALL:
        found = fuzz(name, count)
        total, faults = total + found.count, faults + len(found.faults)
        say(
            f"{name:18} {found.count:6} files {found.outcomes['read']:6} read {found.outcomes['refused']:6} refused "
            f"{len(found.faults):4} faults, slowest {found.slowest:.2f} s, {found.grown:+.0f} MB"
        )
        for told, times in Counter(told for told, _ in found.faults).most_common(12):
            say(f"    {times:4} x {told}")
        if keep:
            for number, (told, content) in enumerate(found.faults):
                target = Path(keep) / name.replace(" ", "_")
                target.mkdir(parents=True, exist_ok=True)
                (target / f"{number:03d}").write_bytes(content)
                (target / f"{number:03d}.why").write_text(told)
    say(f"{total} files, {faults} faults")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())

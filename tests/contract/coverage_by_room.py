"""Branch coverage per ready room from coverage's JSON report: each room must reach 85 %.

    python tests/contract/coverage_by_room.py coverage.json

What is left out is GPU or cluster code, excluded by name in the room's sources with `# pragma: no cover`
and a reason. Prints every room and engine; fails for rooms only.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

LEAST = 0.85
SOURCE = "src/firsthand/"


def shares(report: dict) -> dict[str, tuple[int, int]]:
    """Covered and all branches and lines, by room (data/preselect) or engine (lm)."""
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for file, entry in report["files"].items():
        parts = file.replace("\\", "/").partition(SOURCE)[2].split("/")
        key = "/".join(parts[:2]) if len(parts) > 2 else parts[0]
        summary = entry["summary"]
        found[key][0] += summary["covered_lines"] + summary["covered_branches"]
        found[key][1] += summary["num_statements"] + summary["num_branches"]
    return {key: (covered, total) for key, (covered, total) in found.items()}


def main(path: str) -> int:
    from firsthand.catalogue.rooms import all_rooms

    ready = {f"{room.folder.parent.name}/{room.folder.name}" for room in all_rooms() if room.ready}
    short = []
    for key, (covered, total) in sorted(shares(json.loads(Path(path).read_text(encoding="utf-8"))).items()):
        share = covered / total if total else 1.0
        if total > 1:
            print(f"{share:7.1%}  {key}{'  (room)' if key in ready else ''}")
        if key in ready and share < LEAST:
            short.append(f"{key}: {share:.1%} of lines and branches, {LEAST:.0%} wanted")
    for line in short:
        print(f"too little covered: {line}")
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

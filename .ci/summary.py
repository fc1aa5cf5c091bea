"""Time per room from a JUnit file, and an error for every skip that is not allowed by name."""

import sys
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from pathlib import Path


def main(report: str, allowed: str) -> int:
    seconds: dict[str, float] = defaultdict(float)
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    may_skip = {
        line.split("#")[0].strip() for line in Path(allowed).read_text(encoding="utf-8").splitlines()
    } - {""}
    surprises = []
    for case in ElementTree.parse(report).iter("testcase"):
        module = case.get("classname", "")
        parts = module.removeprefix("tests.").split(".")
        seconds["/".join(parts[:2])] += float(case.get("time", 0))
        skipped = case.find("skipped")
        if skipped is not None:
            counts["skipped"] += 1
            name = f"{module}::{case.get('name')}"
            if name not in may_skip and module not in may_skip:
                surprises.append(f"{name}: {skipped.get('message')}")
        elif case.find("failure") is not None or case.find("error") is not None:
            counts["failed"] += 1
        else:
            counts["passed"] += 1
    for part, spent in sorted(seconds.items(), key=lambda pair: -pair[1]):
        print(f"{spent:8.1f} s  {part}")
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    for surprise in surprises:
        print(f"unexpected skip: {surprise}")
    return 1 if surprises else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))

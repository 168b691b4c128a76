"""distill beside PyTorch, JAX and scikit-learn: the same work, in turn, in one run. `python tests/peers --help`.

Read in this order: `cases` and `rows` (the work), `protocol` (how a contender is asked), `contender_*` and `machine`
(those who do it), `contest` (taking turns), `whole*` (complete programs), `growth` (distill alone), `tables`.
"""

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import contest
import environment
import growth
import tables
import whole


def main() -> int:
    """Measure what is asked for; 1 if the contenders did not do the same work."""
    args = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # else contenders and folders stay behind
    python = environment.prepare(args.env.expanduser().absolute())
    steps = args.steps or not (args.whole or args.growth)
    found: dict[str, Any] = {"machine": _machine(python), "repeats": args.repeats}
    print(tables.machine(found["machine"]))
    with tempfile.TemporaryDirectory(prefix="distill-peers-") as folder:
        scratch = Path(folder)
        variables = environment.variables(scratch)
        if steps:
            found["steps"] = contest.run(python, variables, scratch, args.repeats, args.only)
            print(tables.steps(found["steps"]))
        if args.whole:
            found["whole"] = whole.run(python, variables, scratch, args.repeats)
            print(tables.whole(found["whole"]))
        if args.growth:
            found["growth"] = growth.run(python, variables, scratch, args.repeats)
            print(tables.growth(found["growth"]))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0 if all(one["same"] for one in found.get("steps", [])) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python tests/peers", description=__doc__)
    parser.add_argument("--env", type=Path, default=environment.DEFAULT, help="the environment's folder (%(default)s)")
    parser.add_argument("--repeats", type=int, default=7, help="turns, whose medians count (%(default)s)")
    parser.add_argument("--steps", action="store_true", help="time per training step (the default)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only cases whose name holds this, such as 64-32-10")
    parser.add_argument("--whole", action="store_true", help="the whole default command beside complete scripts")
    parser.add_argument("--growth", action="store_true", help="how distill's time and memory grow")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number")
    args = parser.parse_args()
    if args.repeats < 1:
        parser.error("--repeats must be at least 1")
    return args


def _machine(python: Path) -> dict[str, Any]:
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        named = (line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line)
        model = next(named, model)
    return {
        "date": date.today().isoformat(),
        "processor": model,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": environment.versions(python, [*environment.PACKAGES, "jaxlib", "scipy"]),
    }


if __name__ == "__main__":
    sys.exit(main())

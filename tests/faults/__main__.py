"""`python -m tests.faults`: storm after storm, until so many faults have struck real engines."""

import argparse
import secrets
import sys
import time
from collections import Counter

from .engines import running_engines
from .storm import Report, Storm

INGEST, CLOSE = 20, 10
"""Faults of one storm: while messages come in, and while months are closed."""


def main() -> int:
    """0 when all books were right."""
    options = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    options.add_argument("--faults", type=int, default=100, help="stop when so many have struck")
    options.add_argument("--seed", type=int, help="the first storm's seed; the next ones count on")
    chosen = options.parse_args()
    seed = secrets.randbelow(1_000_000_000) if chosen.seed is None else chosen.seed
    wrong = [report for report in run(seed, chosen.faults) if report.wrong]
    for report in wrong:
        print(f"\nseed {report.seed}:", *report.wrong, sep="\n  ")
    return 1 if wrong else 0


def run(seed: int, faults: int) -> list[Report]:
    """Storms over the same engines until so many faults have struck; progress goes to standard output."""
    reports: list[Report] = []
    began = time.monotonic()
    with running_engines() as engines:
        while sum(report.struck.total() for report in reports) < faults:
            print(f"seed {seed + len(reports)}: ", end="", flush=True)
            report = Storm(engines, seed + len(reports), _note).run(INGEST, CLOSE)
            reports.append(report)
            books = "WRONG" if report.wrong else "books right"
            print(
                f" {report.events:,} events, {report.copies} copies, {report.struck.total()} faults, "
                f"{report.seconds:.0f} s, {books}",
                flush=True,
            )
    _sum_up(reports, time.monotonic() - began)
    return reports


def _note(_kind: str) -> None:
    print(".", end="", flush=True)


def _sum_up(reports: list[Report], seconds: float) -> None:
    struck = sum((report.struck for report in reports), Counter[str]())
    missed = sum((report.missed for report in reports), Counter[str]())
    recoveries = sorted(each for report in reports for each in report.recoveries)
    print(f"\n{struck.total()} faults in {seconds / 60:.1f} min")
    if recoveries:
        middle, longest = recoveries[len(recoveries) // 2], recoveries[-1]
        print(f"until all that was sent was decided: median {middle:.1f} s, longest {longest:.1f} s")
    for kind in sorted(struck | missed, key=lambda kind: -struck[kind]):
        unreached = f" ({missed[kind]} more were not reached)" if missed[kind] else ""
        print(f"  {struck[kind]:4d} {kind}{unreached}")


if __name__ == "__main__":
    sys.exit(main())

"""The closing line of the whole suite: what passed, failed and was skipped, over all of its stages."""

import sys
from pathlib import Path
from xml.etree import ElementTree

STAGES = ("check", "engines", "e2e")


def main(results: Path) -> int:
    """Print the totals of the JUnit files; 1 when a stage left none, or a test failed or was skipped."""
    passed = failed = skipped = 0
    missing = [stage for stage in STAGES if not (results / f"{stage}.xml").is_file()]
    for stage in sorted(set(STAGES) - set(missing)):
        for suite in ElementTree.parse(results / f"{stage}.xml").getroot().iter("testsuite"):
            total, bad, away = (int(suite.get(key, 0)) for key in ("tests", "failures", "skipped"))
            bad += int(suite.get("errors", 0))
            passed, failed, skipped = passed + total - bad - away, failed + bad, skipped + away
    for stage in missing:
        print(f"stage {stage} gave no result: see its output above")
    print(f"\n{passed} passed, {failed + len(missing)} failed, {skipped} skipped")
    return 1 if failed or missing or skipped or not passed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

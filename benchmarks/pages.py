"""The measured pages of docs/, docs/figures and the measured parts of README.md and docs/concepts.md, made from benchmarks/results and from nothing else.

python benchmarks/pages.py            # write them
python benchmarks/pages.py --check    # only say whether they are what the result files give (exit status 1 if not)
"""

from __future__ import annotations

import argparse
import json
import sys

from evidence_page import evidence
from filled_parts import filled
from lab_notes_page import lab_notes
from page_parts import RESULTS, ROOT, AnyResult, drawn
from performance_page import performance
from results_page import results_page

from foreact.evaluation.results import Results


def written(files: dict[str, AnyResult]) -> dict[str, str]:
    """Path in the repository -> text of everything that is made from the result files."""
    pages = {
        "evidence": evidence(files), "results": results_page(files), "performance": performance(files), "lab_notes": lab_notes(files),
    }  # fmt: skip
    return {
        **{f"docs/{name}.md": text for name, text in pages.items()},
        **{f"docs/figures/{name}": text for name, text in drawings(files).items()},
        **{name: filled((ROOT / name).read_text(), files) for name in ("README.md", "docs/concepts.md")},
    }


def drawings(files: dict[str, AnyResult]) -> dict[str, str]:
    """The files of docs/figures and their text."""
    found = {f"{name}.svg": drawn(result) for name, result in files.items() if isinstance(result, Results)}
    return {name: text for name, text in found.items() if text}


def load() -> dict[str, AnyResult]:
    """All result files by name: of evaluations and studies, and what benchmarks wrote."""
    found: dict[str, AnyResult] = {}
    for path in sorted(RESULTS.glob("*.json")):
        data = json.loads(path.read_text())
        found[path.stem] = data if "benchmark" in data else Results.load(path)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    stale = 0
    for name, text in written(load()).items():
        path = ROOT / name
        if options.check:
            current = path.exists() and path.read_text() == text
            stale += not current
            print(f"{name}: {'up to date' if current else 'stale, run python benchmarks/pages.py'}")
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            print(f"{name} written")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())

"""Write docs/numbers.json from finished runs, and put its numbers into the README and the recipes' headers.

    kcomp train recipes/digits.py --backend jax --fold all && kcomp train recipes/digits.py --backend torch --fold all
    python scripts/write_numbers.py runs/digits

Each argument is a folder of runs of one recipe, seed 0, all folds.
tests/test_docs.py checks that the texts agree with the file.
"""

import argparse
import json
import re
import statistics
from pathlib import Path

ROOT = Path(__file__).parents[1]
NUMBERS = ROOT / "docs" / "numbers.json"
MARKED = re.compile(r"(?P<open><!-- numbers (?P<name>\w+) -->\n)(?P<text>.*?)(?P<close>\n<!-- end -->)", re.S)
HEADER = re.compile(r"Result: .*?(?=\n\n|\n\"\"\")", re.S)
LABELS = {"jax": "JAX", "torch": "PyTorch"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, help="such as runs/digits; none writes the texts again")
    numbers = json.loads(NUMBERS.read_text()) if NUMBERS.exists() else {}
    for folder in parser.parse_args().folders:
        numbers[folder.name] = measure(folder)
    NUMBERS.write_text(json.dumps(numbers, indent=2, sort_keys=True) + "\n")
    for path, text in texts(numbers).items():
        path.write_text(text)


def measure(folder: Path) -> dict[str, dict[str, list[float]]]:
    """Return {backend: {"accuracy", "log_loss" and "rows" of each fold}} of the runs of one fingerprint."""
    if len(fingerprints := sorted(folder.glob("*/*-seed0-fold0/result.json"))) > len(LABELS):
        raise SystemExit(f"{folder} has runs of several fingerprints: {fingerprints}")
    measured = {}
    for backend in LABELS:
        results = [json.loads(path.read_text()) for path in sorted(folder.glob(f"*/{backend}-seed0-fold*/result.json"))]
        if results:
            measured[backend] = {
                "accuracy": [round(result["scores"]["accuracy"], 6) for result in results],
                "log_loss": [round(result["scores"]["log_loss"], 6) for result in results],
                "rows": [result["rows"] for result in results],
            }
    return measured


def texts(numbers: dict[str, dict[str, dict[str, list[float]]]]) -> dict[Path, str]:
    """Return every file that shows numbers, with the text it must have."""
    readme = ROOT / "README.md"
    shown = {readme: MARKED.sub(lambda match: match["open"] + table(numbers) + match["close"], readme.read_text())}
    for name, backends in numbers.items():
        path = ROOT / "recipes" / f"{name}.py"
        shown[path] = HEADER.sub(header(backends), path.read_text(), count=1)
    return shown


def table(numbers: dict[str, dict[str, dict[str, list[float]]]]) -> str:
    lines = ["| recipe | rows | accuracy on JAX | accuracy on PyTorch |", "|---|---|---|---|"]
    for name, backends in numbers.items():
        rows = sum(next(iter(backends.values()))["rows"])
        cells = [summary(backends[backend]["accuracy"]) if backend in backends else "" for backend in LABELS]
        lines.append(f"| `{name}.py` | {rows:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def header(backends: dict[str, dict[str, list[float]]]) -> str:
    parts = [f"{summary(found['accuracy'])} on {LABELS[backend]}" for backend, found in backends.items()]
    score = " and ".join(parts)
    return f"Result: out-of-fold accuracy\n{score}\n(mean and standard deviation over folds, last epoch, one view)."


def summary(values: list[float]) -> str:
    """Return the mean and the standard deviation over folds, or the value of a single fold."""
    if len(values) == 1:
        return f"{values[0]:.3f} (n = 1 fold)"
    return f"{statistics.mean(values):.3f} +- {statistics.stdev(values):.3f} (n = {len(values)} folds)"


if __name__ == "__main__":
    main()

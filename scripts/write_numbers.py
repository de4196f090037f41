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
from typing import Any

ROOT = Path(__file__).parents[1]
NUMBERS = ROOT / "docs" / "numbers.json"
MARKED = re.compile(r"(?P<open><!-- numbers (?P<name>\w+) -->\n)(?P<text>.*?)(?P<close>\n<!-- end -->)", re.S)
HEADER = re.compile(r"Result: .*?(?=\n\n|\n\"\"\")", re.S)
LABELS = {"jax": "JAX", "torch": "PyTorch"}
METRICS = {"roc_auc": "ROC AUC (mean of the labels)", "mae": "mean absolute error"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, help="such as runs/digits; none writes the texts again")
    numbers = json.loads(NUMBERS.read_text()) if NUMBERS.exists() else {}
    for folder in parser.parse_args().folders:
        numbers[folder.name] = measure(folder)
    changed = texts(numbers)  # raises before anything is written
    NUMBERS.write_text(json.dumps(numbers, indent=2, sort_keys=True) + "\n")
    for path, text in changed.items():
        path.write_text(text)


def measure(folder: Path) -> dict[str, dict[str, Any]]:
    """Return {backend: {"metric", "scores" and "rows" of each fold}} of the runs of one fingerprint.

    The scores are the accuracy on each fold's held-out rows; where it has no meaning, the recipe's metric.
    """
    if len(fingerprints := sorted({path.parents[1] for path in folder.glob("*/*-seed0-fold*/result.json")})) != 1:
        raise SystemExit(f"{folder} must have runs of one fingerprint; it has {[path.name for path in fingerprints]}")
    measured = {}
    for backend in LABELS:
        paths = sorted(fingerprints[0].glob(f"{backend}-seed0-fold*/result.json"))
        if results := [json.loads(path.read_text()) for path in paths]:
            metric = "accuracy" if "accuracy" in results[0]["scores"] else results[0]["metric"]
            measured[backend] = {
                "metric": metric,
                "scores": [round(result["scores"][metric], 6) for result in results],
                "rows": [result["rows"] for result in results],
            }
    return measured


def texts(numbers: dict[str, dict[str, dict[str, Any]]]) -> dict[Path, str]:
    """Return every file that shows numbers, with the text it must have."""
    readme = ROOT / "README.md"
    shown = {readme: MARKED.sub(lambda match: match["open"] + table(numbers) + match["close"], readme.read_text())}
    for name, backends in sorted(numbers.items()):
        path = ROOT / "recipes" / f"{name}.py"
        if not path.exists() or not HEADER.search(path.read_text()):
            raise SystemExit(f"{path} must be a recipe with a line 'Result: ...' in its header")
        shown[path] = HEADER.sub(header(backends), path.read_text(), count=1)
    return shown


def table(numbers: dict[str, dict[str, dict[str, Any]]]) -> str:
    lines = ["| recipe | rows | score | JAX | PyTorch |", "|---|---|---|---|---|"]
    for name, backends in sorted(numbers.items()):
        first = next(iter(backends.values()))
        cells = [summary(backends[backend]["scores"]) if backend in backends else "not measured" for backend in LABELS]
        lines.append(f"| `{name}.py` | {sum(first['rows']):,} | {words(first)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def header(backends: dict[str, dict[str, Any]]) -> str:
    parts = [f"{summary(measured['scores'])} on {LABELS[backend]}" for backend, measured in backends.items()]
    metric = words(next(iter(backends.values())))
    last = "(mean and standard deviation over folds, last epoch, one view)."
    return f"Result: out-of-fold {metric}\n{' and '.join(parts)}\n{last}"


def words(measured: dict[str, Any]) -> str:
    return METRICS.get(measured["metric"], measured["metric"].replace("_", " "))


def summary(values: list[float]) -> str:
    """Return the mean and the standard deviation over folds, or the value of a single fold."""
    if len(values) == 1:
        return f"{values[0]:.3f} (n = 1 fold)"
    return f"{statistics.mean(values):.3f} +- {statistics.stdev(values):.3f} (n = {len(values)} folds)"


if __name__ == "__main__":
    main()

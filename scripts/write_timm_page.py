"""Write the table of docs/results/timm.md from kcomp/models/checkpoints/checks.csv.

python scripts/write_timm_page.py
"""

import csv
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
CHECKS = ROOT / "kcomp/models/checkpoints/checks.csv"
PAGE = ROOT / "docs/results/timm.md"
MARK = "<!-- table -->\n"


def main():
    PAGE.write_text(page_text())


def page_text():
    """Return the whole page. Its text before the table stays."""
    with CHECKS.open(newline="") as file:
        rows = list(csv.DictReader(file))
    families = defaultdict(list)
    for row in rows:
        families[row["family"]].append(row)
    lines = ["| family | architectures | PyTorch | JAX |", "|---|---|---|---|"]
    lines += [
        f"| {family} | {len(own)} | {largest(own, 'torch')} | {largest(own, 'jax')} |"
        for family, own in sorted(families.items())
    ]
    lines.append(f"| all | {len(rows)} | {largest(rows, 'torch')} | {largest(rows, 'jax')} |")
    text = PAGE.read_text()
    return text[: text.index(MARK) + len(MARK)] + "\n" + "\n".join(lines) + "\n"


def largest(rows, backend):
    """Return the largest difference and the number of networks, such as "1.2e-06 (3)"."""
    values = [float(row[backend]) for row in rows if row[backend]]
    return f"{max(values):.1e} ({len(values)})" if values else "not measured"


if __name__ == "__main__":
    main()

"""Run the processes of a comparison one after the other, judge what they found, and write the report."""

import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from kcomp.compare import jobs
from kcomp.compare.jobs import ProbeJob
from kcomp.compare.parent.divergence import diverge
from kcomp.compare.parent.outcome import outcome, trained_runs
from kcomp.compare.parent.sections import sections
from kcomp.compare.parent.verdict import Probe, judge, unit_of
from kcomp.report.page import Section, html, markdown
from kcomp.system.files import write_atomically, write_json


@dataclass(frozen=True)
class CompareOptions:
    """What the command line asks for."""

    recipe: Path
    backends: tuple[str, ...]
    seeds: tuple[int, ...]
    folds: tuple[int, ...]
    assignments: tuple[str, ...]
    updates: int
    output: Path | None
    debug: bool

    @property
    def labels(self) -> dict[str, str]:
        """The backend of each label."""
        return dict(zip(jobs.named(self.backends), self.backends, strict=True))


def compare(options: CompareOptions, folder: Path, console: Console) -> tuple[Path, list[Section], str | None]:
    """Compare, and return the folder of the report, its sections, and why the outcome is missing, if it is.

    `folder` is for what processes hand each other. SystemExit with a process's exit code where one fails.
    """
    first = next(iter(options.labels))
    base = ProbeJob(
        "setup",
        options.labels[first],
        first.replace(" ", "-"),
        str(options.recipe),
        options.assignments,
        options.seeds[0],
        options.folds[0],
        options.updates,
        str(folder),
        debug=options.debug,
    )
    said(console, "the recipe and its starting weights")
    setup = run(base).answer()
    target = options.output or Path("compare") / setup["name"] / setup["fingerprint"]
    report = {
        "recipe": setup["name"],
        "fingerprint": setup["fingerprint"],
        "command": shlex.join(["kcomp", *sys.argv[1:]]),
    }
    report |= {"labels": list(options.labels), "seed": options.seeds[0], "fold": options.folds[0]}
    report |= measured(options, base, setup, console)
    shutil.rmtree(folder, ignore_errors=True)  # large, and no longer needed while runs are trained
    said(console, "the outcome: complete runs are taken as they are")
    wanted = [(seed, fold) for seed in options.seeds for fold in options.folds]
    arguments = [part for text in options.assignments for part in ("--set", text)]
    try:
        report["outcome"] = outcome(trained_runs(options.labels, options.recipe, setup, target, wanted, arguments))
    except RuntimeError as error:  # what was measured before is not lost for it
        report["outcome"] = {"failed": str(error)}
    return target, write(target, report), report["outcome"].get("failed")


def measured(options: CompareOptions, base: ProbeJob, setup: Mapping[str, Any], console: Console) -> dict[str, Any]:
    """Arithmetic, trajectory, cost and environment, each from processes of their own."""
    exacts, reference = exact_probes(options, base, setup, console)
    singles, costs = [], {}
    for label, backend in options.labels.items():
        said(console, f"{label}: the arithmetic as it trains, and {options.updates} updates in four orders")
        job = run(replace(base, part="single", backend=backend, label=label.replace(" ", "-")))
        singles.append(Probe(label, backend, job.answer(), job.arrays()))
    for label, backend in options.labels.items():
        said(console, f"{label}: what it costs")
        costs[label] = run(replace(base, part="cost", backend=backend, label=label.replace(" ", "-"))).answer()
    return {
        "stage": setup["stage"],
        "silenced": singles[0].answer["silenced"],
        "train_batch_norm": singles[0].answer["train_batch_norm"],
        "arithmetic": judge(reference, exacts, singles, unit_of(setup["precision"], setup["device"])),
        "trajectory": diverge(singles, costs),
        "cost": costs,
        "environment": {probe.label: probe.answer["environment"] for probe in singles},
    }


def exact_probes(
    options: CompareOptions, base: ProbeJob, setup: Mapping[str, Any], console: Console
) -> tuple[list[Probe], Probe]:
    """The float64 processes, one for each backend; the reference is the first: PyTorch, which compiles nothing."""
    found: list[Probe] = []
    for backend in sorted(set(options.backends), reverse=True):
        said(console, f"{backend}: the reference in float64")
        unit = unit_of(setup["precision"], setup["device"])
        job = replace(base, part="exact", backend=backend, label=backend, reference=not found, unit=unit)
        found.append(Probe(backend, backend, run(job).answer(), job.arrays()))
    return found[1:], found[0]


def run(job: ProbeJob) -> ProbeJob:
    code = jobs.start(job)
    if code:
        raise SystemExit(code)
    return job


def said(console: Console, text: str) -> None:
    console.print(f"compare: {text}", highlight=False, soft_wrap=True)


def write(target: Path, report: Mapping[str, Any]) -> list[Section]:
    """report.json, report.md and report.html."""
    found = sections(report)
    title = f"{report['recipe']}: {' and '.join(report['labels'])}"
    write_json(target / "report.json", report)
    write_atomically(target / "report.md", markdown(title, report["command"], found).encode())
    write_atomically(target / "report.html", html(title, report["command"], found).encode())
    return found

"""Run the measurements of a comparison one after the other, and write the report."""

import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from kcomp.compare import jobs
from kcomp.compare.jobs import ProbeJob
from kcomp.compare.parent.arithmetic import check_arithmetic
from kcomp.compare.parent.arithmetic_section import joined_names
from kcomp.compare.parent.divergence import measure_divergence
from kcomp.compare.parent.outcome import compare_scores
from kcomp.compare.parent.sections import report_sections
from kcomp.compare.parent.tolerances import Probe, unit_of
from kcomp.compare.parent.trained_runs import trained_runs
from kcomp.compare.parent.verdict import display_name, give_verdict
from kcomp.report.page import Section, html, markdown
from kcomp.system.files import write_atomically, write_json


@dataclass(frozen=True)
class CompareOptions:
    """The options of `kcomp compare`. `output` is the folder of the report, or None for the default folder."""

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
        """{name of the backend in the report: "jax" or "torch"}. A name may be "jax again"."""
        return dict(zip(jobs.unique_labels(self.backends), self.backends, strict=True))


def compare(options: CompareOptions, folder: Path, console: Console) -> tuple[Path, list[Section], str | None]:
    """Compare two backends, and write the report.

    Args:
        options: The options of the command.
        folder: A temporary folder for the files that the processes exchange.
        console: Where to print.

    Returns:
        The folder of the report, the sections of the report, and the error of a failed training or None.

    Raises:
        SystemExit: If a measurement fails, with the exit code of its process.
    """
    first = next(iter(options.labels))
    base = ProbeJob(
        part="setup",
        backend=options.labels[first],
        label=first.replace(" ", "-"),
        recipe=str(options.recipe),
        assignments=options.assignments,
        seed=options.seeds[0],
        fold=options.folds[0],
        updates=options.updates,
        folder=str(folder),
        debug=options.debug,
    )
    announce(console, "read the recipe, make its starting weights")
    setup = run(base).answer()
    target = options.output or Path("compare") / setup["name"] / setup["fingerprint"]
    report = {
        "recipe": setup["name"],
        "fingerprint": setup["fingerprint"],
        "command": shlex.join(["kcomp", *sys.argv[1:]]),
        "labels": list(options.labels),
        "seed": options.seeds[0],
        "fold": options.folds[0],
        **measure_backends(options, base, setup, console),
    }
    shutil.rmtree(folder, ignore_errors=True)  # large, and no longer needed
    announce(console, "scores of complete runs; train those that are missing")
    pairs = [(seed, fold) for seed in options.seeds for fold in options.folds]
    arguments = [part for text in options.assignments for part in ("--set", text)]
    try:
        runs = trained_runs(options.labels, options.recipe, setup, target, pairs, arguments)
        report["outcome"] = compare_scores(runs)
    except RuntimeError as error:  # the report keeps the measurements so far
        report["outcome"] = {"failed": str(error)}
    return target, write_report(target, report), report["outcome"].get("failed")


def measure_backends(
    options: CompareOptions, base: ProbeJob, setup: Mapping[str, Any], console: Console
) -> dict[str, Any]:
    """Measure arithmetic, first updates, cost and environment of each backend. Return them as a dict for the report.

    Args:
        options: The options of the command.
        base: A description of a measurement. Each process gets a changed copy.
        setup: Facts about the recipe, from the first process.
        console: Where to print.
    """
    unit = unit_of(setup["precision"], setup["device"])
    base = replace(base, unit=unit)
    exacts, reference = exact_probes(options, base, console)
    singles, costs = [], {}
    for label, backend in options.labels.items():
        announce(console, f"{display_name(label)}: one step layer by layer, then {options.updates} updates in 4 orders")
        job = run(replace(base, part="single", backend=backend, label=label.replace(" ", "-")))
        singles.append(Probe(label, backend, job.answer(), job.arrays()))
    for label, backend in options.labels.items():
        announce(console, f"{display_name(label)}: speed and memory")
        costs[label] = run(replace(base, part="cost", backend=backend, label=label.replace(" ", "-"))).answer()
    return {
        "stage": setup["stage"],
        "silenced": singles[0].answer["silenced"],
        "train_batch_norm": singles[0].answer["train_batch_norm"],
        "arithmetic": check_arithmetic(reference, exacts, singles, unit),
        "trajectory": measure_divergence(singles, costs),
        "cost": costs,
        "environment": {probe.label: probe.answer["environment"] for probe in singles},
    }


def exact_probes(options: CompareOptions, base: ProbeJob, console: Console) -> tuple[list[Probe], Probe]:
    """Run each backend in float64. Return two things: the results of the other backends, and the results of the
    reference.

    The reference is the first process. It stores all tensors, and the other backends run each layer on these tensors.
    """
    probes: list[Probe] = []
    for backend in sorted(set(options.backends), reverse=True):
        announce(console, f"{display_name(backend)}: one step in float64")
        job = replace(base, part="exact", backend=backend, label=backend, reference=not probes)
        probes.append(Probe(backend, backend, run(job).answer(), job.arrays()))
    return probes[1:], probes[0]


def run(job: ProbeJob) -> ProbeJob:
    code = jobs.run_process(job)
    if code:
        raise SystemExit(code)
    return job


def announce(console: Console, text: str) -> None:
    console.print(f"compare: {text}", highlight=False, soft_wrap=True)


def write_report(target: Path, report: Mapping[str, Any]) -> list[Section]:
    verdict = give_verdict(report)
    sections = report_sections(report, verdict)
    title = f"{report['recipe']}: {joined_names(report['labels'])}"
    write_json(target / "report.json", {"verdict": asdict(verdict), **report})
    write_atomically(target / "report.md", markdown(title, report["command"], sections).encode())
    write_atomically(target / "report.html", html(title, report["command"], sections).encode())
    return sections

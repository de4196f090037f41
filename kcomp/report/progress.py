"""Show the progress of a task that has several steps."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class StepProgress:
    """A context manager that shows a progress bar with the current step and the time left.

    Without a terminal, it prints the name of each step.

    Args:
        console: Where to print.
        title: The name of the task, such as "check".
        total: The work of all steps, in any unit, such as images.
    """

    def __init__(self, console: Console, title: str, total: float) -> None:
        columns = ("{task.description}", BarColumn(), TimeRemainingColumn(), TextColumn("{task.fields[step]}"))
        self.console, self.title = console, title
        self.bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.task = self.bar.add_task(title, total=max(total, 1), step="")

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, place: TracebackType | None
    ) -> None:
        self.bar.stop()

    def start_step(self, name: str) -> None:
        self.bar.update(self.task, step=name)
        if not self.console.is_terminal:
            self.console.print(f"{self.title}: {name}", highlight=False, soft_wrap=True, markup=False)

    def advance(self, work: float) -> None:
        """Add finished work to the progress bar, in the unit of `total`."""
        self.bar.advance(self.task, work)

    def counter(self, work: float) -> Callable[[int, int], None]:
        """Return a function that a step calls with its number of finished items and its number of all items.

        `work` is the work of all these items.
        """
        finished = 0.0

        def count(done: int, total: int) -> None:
            nonlocal finished
            share = work * done / max(total, 1)
            self.advance(share - finished)
            finished = share

        return count

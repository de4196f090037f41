"""Show the output of a training in a terminal or notebook, with a progress bar for the epochs."""

from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kcomp.report.console import PlainConsole
from kcomp.sweep.progress import parse_epoch
from kcomp.system.backends import is_installed


class ProgressDisplay:
    """A context manager that prints the output of a training, and shows a progress bar for its epochs."""

    def __init__(self) -> None:
        console = PlainConsole()
        visible = is_installed("ipywidgets") if console.is_jupyter else console.is_terminal
        columns = TextColumn("epoch"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        self.bar = Progress(*columns, console=console, transient=True, disable=not visible)
        self.task = self.bar.add_task("epoch", total=None, visible=False)

    def __enter__(self) -> "ProgressDisplay":
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def line(self, text: str) -> None:
        """Print a line of the training's output. If it names an epoch, update the progress bar."""
        if epochs := parse_epoch(text):
            self.bar.update(self.task, completed=epochs[0], total=epochs[1], visible=True)
        self.bar.console.print(text, highlight=False, soft_wrap=True, markup=False)

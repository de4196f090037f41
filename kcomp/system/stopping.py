"""Stop a training after a time, on ctrl-C or on SIGTERM, with a saved state."""

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

import click

PATIENCE = 3.0  # seconds from a signal to the end, if no batch ends in this time
SIGNALS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
NOT_FINISHED = 75  # exit code "try again later" (EX_TEMPFAIL of sysexits.h)


class StoppedError(Exception):
    """Raised in a training that ends early.

    Attributes:
        signal: The signal that ended the training. None if its time is over.
        saved: Where the saved state is, such as "epoch 3 of 20, after batch 12 of 40". Empty if the state was not saved
            when the training ended.
    """

    def __init__(self, signal_number: int | None, saved: str = "") -> None:
        super().__init__(saved)
        self.signal, self.saved = signal_number, saved


class Stopper:
    """Knows when a training must stop.

    Args:
        seconds: The time of the training, from now on. None for no limit.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self.started = time.monotonic()  # not changed by a clock that jumps
        self.seconds = seconds
        self.signal: int | None = None
        self.reserve: Callable[[], float] = lambda: 0.0  # seconds that are needed after the last batch

    def is_due(self) -> bool:
        """Return whether the training must stop now."""
        return self.signal is not None or (self.seconds is not None and self.remaining() <= self.reserve())

    def remaining(self) -> float:
        """Return how many seconds are left. Infinity without a limit."""
        if self.seconds is None:
            return float("inf")
        return self.seconds - (time.monotonic() - self.started)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Stop the training on ctrl-C and SIGTERM inside a `with` block. Ignored signals stay ignored.

        After a signal, the training has `PATIENCE` seconds to save its state at the end of a batch. Then, or on a
        second signal, the block raises StoppedError. Outside of the main thread, do nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self._hear) for number in heard}
        try:
            yield
        finally:
            self.set_alarm(0)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hear(self, number: int, _: FrameType | None) -> None:
        if self.signal is not None or not hasattr(signal, "setitimer"):
            raise StoppedError(number)
        self.signal = number
        signal.signal(signal.SIGALRM, self._end)
        self.set_alarm(PATIENCE)

    def _end(self, *_: object) -> None:
        raise StoppedError(self.signal)

    @staticmethod
    def set_alarm(seconds: float) -> None:
        """End the training in so many seconds. 0 turns this off."""
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, seconds)


@contextlib.contextmanager
def readable_stop() -> Iterator[None]:
    """Print a line and exit if a training inside the `with` block ends early.

    The exit code is 130 after ctrl-C, 143 after SIGTERM, and 75 if the time is over.
    """
    try:
        yield
    except StoppedError as stop:
        place = f" in {stop.saved}, which is saved" if stop.saved else ""
        reason = "the time of --stop-after is over" if stop.signal is None else SIGNALS[signal.Signals(stop.signal)]
        click.echo(f"kcomp: {reason}{place}; run the same command again to continue", err=True)
        sys.exit(NOT_FINISHED if stop.signal is None else 128 + stop.signal)

"""The options of `kcomp ensemble` and `kcomp submit` that correct final predictions."""

from typing import Any

import click

from kcomp.system.errors import UsageError

SMOOTH = (
    "Replace probabilities p of rows whose largest one is above ABOVE by (1 - SHARE) p + SHARE / K, with K classes, "
    "such as 0.1 0.9."
)
PRIORS = "Estimate the class rates of the test rows, print them, and correct the test predictions for them."

smooth_option = click.option("--smooth", nargs=2, type=float, metavar="SHARE ABOVE", help=SMOOTH)
priors_option = click.option("--correct-priors", is_flag=True, help=PRIORS)


def build_corrections(smooth: tuple[float, float] | None, correct_priors: bool) -> Any:
    """Return the corrections that the options select. Raise UsageError if a number is out of range."""
    from kcomp.ensembles.corrections.apply import Corrections

    if smooth is not None and not (0 < smooth[0] < 1 and 0 <= smooth[1] < 1):
        raise UsageError(
            "--smooth takes a share above 0 and below 1, and a threshold from 0 to below 1, such as 0.1 0.9; received "
            f"{smooth[0]:g} {smooth[1]:g}"
        )
    return Corrections(smooth, correct_priors)

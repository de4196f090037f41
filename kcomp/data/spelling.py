"""Join class names that differ only in spaces, Unicode form or case, such as `rust` and `Rust`."""

import unicodedata
from collections import Counter

import pandas as pd

from kcomp.system.notices import notice

JOINED = "joined the spellings"  # in the notice; kcomp check looks for it


def join_spellings(names: pd.Series, source: str) -> pd.Series:
    """Return the class names with one spelling for each class, and print a notice of the changed spellings.

    Names are one class if they differ only in case, surrounding spaces or Unicode form. They get the most frequent of
    their spellings. If several are equally frequent, capital letters win: `Rust`, not `rust`. Names of one letter keep
    their case.

    Args:
        names: One class name for each row. Missing values stay missing, and blank texts become missing.
        source: The origin of the names, such as "train.csv, label", for the notice.

    Examples:
        >>> import pandas as pd
        >>> import warnings
        >>> from kcomp.data.spelling import join_spellings
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore")
        ...     join_spellings(pd.Series(["rust", "Rust", "rust ", "scab"]), "train.csv, label").tolist()
        ['rust', 'rust', 'rust', 'scab']
    """
    counts = Counter(names.dropna())
    tidy = {name: unicodedata.normalize("NFC", name).strip() for name in counts}
    groups: dict[str, list[str]] = {}
    for name in counts:
        groups.setdefault(key_of(tidy[name]), []).append(name)
    chosen: dict[str, str | None] = {}
    joined: list[str] = []
    for spellings in groups.values():
        frequencies: Counter[str] = Counter()
        for name in spellings:
            frequencies[tidy[name]] += counts[name]
        best = min(frequencies, key=lambda name: (-frequencies[name], name))
        chosen |= dict.fromkeys(spellings, best or None)
        if len(spellings) > 1 and best:
            texts = ", ".join(f"{name!r} ({counts[name]})" for name in sorted(spellings))
            joined.append(f"{texts} as {best!r}")
    if joined:
        more = f"; and {len(joined) - 5} more" if len(joined) > 5 else ""
        notice(f"{source}: {JOINED} {'; '.join(joined[:5])}{more}")
    joined_names = names.map(chosen).astype(object)
    return joined_names.where(joined_names.notna(), None)


def key_of(name: str) -> str:
    """Return a text that is equal for names that differ only in case. Names of one letter do not change."""
    return name if len(name) == 1 else unicodedata.normalize("NFC", name.casefold())

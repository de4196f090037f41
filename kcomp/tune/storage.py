"""The study that workers share: who works on which trial, what it tries, and what is left to do.

A worker holds a lock on each trial it works on, which the system frees when the worker ends, however it ends. A trial
that is marked as running and whose lock is free was left behind: the next worker goes on with it, under its number.
"""

import datetime
import hashlib
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from kcomp import space
from kcomp.system.locks import HeldLock, try_lock, wait_for_lock
from kcomp.tune.search import Search
from kcomp.values import as_text

LABELS = (str, int, float, bool, type(None))  # what Optuna keeps as it is; other choices are kept as texts
UNCLAIMED = datetime.timedelta(minutes=1)  # from a trial's creation to its lock takes milliseconds


@dataclass
class Claimed:
    """A trial that this process works on, until `lock` is closed."""

    trial: optuna.Trial
    values: dict[str, Any]
    reported: set[int]  # steps
    lock: HeldLock


def open_study(search: Search, place: str) -> optuna.Study:
    """The study of this search in the storage at `place`, made where there is none; its first trial will try the
    recipe's own values."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    kinds = optuna.study.StudyDirection
    direction = kinds.MINIMIZE if search.lower else kinds.MAXIMIZE
    with wait_for_lock(search.folder / "lock"):
        name = f"{search.loaded.name}-{search.key}"
        study = optuna.create_study(
            storage=open_storage(place), study_name=name, direction=direction, load_if_exists=True
        )
        if not study.get_trials(deepcopy=False):
            own = search.loaded.recipe.config
            first = {name: label(found, getattr(own, name)) for name, found in search.ranges.items()}
            study.enqueue_trial(first)
    return study


def open_storage(place: str) -> Any:
    """A database at a URL, or a file: SQLite in *.db, Optuna's journal in *.journal."""
    if "://" not in place and Path(place).suffix == ".journal":
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        return JournalStorage(JournalFileBackend(place))
    if "://" not in place and Path(place).suffix != ".db":
        raise ValueError(
            f"--storage takes a file that ends in .db (SQLite) or .journal, or a database's URL; received {place!r}"
        )
    url = place if "://" in place else f"sqlite:///{place}"
    waits = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}  # for other writers, in seconds
    return optuna.storages.RDBStorage(url, engine_kwargs=waits)


def claim(search: Search, study: optuna.Study, total: int) -> Claimed | None:
    """A trial that a worker left behind, else a new one, else None: then `total` trials are done or under way."""
    with wait_for_lock(search.folder / "lock"):
        trials = study.get_trials(deepcopy=False)
        for frozen in trials:
            if frozen.state == TrialState.RUNNING and (lock := left_behind(search, study, frozen)):
                study.sampler = sampler(search, frozen.number)
                trial = optuna.Trial(study, frozen._trial_id)  # there is no public way to go on with a trial
                return claimed(search, trial, lock)
        if sum(frozen.state != TrialState.WAITING for frozen in trials) >= total:
            return None
        waiting = [frozen.number for frozen in trials if frozen.state == TrialState.WAITING]
        study.sampler = sampler(search, min([*waiting, len(trials)]))
        trial = study.ask()
        lock = try_lock(lock_path(search, trial.number))
        if lock is None:
            raise RuntimeError(f"{lock_path(search, trial.number)} is held by another process; is the storage its own?")
        return claimed(search, trial, lock)


def claimed(search: Search, trial: optuna.Trial, lock: HeldLock) -> Claimed:
    values = {name: suggest(trial, name, found) for name, found in search.ranges.items()}
    trial.set_user_attr("host", platform.node())
    trial.set_user_attr("runs", [str(search.run(values, fold).folder) for fold in search.folds])
    frozen = trial.study.get_trials(deepcopy=False)[trial.number]
    return Claimed(trial, values, set(frozen.intermediate_values), lock)


def left_behind(search: Search, study: optuna.Study, frozen: FrozenTrial) -> HeldLock | None:
    """The lock of a running trial whose worker is gone. A worker elsewhere that shares the storage alone, not this
    folder, has no lock here: its trials are its own."""
    path = lock_path(search, frozen.number)
    started = frozen.datetime_start or datetime.datetime.now()
    if not path.exists() and ("host" in frozen.user_attrs or datetime.datetime.now() - started < UNCLAIMED):
        return None
    lock = try_lock(path)
    if lock and study.get_trials(deepcopy=False)[frozen.number].state != TrialState.RUNNING:  # it has just ended
        lock.close()
        return None
    return lock


def sampler(search: Search, number: int) -> optuna.samplers.BaseSampler:
    """TPE, keyed by seed and trial, so that what a killed search goes on to is what it would have tried."""
    digest = hashlib.sha256(f"{search.seed} {number}".encode()).digest()
    return optuna.samplers.TPESampler(seed=int.from_bytes(digest[:4], "little"), constant_liar=True)


def suggest(trial: optuna.Trial, name: str, found: space.Range) -> Any:
    """The trial's value: the one it has, else one that the study's sampler draws."""
    if isinstance(found, space.Choice):
        labels = [label(found, value) for value in found.values]
        return found.values[labels.index(trial.suggest_categorical(name, labels))]
    if isinstance(found, space.Integer):
        return trial.suggest_int(name, found.low, found.high, step=found.step)
    return trial.suggest_float(name, found.low, found.high, log=isinstance(found, space.LogUniform))


def label(found: space.Range, value: Any) -> Any:
    return value if not isinstance(found, space.Choice) or isinstance(value, LABELS) else as_text(value)


def lock_path(search: Search, number: int) -> Path:
    return search.folder / "trials" / f"{number}.lock"

"""Store the trials (sets of values) of a search in an Optuna study, and distribute them among processes (workers).

A worker locks the trial that it trains. If a worker ends before its trial is complete, another worker continues this
trial.
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

LABELS = (str, int, float, bool, type(None))  # types that Optuna stores unchanged; others are stored as texts
UNCLAIMED = datetime.timedelta(minutes=1)  # until this age, the worker of a new trial may not have locked it yet


@dataclass
class Claimed:
    """A trial that this process trains.

    Attributes:
        trial: Optuna's trial.
        values: The values of the trial, by name.
        reported: The steps (epochs of a fold) whose scores are already in the study.
        lock: A lock on the trial.
    """

    trial: optuna.Trial
    values: dict[str, Any]
    reported: set[int]  # steps whose scores are already in the study
    lock: HeldLock


def open_study(search: Search, place: str) -> optuna.Study:
    """Return the Optuna study that stores the trials of a search. Create the study if it does not exist.

    `place` is a file or URL; see `open_storage`.
    """
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
            first = {name: label(range_, getattr(own, name)) for name, range_ in search.ranges.items()}
            study.enqueue_trial(first)
    return study


def open_storage(place: str) -> Any:
    """Return the storage of Optuna's studies at `place`.

    `place` is a file that ends in .db (SQLite) or .journal (Optuna's own format), or the URL of a database.
    """
    if "://" not in place and Path(place).suffix == ".journal":
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        return JournalStorage(JournalFileBackend(place))
    if "://" not in place and Path(place).suffix != ".db":
        raise ValueError(
            f"--storage takes a file that ends in .db (SQLite) or .journal, or a database's URL; received {place!r}"
        )
    url = place if "://" in place else f"sqlite:///{place}"
    engine_options = (
        {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
    )  # seconds to wait for other writers
    return optuna.storages.RDBStorage(url, engine_kwargs=engine_options)


def claim(search: Search, study: optuna.Study, total: int) -> Claimed | None:
    """Lock a trial (set of values) for this process, and return it. Return None if there are `total` trials already.

    Trials that an ended worker left incomplete come before new ones.
    """
    with wait_for_lock(search.folder / "lock"):
        trials = study.get_trials(deepcopy=False)
        for frozen in trials:
            if frozen.state == TrialState.RUNNING and (lock := lock_abandoned(search, study, frozen)):
                study.sampler = sampler(search, frozen.number)
                trial = optuna.Trial(study, frozen._trial_id)  # Optuna has no public way to continue a trial
                return make_claim(search, trial, lock)
        if sum(frozen.state != TrialState.WAITING for frozen in trials) >= total:
            return None
        waiting = [frozen.number for frozen in trials if frozen.state == TrialState.WAITING]
        study.sampler = sampler(search, min([*waiting, len(trials)]))
        trial = study.ask()
        lock = try_lock(lock_path(search, trial.number))
        if lock is None:
            raise RuntimeError(f"{lock_path(search, trial.number)} is held by another process; is the storage its own?")
        return make_claim(search, trial, lock)


def make_claim(search: Search, trial: optuna.Trial, lock: HeldLock) -> Claimed:
    """Choose the values of a locked trial, and return the claimed trial.

    This machine's name and the run folders are stored in the study.
    """
    values = {name: suggest(trial, name, range_) for name, range_ in search.ranges.items()}
    trial.set_user_attr("host", platform.node())
    trial.set_user_attr("runs", [str(search.run(values, fold).folder) for fold in search.folds])
    frozen = trial.study.get_trials(deepcopy=False)[trial.number]
    return Claimed(trial, values, set(frozen.intermediate_values), lock)


def lock_abandoned(search: Search, study: optuna.Study, frozen: FrozenTrial) -> HeldLock | None:
    """Lock a trial that is marked as running but whose worker has ended, and return the lock.

    Return None if the worker still runs, or may still run on another machine.
    """
    path = lock_path(search, frozen.number)
    started = frozen.datetime_start or datetime.datetime.now()
    if not path.exists() and ("host" in frozen.user_attrs or datetime.datetime.now() - started < UNCLAIMED):
        return None
    lock = try_lock(path)
    if lock and study.get_trials(deepcopy=False)[frozen.number].state != TrialState.RUNNING:  # it ended in the meantime
        lock.close()
        return None
    return lock


def sampler(search: Search, number: int) -> optuna.samplers.BaseSampler:
    """Return the TPE sampler that chooses the values of a trial. Its seed depends on the trial's number."""
    digest = hashlib.sha256(f"{search.seed} {number}".encode()).digest()
    return optuna.samplers.TPESampler(seed=int.from_bytes(digest[:4], "little"), constant_liar=True)


def suggest(trial: optuna.Trial, name: str, range_: space.Range) -> Any:
    """Return the trial's value `name`. If the trial has no such value yet, the study's sampler chooses it."""
    if isinstance(range_, space.Choice):
        labels = [label(range_, value) for value in range_.values]
        return range_.values[labels.index(trial.suggest_categorical(name, labels))]
    if isinstance(range_, space.Integer):
        return trial.suggest_int(name, range_.low, range_.high, step=range_.step)
    return trial.suggest_float(name, range_.low, range_.high, log=isinstance(range_, space.LogUniform))


def label(range_: space.Range, value: Any) -> Any:
    """Return a value in the form in which Optuna stores it, such as the text of a tuple."""
    return value if not isinstance(range_, space.Choice) or isinstance(value, LABELS) else as_text(value)


def lock_path(search: Search, number: int) -> Path:
    return search.folder / "trials" / f"{number}.lock"

"""The states of a recipe's callbacks: which are saved, which callbacks are refused, and what a line says."""

import conftest
import pytest

CODE = """
import keras, numpy as np
from kcomp.training.callback_state import CallbackStates, check_callbacks
k = keras.callbacks
class Half(keras.callbacks.Callback):
    def get_state(self): return 1
class Counts(keras.callbacks.Callback):
    def __init__(self): super().__init__(); self.count = 0
    def get_state(self): return {"count": self.count}
    def set_state(self, state): self.count = state["count"]
class Forgets(keras.callbacks.Callback):
    def __init__(self): super().__init__(); self.seen, self.name = [], "a"
class Wrong(Counts):
    def get_state(self): return np.zeros(2)
class Stops(k.EarlyStopping):
    pass
def refused(callback):
    try: check_callbacks([callback], [])
    except ValueError as error: return str(error)
messages = [refused(each) for each in (
    k.BackupAndRestore("x"), k.CSVLogger("x.csv"), k.SwapEMAWeights(), Stops(restore_best_weights=True), Half(), Counts(),
    k.TerminateOnNaN(), k.LambdaCallback(), k.EarlyStopping())]
lines = []
def make(): return [Counts(), Forgets(), Stops("loss"), k.ReduceLROnPlateau("loss"), k.ModelCheckpoint("x.keras", save_freq=3)]
def states_of(callbacks):
    states = CallbackStates(callbacks, lines.append)
    for each in callbacks: each.on_train_begin()
    return states
first = make()
states = states_of(first)
states.load([])
before = states.values()
first[0].count = 3
first[1].seen.append(1)
first[2].best, first[2].wait, first[2].best_epoch = np.float32(0.1), 2, 4
first[3].best, first[3].cooldown_counter = 0.25, 1
first[4]._batches_seen_since_last_saving, first[4]._last_batch_seen = 2, 7
quiet = list(lines)
states.first = states.first or [{}, {"seen": ("list", 0), "name": "a"}]
values = states.values()
values = states.values()
second = make()
states_of(second).load(values)
try: CallbackStates([Wrong()], lines.append).values()
except TypeError as error: wrong = str(error)
give(messages=messages, lines=lines, quiet=quiet, values=values, before=before, wrong=wrong,
     after=[second[0].count, second[1].seen, bool(second[2].best == np.float32(0.1)), second[2].wait, second[2].best_epoch,
            second[3].best, second[3].cooldown_counter, second[4]._last_batch_seen])
"""


@pytest.mark.parametrize("backend", conftest.backends()[1:])  # none of it is the backend's doing
def test_states_of_callbacks(backend):
    found = conftest.in_backend(backend, CODE)
    backup, csv, swap, best, half, *accepted = found["messages"]
    assert (
        backup
        == "the callback BackupAndRestore cannot be used: kcomp saves and restores the training itself: leave it out"
    )
    assert csv.endswith("log.csv in the run folder has these values: leave it out")
    assert "use Stage(average=EMA(...))" in swap and "leave out restore_best_weights" in best
    assert half == "the callback Half needs both methods get_state() and set_state(state), or neither"
    assert accepted == [None] * 4
    assert found["quiet"] == []
    [line] = found["lines"]
    assert line.startswith("the callback Forgets changes 'seen', which a continued run would lose; to save it, give")
    assert found["values"][:2] == [{"attributes": {}, "state": {"count": 3}}, {}]
    assert found["before"][0] == {"attributes": {}, "state": {"count": 0}}
    assert found["after"] == [3, [], True, 2, 4, 0.25, 1, 7]
    assert found["wrong"].startswith(
        "get_state() of the callback Wrong must return numbers, texts, None, lists and dicts"
    )

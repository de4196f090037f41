"""Targets: checks, predictions, averages and losses, against numbers worked out by hand and published formulas."""

import json

import numpy as np
import pytest
from conftest import backends, in_backend

from kcomp.targets import AnyOf, Grades, Numbers, OneOf, Target, target_from_json

NAN = np.nan
ONE_OF = OneOf(("cat", "dog", "owl"))
ANY_OF = AnyOf(("rust", "scab"))
NUMBERS = Numbers(("grams", "leaves")).fitted(np.array([[1.0, 5.0], [3.0, 5.0], [NAN, 5.0]]))
GRADES = {name: Grades(("none", "mild", "severe"), loss_name=name) for name in ("regression", "ordinal", "softmax")}
TARGETS = [ONE_OF, ANY_OF, NUMBERS, *GRADES.values()]


def name_of(target):
    return f"{target.name} {getattr(target, 'loss_name', '')}".strip()


@pytest.fixture(params=TARGETS, ids=name_of)
def target(request):
    return request.param


def test_json_restores_a_target(target):
    assert target_from_json(json.loads(json.dumps(target.to_json()))) == target


def test_json_of_another_kind_names_the_kinds():
    with pytest.raises(ValueError, match="'one class', 'several labels', 'numbers', 'grades'; received 'boxes'"):
        target_from_json({"target": "boxes"})
    with pytest.raises(ValueError, match="not the fields of a target 'grades': classes"):
        target_from_json({"target": "grades", "classes": ["a", "b"]})


def test_columns_and_outputs():
    shapes = {name_of(target): (target.columns, target.outputs, target.prediction_columns) for target in TARGETS}
    assert shapes == {
        "one class": (("cat", "dog", "owl"), 3, ("cat", "dog", "owl")),
        "several labels": (("rust", "scab"), 2, ("rust", "scab")),
        "numbers": (("grams", "leaves"), 2, ("grams", "leaves")),
        "grades regression": (("grade",), 1, ("grade",)),
        "grades ordinal": (("grade",), 2, ("grade",)),
        "grades softmax": (("grade",), 3, ("grade",)),
    }


@pytest.mark.parametrize(
    ("target", "valid", "invalid", "message"),
    [
        (ONE_OF, [0.2, 0.3, 0.5], [1, 1, 0], r"sum to 1; 2 rows are not, first 'b' with \[1.0, 1.0, 0.0\]"),
        (ONE_OF, [1, 0, 0], [NAN, 1, 0], "sum to 1; 2 rows are not, first 'b'"),
        (ANY_OF, [NAN, 0.5], [0, 2], r"from 0 to 1, or NaN if it is missing; 2 rows are not, first 'b'"),
        (NUMBERS, [NAN, -5], [np.inf, 0], "finite number, or NaN if it is missing; 2 rows are not, first 'b'"),
        (GRADES["ordinal"], [1.5], [3], r"from 0 \(none\) to 2 \(severe\); 2 rows are not, first 'b' with \[3.0\]"),
        (GRADES["ordinal"], [0], [NAN], "2 rows are not, first 'b'"),
    ],
)
def test_the_first_invalid_row_is_named(target, valid, invalid, message):
    labels = np.array([valid, invalid, invalid], np.float64)
    target.check_labels(labels[:1], ["a"])
    with pytest.raises(ValueError, match=message):
        target.check_labels(labels, ["a", "b", "c"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OneOf(("cat",)), r"at least two classes; received \['cat'\]"),
        (lambda: OneOf("cat"), "takes a tuple of names; received 'cat'"),
        (lambda: AnyOf(()), r"needs at least one label; received \[\]"),
        (lambda: Numbers(("a", "b", "a")), "names of a target must be unique; 'a' is repeated"),
        (lambda: Numbers(("a", "b"), (1.0,), (1.0,)), "one value for each of"),
        (lambda: Grades(("a", "b"), loss_name="hinge"), "'regression', 'ordinal', 'softmax'; received 'hinge'"),
        (lambda: Numbers(("a", "b")).fitted(np.array([[1.0, NAN]])), "'b' has none"),
        (lambda: Numbers(("a",)).predict(np.zeros((1, 1))), "not measured yet"),
        (lambda: Numbers(("a",)).loss(), "not measured yet"),
        (lambda: NUMBERS.loss(label_smoothing=0.1), "not numbers; received label_smoothing=0.1"),
        (lambda: GRADES["regression"].loss(label_smoothing=0.1), "received label_smoothing=0.1"),
        (lambda: NUMBERS.row_weights(None, None), "class weights need classes"),
        (lambda: NUMBERS.vote([np.zeros((1, 2))]), "not numbers; use one of mean, median"),
        (lambda: GRADES["softmax"].gmean([np.zeros((1, 1))]), "not grades; use one of mean, median"),
        (lambda: NUMBERS.rank([np.zeros((1, 2))]), "rank averages probabilities"),
    ],
)
def test_errors_say_the_rule(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_numbers_measure_mean_and_scale_of_known_labels():
    assert Numbers(("grams", "leaves"), mean=(2.0, 5.0), scale=(1.0, 1.0)) == NUMBERS  # a constant has scale 1
    assert NUMBERS.predict(np.array([[0.5, -1.0]])).tolist() == [[2.5, 4.0]]


def test_links_from_logits_to_predictions():
    np.testing.assert_allclose(ONE_OF.predict(np.log([[2.0, 1.0, 1.0]])), [[0.5, 0.25, 0.25]])
    np.testing.assert_allclose(ANY_OF.predict(np.array([[np.log(3), -1000.0]])), [[0.75, 0.0]])
    assert GRADES["regression"].predict(np.array([[0.25], [9.0], [-9.0]])).tolist() == [[1.25], [2.0], [0.0]]
    np.testing.assert_allclose(GRADES["ordinal"].predict(np.log([[3.0, 0.25]])), [[0.95]])  # P(1+) + P(2)
    np.testing.assert_allclose(GRADES["softmax"].predict(np.log([[1.0, 1.0, 2.0]])), [[1.25]])
    for target in TARGETS:
        predictions = target.predict(np.zeros((4, target.outputs), np.float32))
        assert predictions.dtype == np.float64
        assert predictions.shape == (4, len(target.prediction_columns))
        assert target.prediction_problems(predictions, list("abcd")) == []


@pytest.mark.parametrize(
    ("target", "values", "count"),
    [
        (ONE_OF, [[0.5, 0.6, 0.1], [1.0, 0.0, 0.0]], 1),
        (ONE_OF, [[-0.5, 1.5, 0.5], [1.0, 0.0, 0.0]], 2),
        (ANY_OF, [[0.5, 1.5], [NAN, 0.0]], 1),
        (NUMBERS, [[np.inf, 0], [1e9, -1e9]], 1),
        (GRADES["softmax"], [[2.5], [2.0]], 1),
    ],
)
def test_prediction_problems_name_the_first_row(target, values, count):
    problems = target.prediction_problems(np.array(values), ["a", "b"])
    assert len(problems) == count
    assert all("first 'a'" in line for line in problems)


def test_averages_by_hand():
    members = [np.array([[0.9, 0.4]]), np.array([[0.6, 0.1]]), np.array([[0.0, 0.7]])]
    np.testing.assert_allclose(ANY_OF.average(members), [[0.5, 0.4]])
    np.testing.assert_allclose(ANY_OF.median(members), [[0.6, 0.4]])
    np.testing.assert_allclose(ANY_OF.vote(members), [[2.5 / 4, 1.4 / 4]])
    np.testing.assert_allclose(ANY_OF.gmean([np.array([[0.8, 0.5]]), np.array([[0.5, 0.5]])]), [[2 / 3, 0.5]])
    np.testing.assert_allclose(ANY_OF.rank([np.array([[0.1, 0.9], [0.2, 0.9]])]), [[0.5, 0.75], [1.0, 0.75]])
    three = [np.array([[0.6, 0.4, 0.0]]), np.array([[0.2, 0.2, 0.6]]), np.array([[0.2, 0.7, 0.1]])]
    np.testing.assert_allclose(ONE_OF.median(three), np.array([[0.2, 0.4, 0.1]]) / 0.7)
    apart = [np.eye(3)[[row]] for row in range(3)]  # every median is 0, so the mean remains
    np.testing.assert_allclose(ONE_OF.median(apart), [[1 / 3, 1 / 3, 1 / 3]])
    np.testing.assert_allclose(NUMBERS.average([np.array([[1.0, 5]]), np.array([[2.0, 9]])]), [[1.5, 7]])


def test_every_method_of_a_target_gives_valid_predictions(target):
    draws = np.random.default_rng(1)
    members = [target.predict(draws.normal(size=(12, target.outputs))) for _ in range(3)]
    for method in target.methods:
        averaged = getattr(target, {"mean": "average"}.get(method, method))(members)
        assert averaged.shape == members[0].shape
        assert target.prediction_problems(averaged, [str(row) for row in range(12)]) == []
    np.testing.assert_allclose(target.view_mean(np.stack(members)), target.average(members))


def test_strata():
    assert ONE_OF.strata(np.array([[0.2, 0.5, 0.3], [1, 0, 0]])).tolist() == [1, 0]
    assert ANY_OF.strata(np.array([[NAN, 1.0], [0.6, 0.0]])).tolist() == [[False, True], [True, False]]
    assert GRADES["ordinal"].strata(np.array([[0.0], [1.6]])).tolist() == [0, 2]
    column = np.arange(40.0)
    column[3] = NAN
    bins = NUMBERS.strata(np.stack([column, -10 * np.full(40, NAN)], 1))
    assert np.bincount(bins).tolist() == [10, 9, 11, 10]  # the row without numbers shares its place with the median
    assert (np.diff(bins[np.arange(40) != 3]) >= 0).all()  # in the order of the numbers
    assert bins[3] == bins[20] == 2


def test_descriptions():
    assert ONE_OF.describe(np.eye(3)[[0, 0, 2]]) == "3 classes, with rows: cat (2), dog (0), owl (1)"
    labels = np.array([[1, NAN], [1, 0]])
    assert ANY_OF.describe(labels) == "2 labels, with rows: rust (2), scab (0); 1 labels are missing"
    text = "2 numbers: grams (from 1 to 3, mean 2, 1 missing), leaves (from 5 to 5, mean 5)"
    assert NUMBERS.describe(np.array([[1, 5], [3, 5], [NAN, 5]])) == text
    assert (
        GRADES["ordinal"].describe(np.array([[0], [2], [2]])) == "3 grades, with rows: none (1), mild (0), severe (2)"
    )


def test_class_counts():
    assert ONE_OF.class_counts(np.array([[0.5, 0.5, 0], [1, 0, 0]])).tolist() == [1.5, 0.5, 0]
    assert ANY_OF.class_counts(np.array([[1, NAN], [1, 0.5]])).tolist() == [2, 0.5]
    assert GRADES["softmax"].class_counts(np.array([[0.25], [2.0]])).tolist() == [0.75, 0.25, 1]
    assert NUMBERS.class_counts(np.zeros((3, 2))).tolist() == []


def test_warnings():
    assert OneOf(("1", "2")).warnings() == [
        "note: all classes are numbers; kcomp treats them as names, without order or distance"
    ]
    assert "only differ in case" in AnyOf(("Rust", "rust")).warnings()[0]
    assert Grades(("0", "1")).warnings() == []


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def binary(labels, logits):
    return -labels * np.log(sigmoid(logits)) - (1 - labels) * np.log(1 - sigmoid(logits))


def huber(error):
    return np.where(np.abs(error) <= 1, error**2 / 2, np.abs(error) - 0.5)


DRAWS = np.random.default_rng(2)
LOGITS = DRAWS.normal(size=(5, 3)) * 2
SOFT = DRAWS.dirichlet(np.ones(3), 5)
MASKED = np.array([[1, NAN], [0, 0.3], [NAN, NAN], [1, 0], [NAN, 1]])
KNOWN = ~np.isnan(MASKED)
LEVELS = np.array([[0.0], [1.0], [2.0], [0.25], [1.5]])
SHARES = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.75, 0.25, 0], [0, 0.5, 0.5]])
AT_LEAST = np.array([[0, 0], [1, 0], [1, 1], [0.25, 0], [1, 0.5]])
LOG_SOFTMAX = LOGITS - np.log(np.exp(LOGITS).sum(1, keepdims=True))


def expected_losses():
    """Published formulas: cross-entropy, binary cross-entropy, Huber 1964, CORAL's equation 4 with equal weights."""
    standardized = (np.nan_to_num(MASKED) - np.array([2.0, 5.0])) / np.array([1.0, 1.0])
    return [
        (ONE_OF, SOFT, LOGITS, 0.0, -(SOFT * LOG_SOFTMAX).sum(1).mean()),
        (ONE_OF, SOFT, LOGITS, 0.3, -((0.7 * SOFT + 0.1) * LOG_SOFTMAX).sum(1).mean()),
        (ANY_OF, MASKED, LOGITS[:, :2], 0.0, binary(MASKED, LOGITS[:, :2])[KNOWN].mean()),
        (ANY_OF, MASKED, LOGITS[:, :2], 0.2, binary(0.8 * MASKED + 0.1, LOGITS[:, :2])[KNOWN].mean()),
        (NUMBERS, MASKED, LOGITS[:, :2], 0.0, huber(LOGITS[:, :2] - standardized)[KNOWN].mean()),
        (GRADES["regression"], LEVELS, LOGITS[:, :1], 0.0, ((LOGITS[:, :1] + 1 - LEVELS) ** 2).mean()),
        (GRADES["ordinal"], LEVELS, LOGITS[:, :2], 0.0, binary(AT_LEAST, LOGITS[:, :2]).sum(1).mean()),
        (GRADES["ordinal"], LEVELS, LOGITS[:, :2], 0.2, binary(0.8 * AT_LEAST + 0.1, LOGITS[:, :2]).sum(1).mean()),
        (GRADES["softmax"], LEVELS, LOGITS, 0.0, -(SHARES * LOG_SOFTMAX).sum(1).mean()),
        (GRADES["softmax"], LEVELS, LOGITS, 0.3, -((0.7 * SHARES + 0.1) * LOG_SOFTMAX).sum(1).mean()),
    ]


LOSSES = """
import keras, numpy as np
from keras import ops
from kcomp.targets import target_from_json
cases, nothing, weights = json.loads(sys.argv[1]), float("nan"), []

def gradient(loss, labels, logits):
    if keras.backend.backend() == "jax":
        import jax
        return np.asarray(jax.grad(lambda values: loss(labels, values))(np.asarray(logits, "float32")))
    import torch
    values = torch.tensor(logits, dtype=torch.float32, requires_grad=True)
    loss(np.asarray(labels, "float32"), values).backward()
    return values.grad.numpy()

values, finite, empty = [], [], []
for stored, labels, logits, smoothing in cases:
    target = target_from_json(stored)
    loss = target.loss(label_smoothing=smoothing)
    labels, logits = np.asarray(labels, "float32"), np.asarray(logits, "float32")
    values.append(float(loss(labels, logits)))
    again = type(loss).from_config(loss.get_config())
    assert float(again(labels, logits)) == values[-1]
    slopes = gradient(loss, labels, 100 * logits)
    finite.append(bool(np.isfinite(slopes).all()))
    if np.isnan(labels).any():
        empty.append([float(loss(labels * nothing, logits)), np.abs(gradient(loss, labels * nothing, logits)).max().item()])
    if target.class_names:
        factors = target.row_weights(ops.convert_to_tensor(labels), ops.convert_to_tensor(np.arange(1.0, 1 + len(target.class_names), dtype="float32")))
        weights.append(ops.convert_to_numpy(factors).tolist())
give(values=values, finite=finite, empty=empty, weights=weights)
"""


@pytest.mark.parametrize("backend", backends())
def test_losses_equal_published_formulas(backend):
    cases = expected_losses()
    sent = [[target.to_json(), labels.tolist(), logits.tolist(), share] for target, labels, logits, share, _ in cases]
    outcome = in_backend(backend, LOSSES, json.dumps(sent))
    np.testing.assert_allclose(outcome["values"], [value for *_, value in cases], rtol=2e-5)
    assert all(outcome["finite"])
    assert outcome["empty"] == [[0, 0]] * 3  # a batch without any label has neither loss nor gradient
    grades = SHARES @ [1, 2, 3]
    several = [1, 2, 1, 1, 2]  # the mean weight of each row's labels, and 1 for a row without any
    expected = [SOFT @ [1, 2, 3]] * 2 + [several] * 2 + [grades] * 5
    np.testing.assert_allclose(outcome["weights"], expected, rtol=1e-5)


TENSORS = """
from kcomp.targets import target_from_json
values = []
for number, content in enumerate(json.loads(sys.argv[1])):
    target = target_from_json(content)
    logits = np.random.default_rng(number).normal(0, 3, (6, target.outputs)).astype("float32")
    values.append([ops.convert_to_numpy(target.predict_tensor(ops.convert_to_tensor(logits))).tolist(), target.predict(logits).tolist()])
give(values=values)
"""


@pytest.mark.parametrize("backend", backends())
def test_predictions_as_tensors(backend):
    sent = json.dumps([target.to_json() for target in TARGETS])
    for tensor, expected in in_backend(backend, "import numpy as np\nfrom keras import ops\n" + TENSORS, sent)[
        "values"
    ]:
        np.testing.assert_allclose(tensor, expected, rtol=1e-5, atol=1e-6)


def test_a_target_of_ones_own_must_have_every_method():
    class Half(Target):
        name = "half"

    with pytest.raises(TypeError, match="abstract"):
        Half()


def test_decisions():
    assert ONE_OF.decide(np.array([[0.2, 0.5, 0.3], [0.5, 0.25, 0.25]])).tolist() == [1, 0]
    assert ANY_OF.decide(np.array([[0.51, 0.5], [NAN, 1]])).tolist() == [[1, 0], [0, 1]]
    assert GRADES["softmax"].decide(np.array([[1.6], [0.4]])).tolist() == [2, 0]
    with pytest.raises(ValueError, match="needs classes, which a target of numbers does not have"):
        NUMBERS.decide(np.zeros((1, 2)))

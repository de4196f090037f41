"""Losses: values and gradients against float64 formulas, timm and scikit-learn, on both backends; limits; errors."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import backends, in_backend

NAN = float("nan")
DRAWS = np.random.default_rng(5)
LOGITS = DRAWS.normal(size=(6, 4)) * 2
HARD = np.eye(4)[[0, 1, 2, 3, 0, 1]]
SOFT = 0.3 * HARD + 0.7 * HARD[::-1]  # after MixUp
SEVERAL = np.array([[1, 0, NAN, 1], [0, 0, 1, 0], [1, 1, 1, NAN], [0.3, 0.7, 0, 1], [0] * 4, [NAN] * 4])
KNOWN = ~np.isnan(SEVERAL)
GRAMS = np.array([[120.0], [80.0], [NAN], [400.0], [200.0], [0.0]])
SIMILARITY = np.array([[0, 3, 1, 0], [1, 9, 1, 2], [5, 5, 0, 10], [0, 0, 1, 7.0]])
COSINES = np.clip(np.tanh(LOGITS), -0.999, 0.999)
COSINES[0] = [-0.98, 0.5, 0.1, -0.2]  # the angle of its class and the margin are above pi
TARGETS = """
ONE = targets.OneOf(("a", "b", "c", "d"))
ANY = targets.AnyOf(("a", "b", "c", "d"))
GRAMS = targets.Numbers(("grams",), mean=(200.0,), scale=(100.0,))
COUNT = targets.Numbers(("count",), mean=(200.0,), scale=(100.0,), link="log")
GRADES = targets.Grades(("none", "mild", "severe"))
"""


def softmax(logits):
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def log_softmax(logits):
    shifted = logits - logits.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def log_sigmoid(logits):
    return -np.logaddexp(0, -logits)


def of_known(values):
    return np.where(KNOWN, values, 0).sum() / KNOWN.sum()


def focal_one(labels, logits, gamma):
    return -(labels * (1 - softmax(logits)) ** gamma * log_softmax(logits)).sum(1).mean()


def focal_several(labels, logits, gamma, alpha):
    p = sigmoid(logits)
    ones = -alpha * (1 - p) ** gamma * log_sigmoid(logits)
    return of_known(labels * ones - (1 - labels) * (1 - alpha) * p**gamma * log_sigmoid(-logits))


def asymmetric(labels, logits, negative, positive, margin):
    p = sigmoid(logits)
    q = np.maximum(p - margin, 0)
    ones = -((1 - p) ** positive) * log_sigmoid(logits)
    return of_known(labels * ones - (1 - labels) * q**negative * np.log(1 - q))


def binary(labels, logits):
    return -labels * log_sigmoid(logits) - (1 - labels) * log_sigmoid(-logits)


def arcface(labels, logits, scale, margin):
    """Class by class: the cross-entropy of logits in which only this class has the margin."""
    total = 0.0
    for column in range(logits.shape[1]):
        angle = np.arccos(logits[:, column] / scale)
        moved = np.where(angle + margin <= np.pi, np.cos(angle + margin), np.cos(angle) - margin * np.sin(margin))
        with_margin = logits.copy()
        with_margin[:, column] = scale * moved
        total = total - labels[:, column] * log_softmax(with_margin)[:, column]
    return total.mean()


def huber(error, delta):
    return np.where(abs(error) <= delta, error**2 / 2, delta * (abs(error) - delta / 2))


def of_numbers(values):
    known = ~np.isnan(GRAMS)
    return np.where(known, values, 0).sum() / known.sum()


def tweedie(labels, logits, power):
    """Half of scikit-learn's deviance, plus the constant that it has more."""
    from sklearn.metrics import mean_tweedie_deviance

    known = ~np.isnan(labels)
    y, m = labels[known] / 200, np.exp(logits[known])
    if power == 1:
        constant = -np.where(y > 0, y * np.log(np.maximum(y, 1e-300)) - y, 0).mean()
    else:
        constant = -(y ** (2 - power) / ((1 - power) * (2 - power))).mean()
    return mean_tweedie_deviance(y, m, power=power) / 2 + constant


def smoothed(share):
    others = SIMILARITY * (1 - np.eye(4))
    return (1 - share) * SOFT + share * SOFT @ (others / others.sum(1, keepdims=True))


ONE_COLUMN = LOGITS[:, :1]
GRADE = np.array([[0.0], [1], [2], [0.5], [2], [1]])
THRESHOLD = (SOFT > 0.2).astype(float)
CASES = [  # the loss, the labels, the logits, and the expected loss as a function of the logits
    ("Focal(2.0, target=ONE)", SOFT, LOGITS, lambda z: focal_one(SOFT, z, 2)),
    ("Focal(0.5, target=ONE)", HARD, LOGITS, lambda z: focal_one(HARD, z, 0.5)),
    ("Focal(0, target=ONE)", SOFT, LOGITS, lambda z: focal_one(SOFT, z, 0)),
    ("Focal(1, None, 0.2, target=ONE)", SOFT, LOGITS, lambda z: focal_one(0.8 * SOFT + 0.05, z, 1)),
    ("Focal(2.0, target=ANY)", SEVERAL, LOGITS, lambda z: 2 * focal_several(np.nan_to_num(SEVERAL), z, 2, 0.5)),
    ("Focal(1.5, 0.25, target=ANY)", SEVERAL, LOGITS, lambda z: focal_several(np.nan_to_num(SEVERAL), z, 1.5, 0.25)),
    ("Focal(0, target=ANY)", SEVERAL, LOGITS, lambda z: of_known(binary(np.nan_to_num(SEVERAL), z))),
    ("Asymmetric(target=ANY)", SEVERAL, LOGITS, lambda z: asymmetric(np.nan_to_num(SEVERAL), z, 4, 1, 0.05)),
    ("Asymmetric(2, 0.5, 0, target=ANY)", SEVERAL, LOGITS, lambda z: asymmetric(np.nan_to_num(SEVERAL), z, 2, 0.5, 0)),
    ("Asymmetric(0, 0, 0, target=ANY)", SEVERAL, LOGITS, lambda z: of_known(binary(np.nan_to_num(SEVERAL), z))),
    ("BinaryCrossentropy(target=ONE)", SOFT, LOGITS, lambda z: binary(SOFT, z).mean()),
    ("BinaryCrossentropy(0.2, target=ONE)", SOFT, LOGITS, lambda z: binary(THRESHOLD, z).mean()),
    ("BinaryCrossentropy(None, 0.2, target=ONE)", SOFT, LOGITS, lambda z: binary(0.8 * SOFT + 0.05, z).mean()),
    (
        "BinaryCrossentropy(None, 0.2, target=ANY)",
        SEVERAL,
        LOGITS,
        lambda z: of_known(binary(0.8 * np.nan_to_num(SEVERAL) + 0.1, z)),
    ),
    (
        "GeneralizedCrossentropy(target=ONE)",
        SOFT,
        LOGITS,
        lambda z: (SOFT * (1 - softmax(z) ** 0.7)).sum(1).mean() / 0.7,
    ),
    ("GeneralizedCrossentropy(1, target=ONE)", HARD, LOGITS, lambda z: (1 - (HARD * softmax(z)).sum(1)).mean()),
    ("GeneralizedCrossentropy(1e-6, target=ONE)", SOFT, LOGITS, lambda z: focal_one(SOFT, z, 0)),
    (
        "GeneralizedCrossentropy(0.7, target=ANY)",
        SEVERAL,
        LOGITS,
        lambda z: of_known(
            np.nan_to_num(SEVERAL) * (1 - sigmoid(z) ** 0.7) / 0.7
            + (1 - np.nan_to_num(SEVERAL)) * (1 - sigmoid(-z) ** 0.7) / 0.7
        ),
    ),
    (
        f"SimilaritySmoothing(0.3, {SIMILARITY.tolist()}, target=ONE)",
        SOFT,
        LOGITS,
        lambda z: focal_one(smoothed(0.3), z, 0),
    ),
    (  # equal similarities are label smoothing of 0.3 * 4 / 3
        "SimilaritySmoothing(0.3, [[1.0] * 4] * 4, target=ONE)",
        SOFT,
        LOGITS,
        lambda z: focal_one(0.6 * SOFT + 0.1, z, 0),
    ),
    ("ArcFace(0.5, 8.0, target=ONE)", SOFT, 8 * COSINES, lambda z: arcface(SOFT, z, 8, 0.5)),
    ("ArcFace(0.5, 30.0, target=ONE)", HARD, 30 * COSINES, lambda z: arcface(HARD, z, 30, 0.5)),
    ("ArcFace(0, 8.0, target=ONE)", SOFT, 8 * COSINES, lambda z: focal_one(SOFT, z, 0)),
    ("Distillation(2.0, target=ONE)", SOFT, LOGITS, lambda z: 4 * focal_one(SOFT, z / 2, 0)),
    ("Distillation(1, target=ONE)", SOFT, LOGITS, lambda z: focal_one(SOFT, z, 0)),
    (
        "Distillation(3.0, target=ANY)",
        SEVERAL,
        LOGITS,
        lambda z: 9 * of_known(binary(np.nan_to_num(SEVERAL), z / 3)),
    ),
    ("Huber(0.5, target=GRAMS)", GRAMS, ONE_COLUMN, lambda z: of_numbers(huber(z - (GRAMS - 200) / 100, 0.5))),
    ("Huber(0.5, target=GRADES)", GRADE, ONE_COLUMN, lambda z: huber(z + 1 - GRADE, 0.5).mean()),
    ("Tweedie(1.5, target=COUNT)", GRAMS, ONE_COLUMN, lambda z: tweedie(GRAMS, z, 1.5)),
    ("Tweedie(1.1, target=COUNT)", GRAMS, ONE_COLUMN, lambda z: tweedie(GRAMS, z, 1.1)),
    ("Tweedie(1, target=COUNT)", GRAMS, ONE_COLUMN, lambda z: tweedie(GRAMS, z, 1)),
]
HEAD = "import keras, numpy as np\nfrom kcomp import losses, targets\n" + TARGETS
RUN = (
    HEAD
    + """
def slopes(loss, labels, logits):
    if keras.backend.backend() == "jax":
        import jax
        return np.asarray(jax.grad(lambda values: loss(labels, values))(logits))
    import torch
    values = torch.tensor(logits, requires_grad=True)
    loss(labels, values).backward()
    return values.grad.numpy()

values, gradients, finite = [], [], []
for source, labels, logits in json.loads(sys.argv[1]):
    loss = eval("losses." + source)
    labels, logits = np.asarray(labels, "float32"), np.asarray(logits, "float32")
    values.append(float(loss(labels, logits)))
    gradients.append(slopes(loss, labels, logits).tolist())
    again = keras.losses.deserialize(keras.losses.serialize(loss), {type(loss).__name__: type(loss)})
    assert float(again(labels, logits)) == values[-1], source
    far = logits if isinstance(loss, losses.ArcFace) else 300 * logits
    finite.append(bool(np.isfinite(loss(labels, far)) and np.isfinite(slopes(loss, labels, far)).all()))
give(values=values, gradients=gradients, finite=finite)
"""
)


def slope(function, logits, step=1e-5):
    result = np.zeros_like(logits)
    for place in np.ndindex(logits.shape):
        above, below = logits.copy(), logits.copy()
        above[place] += step
        below[place] -= step
        result[place] = (function(above) - function(below)) / (2 * step)
    return result


@pytest.mark.parametrize("backend", backends())
def test_values_and_gradients_equal_the_formulas(backend):
    sent = [[source, labels.tolist(), logits.tolist()] for source, labels, logits, _ in CASES]
    outcome = in_backend(backend, RUN, json.dumps(sent))
    for number, (source, _, logits, expected) in enumerate(CASES):
        np.testing.assert_allclose(outcome["values"][number], expected(logits), rtol=2e-5, atol=1e-7, err_msg=source)
        gradient = np.array(outcome["gradients"][number])
        np.testing.assert_allclose(gradient, slope(expected, logits), rtol=1e-4, atol=2e-6, err_msg=source)
        assert outcome["finite"][number], f"{source} is not finite for large logits"


def timm_loss(name):
    """A module of timm.loss without timm: the package imports torchvision, which does not load beside a CPU torch."""
    found = importlib.util.find_spec("timm")
    if found is None or importlib.util.find_spec("torch") is None:
        pytest.skip("timm is not installed; it is the peer here")
    path = Path(found.submodule_search_locations[0], "loss", f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"timm_{name}", path)
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_losses_of_timm_and_the_formula_of_torchvision():
    """For labels of 0 and 1. kcomp's loss is the mean over labels; the float64 formulas above stand for it."""
    torch = pytest.importorskip("torch")
    logits, hard, several = map(torch.tensor, (LOGITS, HARD, np.array(SEVERAL[[0, 1, 2]])))
    known = torch.nan_to_num(several).round()
    asl = timm_loss("asymmetric_loss").AsymmetricLossMultiLabel(reduction="none", clip=0.05)
    p = sigmoid(LOGITS[:3])
    q = np.maximum(p - 0.05, 0)
    ones = known.numpy()
    expected = -ones * (1 - p) * np.log(p) - (1 - ones) * q**4 * np.log(1 - q)
    np.testing.assert_allclose(asl(logits[:3], known).numpy(), expected, rtol=1e-5, atol=1e-7)
    soft = timm_loss("cross_entropy").SoftTargetCrossEntropy()
    assert float(soft(logits, torch.tensor(SOFT))) == pytest.approx(focal_one(SOFT, LOGITS, 0))
    mixed = timm_loss("binary_cross_entropy").BinaryCrossEntropy(smoothing=0.0, target_threshold=0.2)
    assert float(mixed(logits, torch.tensor(SOFT))) == pytest.approx(binary(THRESHOLD, LOGITS).mean())
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, hard, reduction="none")
    likely = torch.sigmoid(logits) * hard + (1 - torch.sigmoid(logits)) * (1 - hard)
    torchvision = ((0.25 * hard + 0.75 * (1 - hard)) * (1 - likely) ** 2 * entropy).numpy()
    p = sigmoid(LOGITS)
    own = -0.25 * HARD * (1 - p) ** 2 * np.log(p) - 0.75 * (1 - HARD) * p**2 * np.log(1 - p)
    np.testing.assert_allclose(own, torchvision, rtol=1e-6)


KERAS = (
    HEAD
    + """
loss, keras_loss = losses.Focal(2.0, target=ONE), keras.losses.CategoricalFocalCrossentropy(1.0, 2.0, from_logits=True)
labels = np.eye(4, dtype="float32")[[0, 1]]
easy, wrong = np.array([[1, 0, 2, 0], [0, 1, 0, 0]], "float32"), np.array([[0, 40, 0, 0]] * 2, "float32")
give(
    easy=[float(one(labels, easy)) for one in (loss, keras_loss)],
    wrong=[float(one(labels[:1], wrong[:1])) for one in (loss, keras_loss)],
)
"""
)


@pytest.mark.parametrize("backend", backends())
def test_keras_focal_loss_is_equal_until_it_clips(backend):
    outcome = in_backend(backend, KERAS)
    assert outcome["easy"][0] == pytest.approx(outcome["easy"][1], rel=1e-5)
    assert outcome["wrong"] == pytest.approx([40, -np.log(1e-7)], rel=1e-3)


ERRORS = (
    HEAD
    + """
def text(source):
    try: eval("losses." + source)
    except ValueError as error: return str(error)

give(texts=[text(source) for source in json.loads(sys.argv[1])])
"""
)
RULES = {
    "Focal(-1)": "gamma must be at least 0; received -1",
    "Focal(alpha=1.0)": "alpha must be between 0 and 1",
    "Focal(alpha=0.25, target=ONE)": "use Stage(class_weights=...)",
    "Focal(target=GRAMS)": "the loss Focal is for a target of one class or several labels; this target is numbers",
    "Focal()(np.eye(4), np.eye(4))": "Focal needs the target: pass target=table.target",
    "Asymmetric(target=ONE)": "for a target of several labels; this target is one class",
    "Asymmetric(margin=1)": "margin must be from 0 to below 1; received 1",
    "Asymmetric(-1)": "must be at least 0; received -1 and 1.0",
    "BinaryCrossentropy(0.2, 0.1)": "a threshold undoes label smoothing",
    "BinaryCrossentropy(1.5)": "threshold must be from 0 to below 1; received 1.5",
    "GeneralizedCrossentropy(0)": "q must be above 0 and at most 1; received 0",
    "SimilaritySmoothing(0.1, [[1, 1], [1, 1]], target=ONE)": "each of the 4 classes; it has 2",
    "SimilaritySmoothing(0.1, [[1, 1]])": "at least two classes; received (1, 2)",
    "SimilaritySmoothing(0.1, [[1, -1], [1, 1]])": "a finite number of at least 0",
    "SimilaritySmoothing(0.1, [[1, 1], [0, 1]])": "class number 1 has none",
    "class_similarity(np.eye(2), np.eye(3))": "received (2, 2) and (3, 3)",
    "class_similarity(np.eye(2)[[0]], np.eye(2)[[0]])": "class number 1 has none",
    "ArcFace(2)": "from 0 to below pi / 2; received 2",
    "ArcFace(scale=0)": "scale must be above 0",
    "ArcFace(target=ONE)(np.eye(4), np.eye(4))": "needs the scale of the head",
    "Distillation(0)": "temperature must be above 0; received 0",
    "Huber(0)": "delta must be above 0",
    "Huber(target=COUNT)": "link='identity'; received 'log'",
    "Huber(target=targets.Grades(('a', 'b'), 'softmax'))": "loss_name='regression'; received 'softmax'",
    "Tweedie(2)": "power must be from 1 to below 2; received 2",
    "Tweedie(target=GRAMS)": "Numbers(names, link='log')",
}


def test_errors_say_the_rule():
    backend = "jax" if importlib.util.find_spec("jax") else "torch"
    texts = in_backend(backend, ERRORS, json.dumps(list(RULES)))["texts"]
    for (source, rule), text in zip(RULES.items(), texts, strict=True):
        assert text and rule in text, f"{source}: {text}"
        assert "\n" not in text

"""How much to train: groups of blocks, probes on their features, the table of the textbook, and the suggestion."""

import importlib
import re
import sys
from types import SimpleNamespace

import conftest
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

from kcomp import data, targets
from kcomp.new.stages import default_stages
from kcomp.suggest.patterns import expressions, pattern_of
from kcomp.suggest.rule import DataSize, GroupScore, Similarity, explain, plan_stages, upper_groups
from kcomp.suggest.scores import ProbeScore, advantage, score_features

ROWS = 60


def table_of(labels, target):
    """A table without images."""
    frame = pd.DataFrame({"image_id": [str(row) for row in range(len(labels))], "image": ""})
    return data.Table(pd.concat([frame, pd.DataFrame(labels, columns=list(target.columns))], axis=1), target)


def target_cases():
    """Each target with labels that a linear function of two features determines."""
    random = np.random.default_rng(3)
    values = random.normal(size=(ROWS, 2))
    sign = (values > 0).astype(float)
    grades = np.digitize(values[:, :1], [-0.5, 0.5]).astype(float)
    return {
        "one class": (targets.OneOf(("a", "b")), np.column_stack([sign[:, 0], 1 - sign[:, 0]]), values),
        "labels": (targets.AnyOf(("a", "b")), sign, values),
        "numbers": (targets.Numbers(("x", "y")), 100 + 7 * values, values),
        "grades": (targets.Grades(("low", "mid", "high")), grades, values),
    }


@pytest.mark.parametrize("name", target_cases())
def test_skill_is_high_for_features_that_decide_and_low_for_noise(name):
    target, labels, values = target_cases()[name]
    noise = np.random.default_rng(4).normal(size=(ROWS, 2))
    table = table_of(labels, target)
    assert score_features(np.column_stack([values, noise]), table).skill > 0.6
    assert -0.35 < score_features(noise, table).skill < 0.15


def test_losses_are_relative_to_the_constant():
    """Numbers 0 and 2 have a variance of 1. A probe on a constant feature predicts 1, the mean of its training rows,
    because each fold has as many rows of 0 as of 2."""
    labels = np.array([[0.0], [2.0]] * 10)
    scores = score_features(np.ones((20, 1)), table_of(labels, targets.Numbers(("x",))))
    np.testing.assert_allclose(scores.losses, np.ones(20))
    assert scores.skill == pytest.approx(0)


def test_each_number_counts_equally():
    """A number that the features decide, and one of noise with 100 times its spread, have a mean skill of 1/2."""
    _, labels, values = target_cases()["numbers"]
    noise = 700 * np.random.default_rng(5).normal(size=ROWS)
    score = score_features(values, table_of(np.column_stack([labels[:, 0], noise]), targets.Numbers(("x", "y"))))
    assert score.skill == pytest.approx(0.5, abs=0.1)


def test_missing_labels_are_left_out():
    target, labels, values = target_cases()["numbers"]
    labels = labels.copy()
    labels[::5, 0] = np.nan
    labels[3] = np.nan
    score = score_features(values, table_of(labels, target))
    assert np.flatnonzero(np.isnan(score.losses)).tolist() == [3] and score.skill > 0.99


def test_advantage_by_hand():
    """Differences 0.1, 0.2, 0.3 have a mean of 0.2 and a standard error of 0.1 / sqrt(3)."""
    last = ProbeScore(0.5, np.array([0.5, 0.6, 0.4, np.nan]))
    earlier = ProbeScore(0.7, np.array([0.4, 0.4, 0.1, np.nan]))
    assert advantage(earlier, last) == pytest.approx((0.2, 0.1 / 3**0.5))


@pytest.mark.parametrize(
    ("chosen", "others", "expected"),
    [
        (["block6a_conv", "block6b_conv", "block7a_conv", "top_conv"], ["block5a_conv", "head"], ["block[67].*", "top.*"]),
        (["block2_x", "block3_x", "block4_x"], ["block1_x"], ["block[2-4].*"]),
        (["conv2d_1", "dense"], ["conv2d_12", "conv2d"], ["conv2d_1", "dense.*"]),
        (["stage_3/block_0", "stage_3/block_1"], ["stage_2/block_0"], ["stage_3.*"]),
        (["a.b"], ["axb"], [r"a\..*"]),
        (["c_7", "c_3", "c_8"], ["c_1"], ["c_[78].*", "c_3.*"]),
        (["c_72", "c_73"], ["c_7", "c_1"], ["c_72.*", "c_73.*"]),
    ],
)  # fmt: skip
def test_expressions_match_the_chosen_layers_alone(chosen, others, expected):
    patterns = expressions(chosen, others)
    assert patterns == expected
    assert all(re.fullmatch("|".join(patterns), name) for name in chosen)
    assert not any(re.fullmatch("|".join(patterns), name) for name in others)


def test_irregular_names_train_all_layers():
    """A regular expression of 40 names would be long."""
    odd, even = (tuple(f"conv2d_{number}" for number in range(start, 99, 2)) for start in (11, 10))
    groups = [SimpleNamespace(layers=even), SimpleNamespace(layers=odd)]
    assert pattern_of(groups, 1) == pattern_of(groups, 2) == "all"
    groups = [SimpleNamespace(layers=("a_1",)), SimpleNamespace(layers=("a_2",))]
    assert pattern_of(groups, 1) == "head.*|a_2.*"


def similarity_of(*skills, error=0.01):
    scores = tuple(GroupScore(f"end{number}", 1000, skill) for number, skill in enumerate(skills))
    return Similarity(scores, max(skills[:-1]) - skills[-1], error)


@pytest.mark.parametrize(
    ("rows", "skills", "upper", "rate"),
    [
        (300, (0.1, 0.5, 0.7, 0.9), 1, 3e-5),  # little, similar
        (5000, (0.1, 0.5, 0.7, 0.9), 2, 1e-4),  # much, similar
        (300, (0.1, 0.5, 0.9, 0.7), 2, 3e-4),  # little, the last group loses
        (300, (0.1, 0.9, 0.8, 0.7), 2, 3e-4),
        (300, (0.9, 0.5, 0.8, 0.7), 3, 3e-4),
        (300, (0.0, 0.1, 0.2, 0.3), 2, 3e-4),  # little, the last group predicts badly
        (5000, (0.1, 0.5, 0.9, 0.7), 4, 1e-3),  # much, unlike
        (5000, (0.0, 0.1, 0.2, 0.3), 4, 1e-3),
    ],
)
def test_the_table(rows, skills, upper, rate):
    size, similarity = DataSize(rows, 4, "rare", rows // 10), similarity_of(*skills)
    assert upper_groups(size, similarity) == upper
    plan = plan_stages(size, similarity, ["one", "two", "three", "all"])
    assert plan.train == ["one", "two", "three", "all"][upper - 1]
    assert plan.rate == rate and plan.name == ("all" if upper == 4 else "upper blocks")


@pytest.mark.parametrize(
    ("skills", "expected"),
    [((0.5, 0.80, 0.83), True), ((0.5, 0.80, 0.805), False), ((0.5, 0.81, 0.80), False), ((0.2, 0.3, 0.49), False)],
)
def test_data_is_similar_if_the_last_features_are_clearly_the_best(skills, expected):
    """The last features must explain half of the loss, and 0.01 more than earlier ones: a standard error."""
    assert similarity_of(*skills).is_similar == expected


def test_a_network_of_one_group_has_no_earlier_features():
    size, similarity = DataSize(300), Similarity((GroupScore("end", 10, 0.7),), 0.0, 0.0)
    assert similarity.is_similar
    assert len(explain(size, similarity, plan_stages(size, similarity, ["all"]))) == 3


def test_many_classes_need_many_rows():
    assert DataSize(499, 2).is_little and not DataSize(500, 2).is_little
    assert DataSize(1999, 100).is_little and not DataSize(2000, 100).is_little


def test_reasons_have_the_measured_numbers():
    size, similarity = DataSize(300, 2, "bees", 140), similarity_of(0.1, 0.5, 0.88)
    text = " ".join(explain(size, similarity, plan_stages(size, similarity, ["top", "more", "all"])))
    for part in (
        "300 labelled rows",
        "140 of the rarest class (bees)",
        "88 %",
        "50 %: 38 points less",
        "error of 1.",
        "similar to ImageNet",
        "3e-5",
    ):
        assert part in text


def test_stages_without_a_measurement():
    few = default_stages(300, is_lite=True)
    assert (few.train, few.rate, few.cache_views) == ("head|top.*|block[67].*", 3e-5, 4)
    many = default_stages(1200, is_lite=True)
    assert (many.train, many.rate, many.epochs, many.cache_views) == ("all", 1e-3, 10, None)


NETWORK = """
import keras, numpy as np
from keras import layers
from kcomp import data, models, suggest, targets
from kcomp.engine.initial_weights import draw_weights_on_host
from kcomp.suggest.groups import divide
from kcomp.suggest.patterns import pattern_of

def network(last=1.0):
    "Three blocks of resolutions 8, 4 and 2. `last` scales the output of the last block: 0 makes it constant."
    x = inputs = keras.Input((16, 16, 3), name="images")
    x = layers.Rescaling(1 / 255)(x)
    for number, width in enumerate((8, 16, 24), 1):
        x = layers.Conv2D(width, 3, 2, padding="same", use_bias=False, name=f"block{number}_conv")(x)
        x = layers.ReLU(name=f"block{number}_relu")(layers.BatchNormalization(name=f"block{number}_bn")(x))
    with draw_weights_on_host(0):
        model = keras.Model(inputs, x, name="tiny")
    random = np.random.default_rng(0)
    for layer in model.layers:
        if "conv" in layer.name:
            layer.set_weights([random.normal(size=layer.kernel.shape) * 0.3])
    model.get_layer("block3_conv").set_weights([model.get_layer("block3_conv").get_weights()[0] * last])
    return model
rows = data.sklearn_digits().rows(np.arange(120))
"""


@pytest.mark.parametrize("backend", conftest.one_slow())
def test_groups_by_hand(backend):
    """Weights: 3 * 3 * 3 * 8 = 216, 3 * 3 * 8 * 16 = 1152 and 3 * 3 * 16 * 24 = 3456."""
    answer = conftest.in_backend(
        backend,
        NETWORK
        + """
groups = divide(network())
whole = models.classifier(network(), 2)
give(layers=[group.layers for group in groups], weights=[group.weights for group in groups],
     shapes=[group.features.shape[1:] for group in groups],
     patterns=[pattern_of(groups, upper) for upper in (1, 2, 3)],
     trained=[models.set_trainable(whole, pattern_of(groups, upper)) for upper in (1, 2)])
""",
    )
    assert answer["layers"] == [[f"block{number}_conv", f"block{number}_bn"] for number in (1, 2, 3)]
    assert answer["weights"] == [216, 1152, 3456] and answer["shapes"] == [[8], [16], [24]]
    assert answer["patterns"] == ["head.*|block3.*", "head.*|block[23].*", "all"]
    assert answer["trained"] == [["block3_conv", "head"], ["block2_conv", "block3_conv", "head"]]


@pytest.mark.parametrize("backend", conftest.one_slow("jax"))
def test_tokens_of_one_resolution_are_divided_by_blocks(backend):
    """A transformer-like network: a convolution, and 8 residual blocks of 16 tokens. Each group has two blocks."""
    code = """
x = inputs = keras.Input((16, 16, 3))
x = layers.Reshape((16, 8))(layers.Conv2D(8, 4, 4, name="patch")(x))
for number in range(8):
    x = layers.Add()([x, layers.Dense(8, name=f"block{number}_dense")(layers.LayerNormalization(name=f"block{number}_norm")(x))])
groups = divide(keras.Model(inputs, x))
give(layers=[group.layers for group in groups], patterns=[pattern_of(groups, upper) for upper in range(1, 6)])
"""
    answer = conftest.in_backend(backend, NETWORK + code)
    names = [f"block{number}_{kind}" for number in range(8) for kind in ("norm", "dense")]
    assert answer["layers"] == [["patch"], *(names[start : start + 4] for start in range(0, 16, 4))]
    expected = ["head.*|block[67].*", "head.*|block[4-7].*", "head.*|block[2-7].*", "head.*|block.*", "all"]
    assert answer["patterns"] == expected


SUGGEST = (
    NETWORK
    + """
calls = []
first = suggest.stages(rows, network(), progress=lambda *numbers: calls.append(numbers))
constant = suggest.stages(rows, network(last=0.0))
give(skills=[score.skill for score in first.similarity.scores], plan=str(first.plan), reasons=first.reasons, calls=calls[-1],
     lost=constant.similarity.scores[-1].skill, similar=constant.similarity.is_similar, train=constant.plan.train)
"""
)


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    names = [parameter.values[0] for parameter in conftest.backends() if not parameter.marks[0].args[0]]
    return {name: conftest.in_backend(name, SUGGEST, cache=tmp_path_factory.mktemp(name)) for name in names}


def test_suggestions_are_the_same_on_both_backends(answers):
    assert all(answer["calls"] == [120, 120] for answer in answers.values())
    if len(answers) == 2:
        first, second = answers.values()
        np.testing.assert_allclose(first["skills"], second["skills"], atol=2e-3)
        assert first["reasons"] == second["reasons"] and first["plan"] == second["plan"]


def test_a_last_block_without_information_loses(answers):
    for answer in answers.values():
        assert not answer["similar"] and answer["lost"] < 0.01 and answer["train"] == "head.*|block[23].*"


@pytest.mark.parametrize("backend", conftest.one_slow("jax"))
def test_suggestions_are_deterministic_and_measure_at_most_some_rows(backend, tmp_path):
    code = """
first, again = (suggest.stages(rows, network(), most=50) for _ in range(2))
numbers = data.Table(rows.frame[["image_id", "image"]].assign(x=np.arange(120.0)), targets.Numbers(("x",)))
give(same=first == again, rows=first.size.rows, rarest=first.size.rarest_rows, losses=len(first.similarity.scores),
     numbers=suggest.stages(numbers, network(), most=50).reasons, skill=first.similarity.scores[0].skill,
     all=suggest.stages(rows, network()).similarity.scores[0].skill,
     stages=[[stage.name, stage.train, stage.epochs, stage.cache_views] for stage in first.stages],
     plan=[first.plan.name, first.plan.train, first.plan.epochs, first.plan.cache_views],
     new=first.stages[0].optimizer is not first.stages[0].optimizer)
"""
    answer = conftest.in_backend(backend, NETWORK + code, cache=tmp_path)
    assert answer["same"] and answer["new"] and answer["skill"] != answer["all"]
    assert answer["rows"] == 120 and answer["rarest"] == np.bincount(load_digits().target[:120]).min()
    assert answer["numbers"][0] == "Little data: 120 labelled rows."
    assert [stage[0] for stage in answer["stages"]] == ["head", "upper blocks"]
    assert answer["stages"][1] == answer["plan"]


@pytest.mark.parametrize("backend", conftest.one_slow("jax"))
def test_wrong_input_is_an_error(backend, tmp_path):
    code = """
import dataclasses
errors = []
unreadable = data.Table(rows.frame.assign(image="missing.png"), rows.target)
for call in (
    lambda: suggest.stages(dataclasses.replace(rows, target=None), network()),
    lambda: suggest.stages(rows, network(), most=3),
    lambda: suggest.stages(unreadable, network()),
):
    try:
        call()
    except ValueError as error:
        errors.append(str(error))
give(errors=errors)
"""
    errors = conftest.in_backend(backend, NETWORK + code, cache=tmp_path)["errors"]
    assert errors == [
        "a suggestion needs labels; the table has no target",
        "most must be at least 10; received 3",
        "a suggestion needs at least 10 images that can be read; 0 can",
    ]


def test_the_page_of_results_agrees_with_the_file(monkeypatch):
    monkeypatch.syspath_prepend(conftest.ROOT / "scripts")
    script = importlib.import_module("suggest_stages")
    text = script.PAGE.read_text()
    assert script.page_text(text, pd.read_csv(script.FILE)) == text, "run scripts/suggest_stages.py report"
    for name in ("suggest_stages", "worth_report", "worth_variants"):
        sys.modules.pop(name)

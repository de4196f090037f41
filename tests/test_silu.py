"""kcomp's loops for silu in place and after normalisation on PyTorch, against float64, and what runs without them."""

import importlib.util
import sys

import pytest
from conftest import FORGET_LOOPS, in_backend

pytest.importorskip("torch")

needs_loops = pytest.mark.skipif(
    sys.platform != "linux" or importlib.util.find_spec("numba") is None, reason="needs numba and GNU's OpenMP"
)

HEAD = """
    import sys, torch
    from torch.nn import functional
    from kcomp.fast.torch import loop_arguments as loops_torch, silu as silu_torch
    torch.manual_seed(0)
    far = lambda one, other: float(((one.double() - other) / other.abs().max()).abs().max())

    def by_torch(inputs, gamma, beta, epsilon):
        outputs = functional.batch_norm(inputs.movedim(-1, 1), None, None, gamma, beta, training=True, eps=epsilon)
        return functional.silu(outputs.movedim(1, -1))

    def by_loops(inputs, gamma, beta, epsilon):
        return silu_torch.normalised_silu(inputs, gamma, beta, None, None, epsilon, True)[0]
"""


@needs_loops
def test_silu_in_place_is_right_to_the_last_digits():
    found = in_backend(
        "torch",
        HEAD
        + """
    values = torch.linspace(-40, 40, 200_003)  # in no number of threads a whole number of registers
    exact = values.double()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        outputs, expected = values.clone(), functional.silu(exact)
        assert silu_torch.silu_in_place(outputs) is outputs
        relative = ((outputs.double() - expected) / expected).nan_to_num()
        assert float(relative.abs().max()) < 4e-7, (threads, relative.abs().max())
    odd = torch.zeros(1 << 17)
    odd[:5] = torch.tensor([float("nan"), float("inf"), 200.0, -200.0, 1e-40])
    silu_torch.silu_in_place(odd)
    give(odd=[str(float(value)) for value in odd[:3]], low=float(odd[3]))
""",
    )
    assert found["odd"] == ["nan", "inf", "200.0"] and abs(found["low"]) < 1e-30


@needs_loops
def test_normalisation_with_silu_is_the_one_after_the_other():
    """Whole and broken rows, several pixels a row or one, values far from zero, a constant channel."""
    found = in_backend(
        "torch",
        HEAD
        + """
    def all_of(function, values, weights):
        values = [value.clone().requires_grad_() for value in values]
        outputs = function(*values, 1e-3)
        return outputs.detach(), *torch.autograd.grad(outputs, values, weights.to(outputs.dtype))

    def errors_of(shape):
        inputs, gamma, beta = 3 * torch.randn(shape) + 50, torch.rand(shape[-1]) + 0.5, torch.randn(shape[-1])
        inputs[..., 1:2] = 7.0
        values, weights, places = (inputs, gamma, beta), torch.randn(shape), tuple(range(len(shape) - 1))
        exact = all_of(by_torch, [value.double() for value in values], weights)
        outputs, mean, variance = silu_torch.normalised_silu(*values, None, None, 1e-3, True)
        errors = [[far(mean, inputs.double().mean(places)), far(variance, inputs.double().var(places, correction=0))]]
        for threads in (1, 3):
            torch.set_num_threads(threads)
            errors.append([far(one, other) for one, other in zip(all_of(by_loops, values, weights), exact)])
        return errors, [far(one, other) for one, other in zip(all_of(by_torch, values, weights), exact)]

    give(found=[errors_of(shape) for shape in [(5, 33, 31, 40), (2, 5, 13, 1280), (700, 200), (9, 150, 99, 1)]])
""",
    )["found"]
    for (statistics, *loops), plain in found:
        assert max(statistics) < 1e-6, statistics
        for errors in loops:
            assert all(ours < max(2e-6, 2 * theirs) for ours, theirs in zip(errors, plain)), (errors, plain)


@needs_loops
def test_frozen_inputs_weights_and_second_gradients():
    found = in_backend(
        "torch",
        HEAD
        + """
    inputs, gamma, beta = torch.randn(40, 40, 100), torch.rand(100) + 0.5, torch.randn(100)
    def second(function, inputs, gamma, beta):
        inputs = inputs.clone().requires_grad_()
        [first] = torch.autograd.grad(function(inputs, gamma, beta, 1e-3).sin().sum(), inputs, create_graph=True)
        return torch.autograd.grad(first.square().sum(), inputs)[0]
    exact = [value.double() for value in (inputs, gamma, beta)]
    weight = gamma.clone().requires_grad_()
    by_loops(inputs, weight, beta, 1e-3).square().sum().backward()
    there = exact[1].clone().requires_grad_()
    by_torch(exact[0], there, exact[2], 1e-3).square().sum().backward()
    give(second=far(second(by_loops, inputs, gamma, beta), second(by_torch, *exact)), frozen=far(weight.grad, there.grad))
""",
    )
    assert max(found.values()) < 1e-5


NETWORK = (
    HEAD
    + """
    import keras, numpy as np
    from keras import layers
    from kcomp.prediction.forward import compile_forward
    from kcomp.fast.install import patched

    def network():
        keras.utils.set_random_seed(0)
        images = keras.Input((32, 32, 3))
        x = layers.Conv2D(16, 3, padding="same", use_bias=False)(images)
        x = layers.Activation("silu")(layers.BatchNormalization()(x))
        shared = layers.BatchNormalization()(layers.Conv2D(16, 1, use_bias=False)(x))
        x = layers.Add()([layers.Activation("silu")(shared), shared])
        x = layers.BatchNormalization(scale=False)(layers.Conv2D(32, 1, use_bias=False)(x))
        x = layers.Dense(3)(layers.GlobalAveragePooling2D()(layers.Activation("silu")(x)))
        return keras.Model(images, x)

    images = np.random.default_rng(0).normal(size=(16, 32, 32, 3)).astype("float32")

    def step():
        model = network()
        with patched(True):
            (model(images, training=True)[:, 0] * torch.arange(16.0).sin()).sum().backward()
            outputs = compile_forward(model)(images)
        return [*(v.value.grad.numpy() for v in model.trainable_variables), *(v.numpy() for v in model.non_trainable_variables), np.asarray(outputs)]
    distance = lambda these, those: max(float(np.abs(one - other).max() / (np.abs(other).max() + 1e-3)) for one, other in zip(these, those))
"""
)


@needs_loops
def test_a_network_learns_and_predicts_the_same_with_loops_and_without():
    found = in_backend(
        "torch",
        NETWORK
        + """
    from kcomp.fast.pairs import NormalisedSilu
    from kcomp.fast.straight import plan_of
    loops, called = loops_torch.loops(), []
    original = loops.run
    loops.run = lambda code, *arguments: called.append(next(n for n, v in vars(loops).items() if v is code)) or original(code, *arguments)
    ours = step()
    loops_torch.loops = lambda name="silu": None
    give(distance=distance(ours, step()), called=called,
         joined=sum(isinstance(one.operation, NormalisedSilu) for one in plan_of(network()).steps))
""",
    )
    assert found["distance"] < 3e-4  # of gradients that are small sums of large numbers
    assert found["joined"] == 2  # the normalisation that is read twice stays apart
    names = found["called"]  # one of the two without gamma runs as one after the other
    assert names.count("normalised_silu") == names.count("moments") == names.count("normalised_part") == 1
    assert names.count("silu_in_place") == 2


def test_without_numba_pytorch_does_it():
    found = in_backend(
        "torch",
        FORGET_LOOPS
        + """
    sys.modules["numba"] = None
"""
        + NETWORK
        + """
    outputs = step()
    give(loops=loops_torch.loops() is None, finite=all(bool(np.isfinite(one).all()) for one in outputs))
""",
    )
    assert found == {"loops": True, "finite": True}


def test_small_tensors_import_nothing():
    found = in_backend(
        "torch",
        FORGET_LOOPS
        + HEAD
        + """
    for name in [name for name in sys.modules if name.partition(".")[0] == "numba"]:
        del sys.modules[name]  # a new import would add it
    silu_torch.silu_in_place(torch.randn(1000))
    silu_torch.silu_in_place(torch.randn(1 << 18).to(torch.bfloat16))
    silu_torch.silu_in_place(torch.randn(1 << 18, dtype=torch.float64))
    silu_torch.silu_in_place(torch.randn(1 << 9, 1 << 9).T)
    give(imported="numba" in sys.modules)
""",
    )
    assert not found["imported"]


def test_networks_with_silu_are_exported_and_silu_traced():
    found = in_backend(
        "torch",
        NETWORK
        + """
    class Wrapped(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, given):
            return self.model(given)

    model, example = network(), torch.from_numpy(images)
    rows, values = torch.export.Dim("rows", min=1), torch.linspace(-4, 4, 1 << 17)
    with torch.no_grad(), patched(True):
        plain = model(images)
        exported = torch.export.export(Wrapped(model), (example[:2],), dynamic_shapes=({0: rows},)).module()(example)
    traced = torch.jit.trace(lambda values: silu_torch.silu_in_place(values + 0), values)(values)
    give(exported=far(exported, plain.double()), traced=far(traced, functional.silu(values.double())))
""",
    )
    assert max(found.values()) < 1e-5


@needs_loops
def test_damaged_machine_code_and_an_unusable_folder_cost_a_compilation(tmp_path):
    code = (
        FORGET_LOOPS
        + HEAD
        + """
    values = torch.linspace(-4, 4, 1 << 17)
    give(loops=silu_torch.loops() is not None, far=far(silu_torch.silu_in_place(values.clone()), functional.silu(values.double())))
"""
    )
    assert in_backend("torch", code, cache=tmp_path)["loops"]
    for number, path in enumerate(sorted(tmp_path.rglob("*.nb*"))):
        path.write_bytes(path.read_bytes()[: 0 if number % 2 else 40])
    for cache in (tmp_path, "/dev/null/none"):
        found = in_backend("torch", code, cache=cache)
        assert found["loops"] and found["far"] < 1e-6

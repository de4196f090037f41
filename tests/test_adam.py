"""Adam in one pass on PyTorch is Keras's Adam."""

import pytest
from conftest import in_backend

pytest.importorskip("torch")

CODE = """
    import keras, numpy as np, torch
    from kcomp.fast.torch.adam import use_fused_update

    shapes = [(3, 3, 4, 8), (8,), (1, 1, 8, 5), (5,)]
    def path(make, fused, dtype="float32"):
        draws = np.random.default_rng(0)
        variables = [keras.Variable(draws.normal(size=shape), dtype=dtype, name=f"v{n}") for n, shape in enumerate(shapes)]
        optimizer = make(variables)
        optimizer.build(variables)
        calls = []
        original = torch._fused_adam_
        torch._fused_adam_ = lambda *arguments, **options: calls.append(len(arguments[0])) or original(*arguments, **options)
        if fused:
            use_fused_update(optimizer)
        for number in range(7):
            gradients = [torch.tensor(draws.normal(0, 10.0 ** -number, shape), dtype=getattr(torch, dtype)) for shape in shapes]
            gradients[0] = gradients[0].permute(3, 2, 0, 1).contiguous().permute(2, 3, 1, 0)  # as a convolution's come
            optimizer.apply(gradients, variables)
        torch._fused_adam_ = original
        state = [variable.numpy() for variable in optimizer.variables if len(variable.shape)]
        return [variable.numpy() for variable in variables] + state, calls

    def decayed(variables, **options):
        optimizer = keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(0.05, 9), weight_decay=0.1, epsilon=1e-3, **options)
        optimizer.exclude_from_weight_decay(var_list=variables[1:2])
        return optimizer

    class Mine(keras.optimizers.Adam):
        pass

    kinds = {
        "adam": lambda variables: keras.optimizers.Adam(0.01, beta_1=0.8, beta_2=0.99),
        "adamw": decayed,
        "clipped": lambda variables: decayed(variables, clipnorm=0.5),
        "gathered": lambda variables: decayed(variables, gradient_accumulation_steps=2),
        "averaged": lambda variables: decayed(variables, use_ema=True, ema_momentum=0.9),
        "amsgrad": lambda variables: keras.optimizers.Adam(0.01, amsgrad=True),
        "mine": lambda variables: Mine(0.01),
        "sgd": lambda variables: keras.optimizers.SGD(0.01),
    }
    def far(one, other):
        return max(float(np.abs(a.astype("float64") - b).max() / np.abs(b).max()) for a, b in zip(one, other))
    found = {}
    for name, make in kinds.items():
        (ours, calls), (plain, none), (exact, _) = path(make, True), path(make, False), path(make, False, "float64")
        found[name] = [far(ours, exact), far(plain, exact), len(calls), len(none)]
    give(**found)
"""


def test_adam_use_fused_update_is_keras_adam():
    found = in_backend("torch", CODE)
    for name, (ours, plain, calls, _) in found.items():
        assert ours < max(1e-6, 2 * plain), name
        updates = {"gathered": 3, "amsgrad": 0, "mine": 0, "sgd": 0}
        assert calls == updates.get(name, 7), name
    assert not any(none for *_, none in found.values())


def test_a_prediction_follows_weights_that_adam_changed():
    """PyTorch's operation does not count its updates, by which the folded prediction knows that it is old."""
    found = in_backend(
        "torch",
        """
    import keras, numpy as np
    from kcomp.prediction.forward import compile_forward
    from kcomp.fast.install import patched
    from kcomp.recipe import Stage
    from kcomp.training.mixed import Mixed
    from kcomp.training.optimizer import compile_for_stage

    inputs = keras.Input((8, 8, 3))
    network = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(3, 3)(inputs)))
    model = Mixed(network, (), None)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    compile_for_stage(model, Stage("all", 1, "all", keras.optimizers.Adam(0.1), loss), network, steps=1, seed=0, metrics=[])
    fused = model.optimizer._parallel_update_step
    batch = {"images": np.ones((4, 8, 8, 3), "float32"), "labels": np.eye(3, dtype="float32")[[0, 0, 0, 1]]}
    with patched(True):
        forward = compile_forward(network)
        before = np.asarray(forward(batch["images"]))
        model.fit(((batch,) for _ in range(3)), steps_per_epoch=3, verbose=0, shuffle=False)
        after = np.asarray(forward(batch["images"]))
    exact = keras.ops.convert_to_numpy(network(batch["images"]))
    give(fused=type(fused).__name__, moved=float(np.abs(after - before).max()), far=float(np.abs(after - exact).max()))
""",
    )
    assert found["fused"] == "partial" and found["moved"] > 0.1 and found["far"] < 1e-5


def test_states_given_from_outside_are_not_the_variables():
    found = in_backend(
        "torch",
        """
import keras, torch
from kcomp.fast.torch.adam import use_fused_update
variable, optimizer = keras.Variable(torch.ones(3)), keras.optimizers.Adam(0.1)
optimizer.build([variable])
use_fused_update(optimizer)
state = [one.value.clone() for one in optimizer.variables]
[after], _ = optimizer.stateless_apply(state, [torch.ones(3)], [torch.ones(3)])
give(after=after.tolist(), kept=variable.numpy().tolist(), moments=float(optimizer._momentums[0].numpy().max()))
""",
    )
    assert found["after"] == pytest.approx([0.9] * 3, abs=1e-5)
    assert found["kept"] == [1.0] * 3 and found["moments"] == 0.0

"""What a recipe's precision means on both backends."""

import keras


def use_precision(name: str) -> None:
    """Set Keras's dtype policy, and say explicitly what a GPU may do with float32.

    "float32" is float32 throughout; "tensorfloat32" lets an NVIDIA GPU round the inputs of its matrix products and
    convolutions to 10 bits of mantissa (TF32), several times faster; "mixed_bfloat16" and "mixed_float16" are Keras's
    policies. PyTorch by itself rounds in convolutions but not in matrix products, and JAX in both: without this, the
    same recipe would mean different arithmetic on each. A CPU computes in float32 under both of the first two.
    """
    keras.config.set_dtype_policy("float32" if name == "tensorfloat32" else name)
    rounded = name != "float32"
    if keras.backend.backend() == "torch":
        import torch

        torch.backends.cuda.matmul.allow_tf32 = rounded
        torch.backends.cudnn.allow_tf32 = rounded
    else:
        import jax

        if jax.default_backend() != "cpu":  # there it would only change the key of the compilation cache
            jax.config.update("jax_default_matmul_precision", "tensorfloat32" if rounded else "float32")


def precision_in_use() -> str:
    """What `use_precision` set, as a text that differs where the arithmetic does."""
    if keras.backend.backend() == "torch":
        import torch

        return f"{keras.config.dtype_policy().name} {torch.backends.cudnn.allow_tf32}"
    import jax

    return f"{keras.config.dtype_policy().name} {jax.config.jax_default_matmul_precision}"

"""A Numba type for sixteen float32 numbers, and functions that load, store and add them.

Addresses are int64 numbers of bytes. The argument `each` is a tuple of several values of this type.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, register_model

__all__ = ["BYTES", "LANES", "add", "add_products", "each_of", "load", "load_each", "store", "store_each", "zero"]

LANES = 16  # numbers in a value: one register of AVX-512, two of AVX2, four of NEON
BYTES = 4 * LANES
_vector, _fused = ir.VectorType(ir.FloatType(), LANES), ("contract",)


class _Lanes(types.Type):
    def __init__(self) -> None:
        super().__init__(name="Lanes")


@register_model(_Lanes)
class _InRegisters(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _vector)


_lanes = _Lanes()


def _load(builder: Any, address: Any) -> Any:
    return builder.load(builder.inttoptr(address, _vector.as_pointer()), align=4)


def _store(builder: Any, value: Any, address: Any) -> None:
    builder.store(value, builder.inttoptr(address, _vector.as_pointer()), align=4)


@intrinsic
def zero(typing):
    return _lanes(), lambda context, builder, signature, arguments: ir.Constant(_vector, [0.0] * LANES)


@intrinsic
def load(typing, address):
    return _lanes(types.int64), lambda context, builder, signature, arguments: _load(builder, *arguments)


@intrinsic
def store(typing, value, address):
    def code(context, builder, signature, arguments):
        _store(builder, *arguments)
        return context.get_dummy_value()

    return types.void(_lanes, types.int64), code


@intrinsic
def add(typing, first, second):
    return _lanes(_lanes, _lanes), lambda context, builder, signature, arguments: builder.fadd(*arguments)


@intrinsic(prefer_literal=True)
def each_of(typing, count, value):
    """Return a tuple that repeats `value` `count` times; `count` must be a compile-time constant."""
    each = types.UniTuple(_lanes, count.literal_value)

    def code(context, builder, signature, arguments):
        return context.make_tuple(builder, each, [arguments[1]] * len(each))

    return each(count, _lanes), code


@intrinsic(prefer_literal=True)
def load_each(typing, count, address, step):
    """Return a tuple of `count` values, loaded from addresses `step` bytes apart.

    `count` must be a compile-time constant.
    """
    each = types.UniTuple(_lanes, count.literal_value)

    def code(context, builder, signature, arguments):
        _, address, step = arguments
        values = []
        for _ in each:
            values.append(_load(builder, address))
            address = builder.add(address, step)
        return context.make_tuple(builder, each, values)

    return each(count, types.int64, types.int64), code


@intrinsic
def store_each(typing, each, address, step):
    def code(context, builder, signature, arguments):
        values, address, step = arguments
        for number in range(len(each)):
            _store(builder, builder.extract_value(values, number), address)
            address = builder.add(address, step)
        return context.get_dummy_value()

    return types.void(each, types.int64, types.int64), code


@intrinsic
def add_products(typing, each, factor, address, step):
    """Return the tuple of each[i] + factor * (the sixteen numbers at address + i * step)."""

    def code(context, builder, signature, arguments):
        values, factor, address, step = arguments
        sums = []
        for number in range(len(each)):
            product = builder.fmul(factor, _load(builder, address), flags=_fused)
            sums.append(builder.fadd(builder.extract_value(values, number), product, flags=_fused))
            address = builder.add(address, step)
        return context.make_tuple(builder, each, sums)

    return each(each, _lanes, types.int64, types.int64), code

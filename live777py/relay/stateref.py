"""How compiled code sees the state: one pointer to the descriptors of its arrays.

A tuple of arrays would be passed by value, some 400 machine words at every call. Here Python
writes the descriptors once, into memory of its own, and compiled code reads of them what it
uses. The source of a function does not differ: it says `state.viewers[i]` in either case.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .cfuncs import COMPILED, numba_part

_WORD = 8


class Referenced:
    """A frozen dataclass whose fields are arrays or named tuples of arrays.

    Compiled code takes it by reference; as plain Python it is what it is. Several objects may
    share arrays. An array must not be resized, and the object must outlive its use: it holds
    the arrays, but the loop holds no reference.
    """

    def __post_init__(self) -> None:
        if COMPILED:
            fields = dataclasses.fields(self)  # type: ignore[arg-type]
            members = {field.name: getattr(self, field.name) for field in fields}
            words = np.array(_descriptors(members), np.int64)
            # Frozen: what numba asks for is set past the guard, and never again.
            object.__setattr__(self, "_descriptors", words)
            object.__setattr__(self, "_address", words.ctypes.data)
            kind = _reference_to(type(self).__name__, members)
            object.__setattr__(self, "_numba_type_", kind)

    def _replace(self, **changes: Any) -> Self:
        """As a named tuple's: another one, with other arrays in some fields."""
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]


def _members(value: Any) -> Mapping[str, Any] | None:
    """The parts of a named tuple, None of an array."""
    return None if isinstance(value, np.ndarray) else value._asdict()


def _descriptors(members: Mapping[str, Any]) -> list[int]:
    """Each array as numba describes it, one behind the other, parts of parts in their place."""
    words: list[int] = []
    for value in members.values():
        parts = _members(value)
        if parts is None:
            words += _descriptor(value)
        else:
            words += _descriptors(parts)
    return words


def _descriptor(array: NDArray[Any]) -> list[int]:
    """Where an array is, and its shape; it is contiguous, so that its strides follow."""
    if not array.flags.c_contiguous:
        raise ValueError("an array of the state is not contiguous")
    return [array.ctypes.data, *array.shape]


if COMPILED:
    _numba = numba_part("numba")
    _types = numba_part("numba.core.types")
    _models = numba_part("numba.core.datamodel.models")
    _extending = numba_part("numba.extending")
    _templates = numba_part("numba.core.typing.templates")
    _imputils = numba_part("numba.core.imputils")
    _cgutils = numba_part("numba.core.cgutils")
    _ir = numba_part("llvmlite.ir")
    _I64 = _ir.IntType(64)

    class Reference(_types.Type):  # type: ignore[misc, name-defined]
        """A pointer to descriptors: of arrays, and of more of such records.

        Its name stands for all that it is in the keys of caches and in symbols: it is short,
        where the types of all columns would be some 10,000 characters.
        """

        def __init__(self, name: str, members: tuple[tuple[str, Any], ...]) -> None:
            self.members = dict(members)
            digest = hashlib.sha256(repr(members).encode()).hexdigest()[:16]
            super().__init__(f"{name}_{digest}")

        @property
        def words(self) -> int:
            """How long the record is."""
            return sum(_words(member) for member in self.members.values())

        def offset(self, name: str) -> int:
            """Where in the record a member begins, in bytes."""
            words = 0
            for known, member in self.members.items():
                if known == name:
                    break
                words += _words(member)
            return words * _WORD

    def _words(member: Any) -> int:
        if isinstance(member, Reference):
            return member.words
        return int(1 + member.ndim)

    def _reference_to(name: str, members: Mapping[str, Any]) -> Any:
        known = []
        for member, value in members.items():
            parts = _members(value)
            if parts is None:
                known.append((member, _numba.typeof(value)))
            else:
                known.append((member, _reference_to(type(value).__name__, parts)))
        return Reference(name, tuple(known))

    @_extending.register_model(Reference)
    class _ReferenceModel(_models.PrimitiveModel):  # type: ignore[misc, name-defined]
        def __init__(self, manager: Any, kind: Any) -> None:
            super().__init__(manager, kind, _ir.IntType(8).as_pointer())

    @_extending.unbox(Reference)  # type: ignore[untyped-decorator]
    def _unbox(kind: Any, value: Any, c: Any) -> Any:
        address = c.pyapi.object_getattr_string(value, "_address")
        pointer = c.pyapi.long_as_voidptr(address)
        c.pyapi.decref(address)
        is_error = _cgutils.is_not_null(c.builder, c.pyapi.err_occurred())
        return _extending.NativeValue(pointer, is_error=is_error)

    @_templates.infer_getattr
    class _ReferenceAttributes(_templates.AttributeTemplate):  # type: ignore[misc, name-defined]
        key = Reference

        def generic_resolve(self, kind: Any, name: str) -> Any:
            return kind.members.get(name)

    @_imputils.lower_getattr_generic(Reference)  # type: ignore[untyped-decorator]
    def _get_member(
        context: Any, builder: Any, kind: Any, value: Any, name: str
    ) -> Any:
        member = kind.members[name]
        at = builder.gep(value, [_I64(kind.offset(name))])
        return (
            at
            if isinstance(member, Reference)
            else _array(context, builder, member, at)
        )

    def _array(context: Any, builder: Any, kind: Any, at: Any) -> Any:
        """The array whose descriptor is at `at`, as numba has arrays."""
        constant = builder.module.add_metadata([])

        def load(index: int, what: Any) -> Any:
            place = builder.gep(at, [_I64(index * _WORD)])
            loaded = builder.load(builder.bitcast(place, what.as_pointer()))
            # Nothing ever writes there: loops need not read it again.
            loaded.set_metadata("invariant.load", constant)
            return loaded

        model = context.data_model_manager[kind]
        item = context.get_abi_sizeof(context.get_data_type(kind.dtype))
        pointer = model.get_member_fe_type("data")
        lengths = [load(1 + axis, _I64) for axis in range(kind.ndim)]
        strides = [_I64(item)]
        count = lengths[-1]
        for length in reversed(lengths[:-1]):
            strides.insert(0, builder.mul(count, _I64(item), flags=["nsw"]))
            count = builder.mul(count, length, flags=["nsw"])
        parts = {
            "meminfo": None,
            "parent": None,
            "nitems": count,
            "itemsize": _I64(item),
            "data": load(0, context.get_value_type(pointer)),
            "shape": _cgutils.pack_array(builder, lengths),
            "strides": _cgutils.pack_array(builder, strides),
        }
        array = _ir.Constant(model.get_value_type(), _ir.Undefined)
        for name, part in parts.items():
            index = model.get_field_position(name)
            if part is None:
                part = _ir.Constant(array.type.elements[index], None)
            array = builder.insert_value(array, part, index)
        return array

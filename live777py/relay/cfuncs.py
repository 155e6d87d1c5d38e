"""Calls below Python: libc and libsrtp by address, atomics, and the `compiled` decorator.

With numba the functions of this package become machine code that holds no GIL. Without it
(not installed, or `NUMBA_DISABLE_JIT=1`) the same functions run as plain Python and the names
here are ctypes functions. Pointers are signed 64-bit integers throughout: numba makes a float
of the sum of a signed and an unsigned one.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from pylibsrtp._binding import ffi, lib

from . import cache

F = TypeVar("F", bound=Callable[..., Any])

#: To a signed 64-bit integer, which all arithmetic of the data plane is made of.
int64 = cast("Callable[[Any], int]", np.int64)


def _wants_compiler() -> bool:
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return False
    return importlib.util.find_spec("numba") is not None


#: Whether the functions of this package are machine code in this process.
COMPILED = _wants_compiler()

_libc = ctypes.CDLL(None, use_errno=True)

#: name: (library, result, arguments), where "i" is a C int and "l" a pointer or a long.
_SIGNATURES = {
    "srtp_protect": ("srtp", "i", "lll"),
    "srtp_unprotect": ("srtp", "i", "lll"),
    "recvmmsg": ("libc", "i", "iliil"),
    "sendmmsg": ("libc", "i", "ilii"),
    "poll": ("libc", "i", "lli"),
    "epoll_ctl": ("libc", "i", "iiil"),
    "epoll_wait": ("libc", "i", "ilii"),
    "read": ("libc", "l", "ill"),
    "write": ("libc", "l", "ill"),
    "memcpy": ("libc", "l", "lll"),
    "memmove": ("libc", "l", "lll"),
    "clock_gettime": ("libc", "i", "il"),
    "nanosleep": ("libc", "i", "ll"),
}


def _address(library: str, name: str) -> int:
    if library == "srtp":
        return int(ffi.cast("uintptr_t", ffi.addressof(lib, name)))
    address = ctypes.cast(getattr(_libc, name), ctypes.c_void_p).value
    if address is None:
        raise OSError(f"the C library has no {name}")
    return address


def _interpreted(name: str) -> Callable[..., int]:
    """A ctypes function that accepts numpy's integers; it releases the GIL while it runs."""
    library, result, arguments = _SIGNATURES[name]
    types = {"i": ctypes.c_int32, "l": ctypes.c_int64}
    prototype = ctypes.CFUNCTYPE(
        types[result], *(types[a] for a in arguments), use_errno=True
    )
    function = prototype(_address(library, name))

    def call(*values: int) -> int:
        return int(function(*(int(value) for value in values)))

    return call


def numba_part(module: str) -> Any:
    """A module of numba or llvmlite, None where nothing is compiled."""
    return importlib.import_module(module) if COMPILED else None


# Neither package has types, and neither is imported where it is not used.
numba = numba_part("numba")
_types = numba_part("numba.core.types")
_extending = numba_part("numba.extending")
_binding = numba_part("llvmlite.binding")
_ir = numba_part("llvmlite.ir")

_cache_directory = cache.directory() if COMPILED else None
if _cache_directory is not None:
    # Read by numba when a function is decorated; nothing else here uses numba.
    numba.config.CACHE_DIR = str(_cache_directory)

_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "cache": _cache_directory is not None,
    "error_model": "numpy",
    # No reference counting: nothing is allocated, and Python holds the tables.
    "_nrt": False,
    # Nobody calls these functions from C.
    "no_cfunc_wrapper": True,
}


def _decorated(function: F, **options: bool) -> F:
    # Imports numba, which only exists where there is a compiler.
    from .linking import Compiled

    return cast("F", Compiled(function, **_OPTIONS, **options))


def compiled(function: F) -> F:
    """Compile `function` where numba is there; leave it alone where it is not."""
    return _decorated(function) if COMPILED else function


def inlined(function: F) -> F:
    """As `compiled`, and always inlined: for what runs once a packet or more often."""
    return _decorated(function, forceinline=True) if COMPILED else function


def _function(name: str) -> Callable[..., int]:
    """One function of `_SIGNATURES`, callable from compiled and from plain code alike."""
    if not COMPILED:
        return _interpreted(name)
    library, result, arguments = _SIGNATURES[name]
    # Compiled code refers to the symbol by name, so that it can be cached.
    symbol = f"live777py_{name}"
    _binding.add_symbol(symbol, _address(library, name))
    types = {"i": _types.int32, "l": _types.int64}
    signature = types[result](*(types[a] for a in arguments))
    external: Callable[..., int] = _types.ExternalFunction(symbol, signature)
    return external


srtp_protect: Callable[[int, int, int], int] = _function("srtp_protect")
srtp_unprotect: Callable[[int, int, int], int] = _function("srtp_unprotect")
recvmmsg: Callable[[int, int, int, int, int], int] = _function("recvmmsg")
sendmmsg: Callable[[int, int, int, int], int] = _function("sendmmsg")
poll: Callable[[int, int, int], int] = _function("poll")
epoll_ctl: Callable[[int, int, int, int], int] = _function("epoll_ctl")
epoll_wait: Callable[[int, int, int, int], int] = _function("epoll_wait")
read: Callable[[int, int, int], int] = _function("read")
write: Callable[[int, int, int], int] = _function("write")
memcpy: Callable[[int, int, int], int] = _function("memcpy")
memmove: Callable[[int, int, int], int] = _function("memmove")
clock_gettime: Callable[[int, int], int] = _function("clock_gettime")
nanosleep: Callable[[int, int], int] = _function("nanosleep")

load_acquire: Callable[[int], int]
fence: Callable[[], None]
store_release: Callable[[int, int], int]
errno: Callable[[], int]

if COMPILED:
    _I64 = _ir.IntType(64)
    _binding.add_symbol(
        "live777py_errno",
        # glibc and musl agree on this name; errno itself is a macro.
        _address("libc", "__errno_location"),
    )
    _errno_location = _types.ExternalFunction("live777py_errno", _types.int64())

    def _load_acquire(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            pointer = builder.inttoptr(values[0], _I64.as_pointer())
            return builder.load_atomic(pointer, "acquire", 8)

        return _types.int64(_types.int64), generate

    def _store_release(typing_context: Any, address: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            pointer = builder.inttoptr(values[0], _I64.as_pointer())
            builder.store_atomic(values[1], pointer, "release", 8)
            return values[1]

        return _types.int64(_types.int64, _types.int64), generate

    def _load_int(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            pointer = builder.inttoptr(values[0], _ir.IntType(32).as_pointer())
            return builder.load(pointer)

        return _types.int32(_types.int64), generate

    def _fence(typing_context: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            builder.fence("acq_rel")
            return context.get_dummy_value()

        return _types.void(), generate

    fence = _extending.intrinsic(_fence)
    load_acquire = _extending.intrinsic(_load_acquire)
    store_release = _extending.intrinsic(_store_release)
    _load_c_int = _extending.intrinsic(_load_int)

    @compiled
    def errno() -> int:
        """The error of the latest C call of this thread."""
        return int64(_load_c_int(_errno_location()))

else:

    def load_acquire(address: int) -> int:
        """Read a shared word; what was written before it was stored is visible after."""
        return ctypes.c_int64.from_address(int(address)).value

    def store_release(address: int, value: int) -> int:
        """Write a shared word after everything written before."""
        ctypes.c_int64.from_address(int(address)).value = int(value)
        return value

    def fence() -> None:
        """Keep what is read and written before apart from what is after."""

    def errno() -> int:
        """The error of the latest C call of this thread."""
        return ctypes.get_errno()


@inlined
def address_of(array: NDArray[Any]) -> int:
    """Where an array's first byte lies."""
    return int64(array.ctypes.data)


@compiled
def peek(address: int) -> int:
    """`load_acquire` for callers in plain Python."""
    return load_acquire(address)


@compiled
def publish(address: int, value: int) -> None:
    """`store_release` for callers in plain Python."""
    store_release(address, value)

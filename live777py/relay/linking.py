"""How the functions of the data plane become one program: imported only with numba.

numba optimises each function with all that it calls, and makes machine code of it, before its
callers do the same with it in them again. Here a function that compiled code calls is left as
it is when numba has written it down; only what Python calls is linked, optimised and made into
machine code, once and as a whole.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

_numba = importlib.import_module("numba")
_codegen = importlib.import_module("numba.core.codegen")
_compiler = importlib.import_module("numba.core.compiler")
_environment = importlib.import_module("numba.core.environment")
_types = importlib.import_module("numba.core.types")
_binding = importlib.import_module("llvmlite.binding")

#: The prefix of numba's global variables that Python's side of a function is kept in.
_ENVIRONMENT = "_ZN08NumbaEnv"


class _Part(_codegen.JITCodeLibrary):  # type: ignore[misc, name-defined]
    """A function that is not machine code but waits to be linked into a whole."""

    def finalize(self) -> None:
        """Leave everything to the whole."""
        self._raise_if_finalized()
        self._finalized = True

    @property
    def linked(self) -> list[Any]:
        """What the function calls."""
        return list(self._linking_libraries)

    def get_pointer_to_function(self, name: str) -> int:
        """An address for numba's books. Nobody calls it; if so, the process ends."""
        return int(_binding.address_of_symbol("abort"))

    @property
    def codegen(self) -> Any:
        """The code generator, for which this function has no environment to be set."""
        return _Bookkeeper(self._codegen)


class _Bookkeeper:
    def __init__(self, codegen: Any) -> None:
        self._codegen = codegen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codegen, name)

    def set_env(self, name: str, environment: Any) -> None:
        """Not yet: there is no variable to be set."""


class _Whole(_codegen.JITCodeLibrary):  # type: ignore[misc, name-defined]
    """A function with all that it calls."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._known: set[Any] = set()

    def add_linking_library(self, library: Any) -> None:
        """Link what is called, and what that calls."""
        if library in self._known:
            return
        self._known.add(library)
        super().add_linking_library(library)
        if isinstance(library, _Part):
            for called in library.linked:
                self.add_linking_library(called)

    def _optimize_final_module(self) -> None:
        # numba optimises twice, for the sake of reference counting, which is off.
        passes, builder = self._codegen._module_pass_manager()
        passes.run(self._final_module, builder)

    def _finalize_specific(self) -> None:
        super()._finalize_specific()
        for variable in self._final_module.global_variables:
            if variable.name.startswith(_ENVIRONMENT):
                environment = _environment.lookup_environment(variable.name)
                if environment is not None and not variable.is_declaration:
                    self._codegen.set_env(variable.name, environment)


def _pipeline(library: Any) -> Any:
    class Pipeline(_compiler.Compiler):  # type: ignore[misc, name-defined]
        def define_pipelines(self) -> Any:
            generator = self.state.targetctx.codegen()
            self.state.library = library(generator, self.state.func_id.func_qualname)
            self.state.library.enable_object_caching()
            return super().define_pipelines()

    return Pipeline


_PART = _pipeline(_Part)
_WHOLE = _pipeline(_Whole)


def _widened(argument: Any) -> Any:
    """The type of an argument, with every integer as an int64."""
    argument = _types.unliteral(argument)
    is_integer = isinstance(argument, _types.Integer)
    return _types.int64 if is_integer else argument


class Compiled:
    """A compiled function: a part of a whole to compiled code, a whole to Python."""

    def __init__(
        self, function: Callable[..., Any], *, cache: bool, **options: Any
    ) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._cache = cache
        self._options = options

    # Both are made when they are asked for: most functions are never called from Python, and
    # none is compiled where the cache has what is.

    @functools.cached_property
    def _whole(self) -> Any:
        return _numba.njit(cache=self._cache, pipeline_class=_WHOLE, **self._options)(
            self._function
        )

    @functools.cached_property
    def _part(self) -> Any:
        part = _numba.njit(
            pipeline_class=_PART, no_cpython_wrapper=True, **self._options
        )(self._function)
        resolve = part.get_call_template

        def get_call_template(arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
            # numba would compile a function anew for each constant that it is called with.
            widened = {name: _widened(argument) for name, argument in named.items()}
            return resolve(tuple(_widened(argument) for argument in arguments), widened)

        part.get_call_template = get_call_template
        return part

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """The function, for Python."""
        return self._whole(*arguments, **named)

    @property
    def _numba_type_(self) -> Any:
        """What compiled code takes this for."""
        return self._part._numba_type_

    @property
    def signatures(self) -> list[Any]:
        """What it was compiled for to be a part."""
        return list(self._part.signatures)

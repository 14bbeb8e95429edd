"""What reaches a person from a public function: errors of ours, whatever went wrong inside."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from .errors import ArgumentError, CaffeError, as_caffe_error, is_out_of_memory

F = TypeVar("F", bound=Callable[..., Any])


@contextmanager
def memory_told() -> Iterator[None]:
    """Raise an `OutOfMemoryError` where something inside does not get the memory it needs."""
    try:
        yield
    except Exception as error:
        if isinstance(error, CaffeError) or not is_out_of_memory(error):
            raise
        raise as_caffe_error(error) from error


def guarded(function: F) -> F:
    """Let a function say in our words that an argument is of a wrong type, or memory too small.

    Its own checks come first, as they know more. What they do not find, and what then fails inside
    as only a wrong type does, is an `ArgumentError` that names the arguments given and their types.
    Not for functions that run other people's code.
    """

    @functools.wraps(function)
    def at_the_door(*arguments: Any, **named: Any) -> Any:
        try:
            return function(*arguments, **named)
        except CaffeError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise as_caffe_error(error, function.__qualname__) from error
            if not (isinstance(error, (TypeError, AttributeError)) or _is_of_type(error)):
                raise
            told = _given(function, arguments, named)
            if told is None:
                # Not even called as it says: Python's own words name the argument.
                raise ArgumentError(str(error)) from error
            text = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ArgumentError(
                f"{function.__qualname__} does not take what it was given ({told}): {text}"
            ) from error

    return at_the_door  # type: ignore[return-value]


def _given(
    function: Callable[..., Any], arguments: tuple[Any, ...], named: dict[str, Any]
) -> str | None:
    """Return the arguments' names and types; None where they are not the function's at all."""
    try:
        bound = inspect.signature(function).bind(*arguments, **named).arguments
    except TypeError:
        return None
    shown = [
        f"{name}: {type(value).__name__}"
        for name, value in bound.items()
        if name not in ("self", "cls")
    ]
    return ", ".join(shown) or "nothing"


def _is_of_type(error: Exception) -> bool:
    """Whether a ValueError is one that a value of another type would not have met."""
    words = ("truth value of an array", "could not convert", "invalid literal", "to unpack")
    return isinstance(error, ValueError) and any(word in str(error) for word in words)

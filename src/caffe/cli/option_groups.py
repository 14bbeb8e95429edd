"""Options that several commands have, written down once: the fields of a dataclass."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from functools import wraps
from typing import Any, get_type_hints


def takes_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command have the options that the fields of its parameters' dataclasses are.

    A parameter whose type is such a dataclass gives its place to the options, and is given an
    instance that holds what was said.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Computing:
    ...     gpu: int | None = None
    >>> @takes_groups
    ... def look(picture: str, *, how: Computing) -> None: ...
    >>> list(inspect.signature(look).parameters)
    ['picture', 'gpu']
    """
    signature = inspect.signature(command)
    kinds = get_type_hints(command, include_extras=True)
    groups = {name: kinds[name] for name in signature.parameters if is_dataclass(kinds[name])}

    @wraps(command)
    def run(**said: Any) -> None:
        for name, kind in groups.items():
            said[name] = kind(**{field.name: said.pop(field.name) for field in fields(kind)})
        command(**said)

    options = [
        option
        for parameter in signature.parameters.values()
        for option in _options_of(parameter.replace(annotation=kinds[parameter.name]))
    ]
    vars(run)["__signature__"] = signature.replace(parameters=options)
    run.__annotations__ = {option.name: option.annotation for option in options}
    return run


def _options_of(parameter: inspect.Parameter) -> Iterator[inspect.Parameter]:
    # By their names, so that one with a default may stand before one without.
    by_name = inspect.Parameter.KEYWORD_ONLY
    if not is_dataclass(parameter.annotation):
        yield parameter.replace(kind=by_name)
        return
    kinds = get_type_hints(parameter.annotation, include_extras=True)
    for field in fields(parameter.annotation):
        yield inspect.Parameter(
            field.name, by_name, default=field.default, annotation=kinds[field.name]
        )

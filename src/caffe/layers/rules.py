"""Rules by layer: what an engine makes of a layer, and in which cases; one rule for each.

A rule stands beside the layer that it is about (or in the engine, where it is one of its
operations). It holds for the layer as it computes: for a subclass that computes otherwise there
is no rule, until somebody writes one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from ..errors import NetError
from .layer import Layer

Rule = TypeVar("Rule", bound=Callable[..., Any])
Condition = Callable[..., str | None]
"""Says why a rule does not apply to a layer as it is set up; None where it does."""


class Rules(Generic[Rule]):
    """Functions by the class of layer that they were written for.

    Parameters
    ----------
    what : str
        What a rule gives, for messages: "no `what` is known for ...".

    Examples
    --------
    >>> from caffe.layers.activation import ReLU
    >>> signs = Rules("sign")
    >>> @signs.rule(ReLU, unless=lambda layer: "leaky" if layer.param.negative_slope else None)
    ... def _relu(layer):
    ...     return 1
    >>> [kind.__name__ for kind in signs.kinds()]
    ['ReLU']
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._rules: dict[type[Layer], tuple[Rule, Condition | None]] = {}

    def rule(self, *kinds: type[Layer], unless: Condition | None = None) -> Callable[[Rule], Rule]:
        """Make a function the rule for layers of these classes, and of those that compute alike.

        Parameters
        ----------
        *kinds : subclass of Layer
            Which.
        unless : callable, optional
            Given the layer and what `find` is given: why the rule does not apply; None if it does.

        Raises
        ------
        ValueError
            One of the classes has a rule.
        """

        def enter(function: Rule) -> Rule:
            for kind in kinds:
                key = kind.computes_as
                if key in self._rules:
                    raise ValueError(f"there is a {self._what} for {kind.__name__} already")
                self._rules[key] = function, unless
            return function

        return enter

    def refusal(self, layer: Layer, *facts: Any) -> str | None:
        """Say why there is no rule for a layer as it is set up; None where there is one.

        Parameters
        ----------
        layer : Layer
            Set up.
        *facts : object
            What the conditions of these rules are given besides.
        """
        if layer.is_patched:
            return f"{layer.type}'s forward has been replaced"
        if type(layer).computes_as not in self._rules:
            return f"no {self._what} is known for {layer.type}"
        condition = self._rules[type(layer).computes_as][1]
        return None if condition is None else condition(layer, *facts)

    def find(self, layer: Layer, *facts: Any) -> Rule | None:
        """Return the rule for a layer as it is set up; None where there is none."""
        if self.refusal(layer, *facts) is not None:
            return None
        return self._rules[type(layer).computes_as][0]

    def get(self, layer: Layer, *facts: Any) -> Rule:
        """Return the rule for a layer as it is set up.

        Raises
        ------
        NetError
            There is none; the text names the layer, its type and the reason.
        """
        reason = self.refusal(layer, *facts)
        if reason is not None:
            raise NetError(f"layer '{layer.name}' ({layer.type}): {reason}", word=layer.name)
        return self._rules[type(layer).computes_as][0]

    def kinds(self) -> list[type[Layer]]:
        """Return the classes that have a rule."""
        return list(self._rules)

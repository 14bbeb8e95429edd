"""What a layer's class may promise of its forward, and what a subclass may change beside it."""

from __future__ import annotations

PROMISES = frozenset(
    {"fresh_tops", "takes_short_numbers", "asks_no_values", "shares", "is_affine", "activation"}
    | {"passes_on", "is_given", "takes_scale", "trains_unseen"}
)
"""What holds of one forward and not of another."""

OWN_PROMISES = frozenset({"is_pure", "repeats", "stays_finite", "takes_any_strides"})
"""What Recaffe's own layers hold unless they say otherwise, and other people's if they say so."""

BESIDE_COMPUTING = (
    PROMISES
    | OWN_PROMISES
    | frozenset(
        {"adjust_trained", "alignment", "assumes_shapes", "automatic_tops", "backward", "bottoms"}
        | {"again", "backward_uses_record", "forward_in_training", "record", "backward_through"}
        | {"computes_as", "coordinates", "declared_shapes", "default_loss_weight", "differences"}
        | {"equal_tops", "face", "family", "for_param", "forbids_in_place", "further_messages"}
        | {"has_gradient", "ignores_propagate_down", "keeps_bottom", "members", "message"}
        | {"methods", "multiply_adds", "no_gradient_for", "passes_errors_on", "pointwise"}
        | {"rearranges", "receptive_field", "restore", "state", "statistics", "takes_scores"}
        | {"tops", "wants_record", "changes_with"}
    )
)
"""What a subclass may change and still compute as its base does."""


def is_ours(kind: type) -> bool:
    """Whether a class is one of this package's."""
    return kind.__module__.startswith(f"{__package__}.")

"""The prepared plan: how the layers of a net run when nobody needs their gradients."""

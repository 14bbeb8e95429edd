"""Layers that find objects: boxes, priors, proposals, outputs and losses."""

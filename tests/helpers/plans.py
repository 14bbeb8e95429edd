"""Looking into what the engine has prepared for a net."""

from __future__ import annotations

import caffe
from caffe.engine.backends.choice import Choice
from caffe.engine.plan.plan import Plan


def plan_of(net: caffe.Net) -> Plan:
    """The only plan that a net has after a forward."""
    (plan,) = net._runner.plans
    return plan


def choices_of(net: caffe.Net) -> list[Choice]:
    """What is tried out for those of the plan's stretches that something else could run."""
    return [s.choice for s in plan_of(net)._stretches if s.choice is not None]

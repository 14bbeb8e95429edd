"""Old forms of nets and solvers made today's, as Caffe does when it reads them."""

from __future__ import annotations

from ..errors import ParseError
from . import caffe_pb2, old_forms, upgrade_v0, upgrade_v1
from .old_forms import upgrading

_SOLVER_TYPES = {
    "SGD": "SGD",
    "NESTEROV": "Nesterov",
    "ADAGRAD": "AdaGrad",
    "RMSPROP": "RMSProp",
    "ADADELTA": "AdaDelta",
    "ADAM": "Adam",
}


def upgrade_net(net: caffe_pb2.NetParameter, source: str | None = None) -> caffe_pb2.NetParameter:
    """The net in today's form; the one given stays as it is.

    V0 layers become V1, transformation settings of V1 data layers move to transform_param, V1
    layers become V2, ``input`` fields become one Input layer named "input" at the front, and
    BatchNorm layers that set three learning rates get zeros there. Blobs come along.

    Parameters
    ----------
    net : NetParameter
        A net of any age.
    source : str, optional
        The file's name, for the errors.

    Raises
    ------
    ParseError
        The net mixes forms, has a layer type that its form does not know, or fewer
        ``input_dim`` or ``input_shape`` than its inputs need.
    """
    upgraded = caffe_pb2.NetParameter()
    upgraded.CopyFrom(net)
    upgrade_net_in_place(upgraded, source)
    return upgraded


def upgrade_net_in_place(net: caffe_pb2.NetParameter, source: str | None = None) -> None:
    """`upgrade_net` without the copy, for a message that nobody else holds."""
    if upgrade_v0.needs_upgrade(net):
        with upgrading(old_forms.V0, source):
            upgrade_v0.upgrade(net, source)
    if upgrade_v1.needs_data_upgrade(net):
        with upgrading(old_forms.TRANSFORMATIONS, source):
            upgrade_v1.upgrade_data(net)
    if net.layers:
        with upgrading(old_forms.V1, source):
            upgrade_v1.upgrade(net, source)
    if net.input:
        with upgrading(old_forms.INPUTS, source):
            _upgrade_input(net, source)
    norms = _batch_norms_of_old(net)
    if norms:
        with upgrading(old_forms.BATCH_NORMS, source):
            for spec in (spec for layer in norms for spec in layer.param):
                spec.lr_mult = 0
                spec.decay_mult = 0


def upgrade_solver(
    solver: caffe_pb2.SolverParameter, source: str | None = None
) -> caffe_pb2.SolverParameter:
    """The solver with its ``solver_type`` said as ``type``; the one given stays as it is.

    Raises
    ------
    ParseError
        Both fields are given.
    """
    upgraded = caffe_pb2.SolverParameter()
    upgraded.CopyFrom(solver)
    if solver.HasField("solver_type"):
        if solver.HasField("type"):
            raise ParseError("both solver_type (old form) and type are given; keep type", source)
        with upgrading(old_forms.SOLVER_TYPE, source):
            upgraded.type = _SOLVER_TYPES[solver.SolverType.Name(solver.solver_type)]
            upgraded.ClearField("solver_type")
    return upgraded


def _upgrade_input(net: caffe_pb2.NetParameter, source: str | None) -> None:
    count = len(net.input)
    # Without extents it is an old .caffemodel, whose inputs carry nothing.
    if net.input_shape or net.input_dim:
        layer = caffe_pb2.LayerParameter(name="input", type="Input", top=net.input)
        shapes = layer.input_param.shape
        if net.input_shape:
            shapes.extend(net.input_shape[:count])
        else:
            # C3D has an axis of time.
            axes = 5 if len(net.input_dim) == 5 * count else 4
            for at in range(0, min(axes * count, len(net.input_dim)), axes):
                shapes.add(dim=net.input_dim[at : at + axes])
        if len(shapes) < count or (shapes and not net.input_shape and len(shapes[-1].dim) < 4):
            raise ParseError(
                f"the net's {count} inputs ({', '.join(net.input)}) need one input_shape or four "
                f"input_dim each; there are {len(net.input_shape)} input_shape and "
                f"{len(net.input_dim)} input_dim",
                source,
            )
        layers = [layer, *net.layer]
        net.ClearField("layer")
        net.layer.extend(layers)
    for field in ("input", "input_shape", "input_dim"):
        net.ClearField(field)


def _batch_norms_of_old(net: caffe_pb2.NetParameter) -> list[caffe_pb2.LayerParameter]:
    return [layer for layer in net.layer if layer.type == "BatchNorm" and len(layer.param) == 3]

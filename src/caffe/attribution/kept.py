"""A forward pass that is kept: what every layer left, and Grad-CAM from there."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from ..errors import CaffeError
from ..net.batch import set_batch
from ..net.beside import build_beside
from ..net.net import Net
from ..pytorch import torch
from .apart import (
    ancestors,
    checked_index,
    find_score,
    finite_score,
    is_spatial,
    picture_input,
    scores_of,
    seed_gradient,
)
from .gradients import Map, weighed


class KeptForward:
    """A net built beside another, in which one picture's forward stays whole.

    Layers that run in place have tops of their own here, so that each layer's result is there
    until the next picture. The person's net keeps its blobs and its plan.

    Parameters
    ----------
    net : Net
        The person's; parameters are shared with it.

    Attributes
    ----------
    net : Net
        The one beside it, for one picture.
    """

    def __init__(self, net: Net) -> None:
        self._original = net
        self._body: tuple[Net, list[str]] | None = None
        self.net = build_beside(net, gradients=True)
        set_batch([self.net.blobs[name] for name in self.net.inputs], 1)
        self.net.reshape()
        self._numbers = {name: i for i, name in enumerate(self.net._layer_names)}

    @cached_property
    def _way(self) -> tuple[str, int, list[int]]:
        """The score's blob, the layer that leaves it, and those that it comes from.

        Only gradients ask for it: a net without an output can be looked into all the same.
        """
        name, last = find_score(self._original, None)
        steps = self.net.inside.steps
        return name, last, [i for i in ancestors(self._original, name, last) if steps[i].bottoms]

    def run(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Run forward; return what each layer left in its first top.

        Parameters
        ----------
        inputs : mapping of str to torch.Tensor
            The inputs' values; another shape than before gives the net that shape. They are not
            copied.

        Returns
        -------
        dict of str to torch.Tensor
            By the layers' names. They are to be read only, and stay as they are when the next
            picture comes.
        """
        blobs = self.net.blobs
        before = [blobs[name].shape for name in inputs]
        for name, values in inputs.items():
            blobs[name].put_data(values)
        if before != [blobs[name].shape for name in inputs]:
            self.net.reshape()
        # With gradients each layer runs by itself, and leaves all that it makes.
        self.net._forward(0, len(self.net.layers) - 1)
        steps = self.net.inside.steps
        return {
            name: steps[i].tops[0].data_tensor().clone()
            if steps[i].layer.on_blobs
            else steps[i].tops[0].data_tensor()
            for name, i in self._numbers.items()
            if len(steps[i].tops)
        }

    def grad_cam(self, class_index: int, layer: str | None = None) -> tuple[str, Map]:
        """Return where a layer's maps speak for a class in the picture that ran last.

        Parameters
        ----------
        class_index : int
            The class, counted from 0.
        layer : str, optional
            Whose maps, as it left them; the last ones with height and width by default.

        Returns
        -------
        (str, numpy.ndarray)
            The layer, and a map as that of `grad_cam_map`.

        Raises
        ------
        CaffeError
            As for `grad_cam_map`.
        """
        picture = self.net.blobs[picture_input(self.net)]
        steps = self.net.inside.steps
        name, last, kept = self._way
        score = steps[last].tops[0]
        index = self._spatial(layer)
        found = scores_of(score.data, name, 1, class_index)[0]
        checked_index(class_index, score.shape[1] if len(score.shape) > 1 else 1, "class", name)
        finite_score(found, name)
        seed_gradient(score, 0, class_index)
        for number in reversed([i for i in kept if i > index]):
            self.net._backward(number, number)
        maps = steps[index].tops[0]
        return self.net._layer_names[index], weighed(maps.data[0], maps.diff[0], picture.shape[2:])

    def grad_cam_at_once(
        self, inputs: Mapping[str, torch.Tensor], class_index: int
    ) -> tuple[str, Map]:
        """Return Grad-CAM by the last maps of a picture that did not run yet.

        The layers up to these maps run by a plan, as in any forward, and only those behind them
        one by one. What `run` left is not there any more.

        Parameters
        ----------
        inputs : mapping of str to torch.Tensor
            As for `run`.
        class_index : int
            The class, counted from 0.

        Returns
        -------
        (str, numpy.ndarray)
            As from `grad_cam`.

        Raises
        ------
        CaffeError
            As for `grad_cam_map`.
        """
        index = self._spatial(None)
        if any(self.net.blobs[name].shape != tuple(x.shape) for name, x in inputs.items()):
            self.run(inputs)
            return self.grad_cam(class_index)
        body, handed_on = self._up_to(index)
        for name, values in inputs.items():
            if name in body.blobs:
                body.blobs[name].put_data(values)
        body.forward()
        for name in handed_on:
            self.net.blobs[name].put_data(body.blobs[name].data_tensor())
        for number in [i for i in self._way[2] if i > index]:
            self.net._forward(number, number)
        return self.grad_cam(class_index)

    def _up_to(self, index: int) -> tuple[Net, list[str]]:
        """A net of the layers up to one, and which blobs those behind it take from them."""
        if self._body is None:
            nodes = self.net.inside.graph.nodes
            ahead = {top for node in nodes[: index + 1] for top in node.tops}
            behind = {b for i in self._way[2] if i > index for b in nodes[i].bottoms}
            names = [self.net._blob_names[blob] for blob in sorted(ahead & behind)]
            needed = {i for name in names for i in ancestors(self.net, name, index)}
            body = build_beside(self.net, sorted(needed))
            set_batch([body.blobs[name] for name in body.inputs], 1)
            body.reshape()
            self._body = body, names
        return self._body

    def _spatial(self, layer: str | None) -> int:
        """The number of a layer whose maps the score comes from."""
        steps, (score, _, kept) = self.net.inside.steps, self._way
        spatial = [i for i in kept[:-1] if is_spatial(steps[i].tops[0].shape)]
        if layer is None:
            if not spatial:
                raise CaffeError("no blob before the score has a height and a width")
            return spatial[-1]
        if layer not in self._numbers:
            raise CaffeError(f"the net has no layer '{layer}'")
        number = self._numbers[layer]
        if number not in kept[:-1]:
            raise CaffeError(f"the score, '{score}', does not come from layer '{layer}'")
        if number not in spatial:
            near = f"; '{self.net._layer_names[spatial[-1]]}' is the last" if spatial else ""
            raise CaffeError(f"layer '{layer}' makes no maps with height and width{near}")
        return number

"""How a network's output is read as classes: probabilities, log-odds, and what is refused.

    several numbers                 a score for each class; a softmax makes probabilities of them
    a softmax or sigmoid at the     probabilities already. A sigmoid judges each class by itself, as
    end                             for images that show several: they need not add up to 1
    one number, (N, 1) or (N,)      the log-odds of class 1 against class 0, as the loss
                                    `BCEWithLogitsLoss` learns it from labels 0 and 1: class 1 has
                                    its sigmoid, class 0 the rest
    one number out of a sigmoid     the probability of class 1, class 0 has the rest

That is what the network's end says (task "auto"). What a graph cannot show is told with `Task`:

    multilabel                      each of several scores is the log-odds of its class by itself,
                                    as `BCEWithLogitsLoss` learns it: it has its sigmoid
    classify                        the first of these rows, as "auto"
    regress                         the numbers are values, and no probabilities are made of them

So a network of one number tells two classes, everywhere, and `target` 1 is the one that a large
number speaks for. Two class names are those of 0 and 1; a single name is that of class 1, and
class 0 is called "not NAME".

Refused by name: an output with places (`methods.targets` has its classes), values, a softmax over
one number (it is 1 for every image), and a part of a log-softmax (what was cut off is missing from
the sum).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convscope.errors import BadInput, BadOption
from convscope.network.from_export import INPUT
from convscope.network.graph import Graph
from convscope.network.task import Task

__all__ = ["Head", "class_names", "is_normalised"]

LEAST, MOST = torch.finfo(torch.float32).tiny, 1 - 2.0**-24
"""The probabilities nearest to 0 and 1 that float32 tells from them."""


@dataclass(frozen=True)
class Head:
    """What a network's output says of classes; the module's docstring has the rules.

    Attributes:
        outputs: Numbers that the network gives for an image.
        normalised: Whether they are probabilities already.
        separate: Whether each class is judged by itself, so that several may be there at once.
    """

    outputs: int
    normalised: bool
    separate: bool = False

    @classmethod
    def of(cls, network: Graph) -> Head:
        """Find out how the output of a network is to be read.

        Raises:
            BadInput: The network ends in something that is no score per class.
        """
        layer = network.layer(network.output)
        if network.task is Task.REGRESS:
            raise BadInput(
                f"the network's answer, {layer.name!r}, is read as values, not as classes: leave "
                "the task regress out, or open a network that classifies"
            )
        sizes = [size for size in layer.shape if size > 1]
        if layer.grid != (1, 1) or len(sizes) > 1:
            size = "x".join(map(str, layer.shape))
            raise BadInput(
                f"the network ends in {layer.name!r}, {size}, and not in a score per class: "
                "open a network that classifies; from Python, sweep(..., classify=False) does "
                "without classes"
            )
        separate = network.task is Task.MULTILABEL
        return cls(max([1, *sizes]), is_normalised(network), separate)

    @property
    def classes(self) -> int:
        """How many classes the user sees."""
        return max(2, self.outputs)

    @property
    def single(self) -> bool:
        """Whether one number tells two classes."""
        return self.outputs == 1

    def vectors(self, output: Tensor) -> Tensor:
        """The network's output for N images as a row of numbers for each.

        Shape: (N, ...), also (N,) -> (N, outputs).
        """
        return output.reshape(len(output), self.outputs)

    def probabilities(self, output: Tensor) -> Tensor:
        """The probability of each class.

        Shape: (..., outputs) -> (..., classes).
        """
        if not self.single:
            if self.normalised:
                return output
            return output.sigmoid() if self.separate else output.softmax(-1)
        if self.normalised:
            return torch.cat([1 - output, output], -1)
        return torch.cat([(-output).sigmoid(), output.sigmoid()], -1)

    def log_odds(self, output: Tensor, target: int) -> Tensor:
        """Compute log p/(1-p) of one class, from the scores where there are any.

        The log-odds still tell 0.99999999 from 0.9999. Where the network gives probabilities, they
        reach as far as float32 tells those from 0 and 1.

        Args:
            output: What the network gave.
            target: The number of the class, from 0.

        Shape:
            output: (..., outputs). The result: (...), float64.

        Raises:
            BadOption: There is no such class.
        """
        self.check(target)
        output = output.double()
        if self.single:
            odds = _logit(output[..., 0]) if self.normalised else output[..., 0]
            return odds if target == 1 else -odds
        if self.normalised:
            return _logit(output[..., target])
        if self.separate:
            return output[..., target]
        others = torch.cat([output[..., :target], output[..., target + 1 :]], -1)
        return output[..., target] - others.logsumexp(-1)

    def labels(self, output: Tensor) -> Tensor:
        """The most probable class; the lowest index of equals.

        Shape: (..., outputs) -> (...), int64.
        """
        if self.single:
            return (output[..., 0] > (0.5 if self.normalised else 0.0)).long()
        return output.argmax(-1)

    def check(self, target: int) -> int:
        """Return the class, if the network has it.

        Args:
            target: The number of a class, from 0.

        Raises:
            BadOption: There is no such class.
        """
        if not 0 <= target < self.classes:
            raise BadOption(f"target {target}: the network has classes 0 to {self.classes - 1}")
        return target

    def names(self, given: Sequence[str]) -> tuple[str, ...]:
        """Give every class a name.

        Args:
            given: A name for each class. For a network of one number, the name of class 1 will do.

        Raises:
            BadOption: There are more or fewer names than classes.

        Example:
            >>> Head(outputs=1, normalised=False).names(["cat"])
            ('not cat', 'cat')
        """
        if self.single and len(given) == 1:
            return f"not {given[0]}", given[0]
        if len(given) != self.classes:
            raise BadOption(
                f"{len(given)} class names, but the network tells {self.classes} classes: "
                "give a name for each, by index from 0"
            )
        return tuple(given)


def class_names(network: Graph, given: Sequence[str]) -> tuple[str, ...]:
    """Name the classes of a network, also of its maps, or the values of a regression.

    An answer that is neither, such as (tokens, channels), keeps the names as they are.

    Args:
        network: The network that tells the classes.
        given: The names, by the number of the class from 0.

    Raises:
        BadOption: There are more or fewer names than classes.

    Example:
        >>> class_names(network, ["cat", "dog"])
        ('cat', 'dog')
    """
    layer = network.layer(network.output)
    if network.task is Task.REGRESS:
        count = layer.channels
        if len(given) != count:
            raise BadOption(
                f"{len(given)} names, but the network's answer has {count} values: give a name "
                "for each, by index from 0"
            )
        return tuple(given)
    if len(layer.shape) == 3:
        return Head(layer.channels, normalised=False).names(given)
    try:
        head = Head.of(network)
    except BadInput:
        return tuple(given)
    return head.names(given)


def is_normalised(network: Graph) -> bool:
    """Whether a network's answer is probabilities already.

    Raises:
        BadInput: It is no scores either: a softmax over one number, a part of a log-softmax.
    """
    return _normalised(network, network.output, cut=False)


def _logit(probability: Tensor) -> Tensor:
    share = probability.clip(LEAST, MOST)
    return share.log() - (-share).log1p()


def _normalised(network: Graph, name: str, *, cut: bool) -> bool:
    """Whether a layer's values are probabilities; BadInput where they are no scores either.

    Args:
        network: The network that the layer belongs to.
        name: The layer.
        cut: Whether only a part of its values is used, so that they need not add up to 1.
    """
    if name == INPUT:
        return False
    node = network.nodes[name]
    op = node.op
    softmax = (op.probabilities or op.log_probabilities) and not op.elementwise
    if softmax and node.shape[node.settings["axis"] - 1] == 1:
        raise BadInput(
            f"the network ends in {name!r}, a softmax over a single number, which gives every "
            "image the same: open it without that layer, or with a sigmoid"
        )
    if op.probabilities:
        return True
    if op.log_probabilities and cut:
        raise BadInput(
            f"the network ends in a part of {name!r}, a log-softmax: open it with all of its "
            "classes, or with a softmax"
        )
    if op.passes_through or op.reshapes or op.permutes or op.pools:  # a probability stays one
        return _normalised(network, node.inputs[0], cut=cut)
    if op.cuts:
        return _normalised(network, node.inputs[0], cut=True)
    if op.concatenates:
        parts = [_normalised(network, below, cut=True) for below in node.inputs]
        return all(parts)
    return False

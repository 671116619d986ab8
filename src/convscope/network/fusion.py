"""Steps: nodes grouped for execution, and the fastest way to run each on a patch.

A step is one node and the elementwise nodes that alone read it: a convolution with its batch norm
(folded into its filters) and its rectifier. What a step computes is what its last node computes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.network.exported import Network
from convscope.network.node import Node
from convscope.network.ops.filters import batch_norm_scale_shift
from convscope.network.reader import INPUT

__all__ = ["Step", "dense", "fused_steps"]


@dataclass(eq=False)
class Step:
    """A node, and what is applied to its result element by element.

    run : patches (P, C, h, w) that already hold the border -> result, all posts applied
    inputs : names of the steps (their last nodes) that it reads;   grid : (rows, columns) above
    cost : multiply-adds over the whole map
    """

    name: str
    head: Node
    posts: tuple[Node, ...]
    inputs: tuple[str, ...]
    windowed: bool = False
    run: Callable[..., Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.run = _runner(self.head, self.posts)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.head.shape

    @property
    def grid(self) -> tuple[int, int]:
        return (self.shape[-2], self.shape[-1]) if len(self.shape) >= 3 else (1, 1)

    @property
    def cost(self) -> int:
        if self.head.kind not in ("conv", "linear"):
            return 0
        weight = self.head.tensors["weight"]
        return weight.numel() * self.grid[0] * self.grid[1]

    def full(self, *inputs: Tensor) -> Tensor:
        """On whole maps (P, C, H, W) or vectors (P, C)."""
        if self.head.kind == "linear" and not self.posts:
            return self.run(*inputs)
        value = self.head.forward(*inputs)
        for node in self.posts:
            value = node.forward(value)
        return value


def fused_steps(network: Network, wanted: Iterable[str]) -> list[Step]:
    """The steps below some layers, in order of execution; each wanted layer ends a step."""
    wanted = set(wanted)
    nodes = network.below(wanted)
    readers: dict[str, list[Node]] = {node.name: [] for node in nodes}
    for node in nodes:
        for below in node.inputs:
            if below != INPUT:
                readers[below].append(node)
    steps: list[Step] = []
    ends: dict[str, str] = {INPUT: INPUT}  # node -> the step that computes it
    windowed = {INPUT}
    taken: set[str] = set()
    for node in nodes:
        if node.name in taken:
            continue
        posts: list[Node] = []
        last = node
        while last.name not in wanted and len(readers[last.name]) == 1:
            following = readers[last.name][0]
            if not following.op.pointwise or len(following.inputs) != 1 or len(node.shape) != 3:
                break
            posts.append(following)
            taken.add(following.name)
            last = following
        step = Step(last.name, node, tuple(posts), tuple(ends[name] for name in node.inputs))
        step.windowed = node.on_windows and all(name in windowed for name in step.inputs)
        if step.windowed:
            windowed.add(step.name)
        for member in (node, *posts):
            ends[member.name] = step.name
        steps.append(step)
    return steps


def _runner(head: Node, posts: tuple[Node, ...]) -> Callable[..., Tensor]:
    """The step as one function on patches; the head's own padding is taken to be in the patch."""
    if head.kind == "conv":
        return _conv_runner(head, list(posts))
    if head.kind == "linear" and not posts:
        weight, bias = head.tensors["weight"].detach(), head.tensors.get("bias")
        return lambda value: dense(value, weight, bias)

    def run(*patches: Tensor) -> Tensor:
        value = head.op.on_window(head, *patches) if head.op.on_window else head.forward(*patches)
        for node in posts:
            value = node.forward(value)
        return value

    return run


def _conv_runner(head: Node, posts: list[Node]) -> Callable[..., Tensor]:
    weight, bias = head.tensors["weight"], head.tensors.get("bias")
    if posts and posts[0].kind == "batch_norm":
        scale, shift = batch_norm_scale_shift(posts.pop(0))
        weight = weight * scale.view(-1, 1, 1, 1)
        bias = shift if bias is None else bias * scale + shift
    rectify = bool(posts) and posts[0].kind == "relu"
    if rectify:
        posts.pop(0)
    conv = _convolution(head, weight, bias, rectify)

    def run(patch: Tensor) -> Tensor:
        value = conv(patch)
        for node in posts:
            value = node.forward(value)
        return value

    return run


def _convolution(
    head: Node, weight: Tensor, bias: Tensor | None, rectify: bool
) -> Callable[[Tensor], Tensor]:
    """A valid convolution, its rectifier fused where oneDNN offers it."""
    stride, dilation, groups = (head.settings[k] for k in ("stride", "dilation", "groups"))
    weight = weight.detach().contiguous(memory_format=torch.channels_last)
    if on_onednn(weight):
        fused = torch.ops.mkldnn._convolution_pointwise
        what = "relu" if rectify else "none"
        none = [0, 0]

        def convolve(patch: Tensor) -> Tensor:
            return fused(
                patch, weight, bias, none, list(stride), list(dilation), groups, what, [], ""
            )

        return convolve

    def plain(patch: Tensor) -> Tensor:
        value = F.conv2d(patch, weight, bias, stride, 0, dilation, groups)
        return value.relu_() if rectify else value

    return plain


def dense(value: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """value (..., K) times weight (O, K), transposed or not in memory, plus bias.

    oneDNN's product runs at twice the speed of the BLAS behind F.linear on some processors.
    """
    packed = weight.is_contiguous() or weight.t().is_contiguous()  # else oneDNN crawls
    if on_onednn(weight) and value.dim() == 2 and packed:
        return torch.ops.mkldnn._linear_pointwise(value, weight, bias, "none", [], "")
    return F.linear(value, weight, bias)


def on_onednn(tensor: Tensor) -> bool:
    """Whether oneDNN's fused operations can run on this tensor: on a CPU, float32 or bfloat16."""
    return (
        tensor.device.type == "cpu"
        and tensor.dtype in (torch.float32, torch.bfloat16)
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
    )

"""A second opinion on a network: its own module, run eagerly, in float64.

Nothing here knows Convscope's graph or its op table. The deconvnet is autograd over the module as
it is, with the derivatives of rectifiers replaced as `docs/rules.md` states them; the gradient is
autograd itself. Layers are the module's own, caught as they are called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

__all__ = ["Deconvnet", "attends", "called_once", "enliven", "layer_value", "projected"]

RECTIFIERS: tuple[Any, ...] = (
    F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.relu6, F.hardtanh,
    F.leaky_relu, F.elu, F.silu, F.mish, F.gelu, F.hardswish, F.selu, F.celu, F.prelu, F.softplus,
)  # fmt: skip
SPELLED_OUT = ("QuickGELU", "Swish", "HardMish", "HardSwish", "Mish")
"""Modules that write such a function out; Convscope reads them as that function."""
PRODUCTS: tuple[Any, ...] = (
    torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, Tensor.bmm, torch.baddbmm,
)  # fmt: skip
ATTENTION: tuple[Any, ...] = (F.scaled_dot_product_attention, F.multi_head_attention_forward)
VIEWS = ("View", "Transpose", "Permute", "Unsqueeze", "Squeeze", "Expand", "Clone", "Reshape",
         "Alias", "T", "Slice", "Select")  # fmt: skip


class _Rectified(torch.autograd.Function):
    """Any function forward; downward, max(0, signal), whatever the forward pass did."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
        return run(value)

    @staticmethod
    def backward(ctx: Any, *signal: Any) -> Any:
        return torch.relu(signal[0]), None


class _Skipped(torch.autograd.Function):
    """Any function forward; downward, the signal unchanged."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
        return run(value)

    @staticmethod
    def backward(ctx: Any, *signal: Any) -> Any:
        return signal[0], None


class _Scaled(torch.autograd.Function):
    """Any function forward; downward, the signal times what is given."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, run: Callable[[Tensor], Tensor], scale: Tensor) -> Tensor:
        ctx.save_for_backward(scale)
        return run(value)

    @staticmethod
    def backward(ctx: Any, *signal: Any) -> Any:
        return signal[0] * ctx.saved_tensors[0], None, None


def _norm_scale(func: Any, value: Tensor, given: dict[str, Any]) -> Tensor:
    """weight / standard deviation, by the formula of each normalisation."""
    weight, eps = given.get("weight"), given.get("eps")
    eps = torch.finfo(value.dtype).eps if eps is None else eps
    if func in (F.layer_norm, F.rms_norm, torch.rms_norm, torch.layer_norm):
        axes = tuple(range(-len(given["normalized_shape"]), 0))
        moment = (value**2).mean(axes, keepdim=True)
        if "rms" not in func.__name__:
            moment = moment - value.mean(axes, keepdim=True) ** 2
        scale = 1 / torch.sqrt(moment + eps)
        return (scale if weight is None else scale * weight).detach()
    groups = given["num_groups"] if func is F.group_norm else value.shape[1]
    grouped = value.reshape(len(value), groups, -1)
    spread = grouped.var(-1, unbiased=False)[..., None].expand_as(grouped).reshape(value.shape)
    scale = 1 / torch.sqrt(spread + eps)
    if weight is not None:
        scale = scale * weight.view(1, -1, *[1] * (value.dim() - 2))
    return scale.detach()


NORMS: dict[Any, tuple[str, ...]] = {
    F.layer_norm: ("normalized_shape", "weight", "bias", "eps"),
    F.rms_norm: ("normalized_shape", "weight", "eps"),
    F.group_norm: ("num_groups", "weight", "bias", "eps"),
}
EPS = {F.layer_norm: 1e-5, F.rms_norm: None, F.group_norm: 1e-5}


def _evo_norm(module: Any) -> Callable[[Tensor], Tensor]:
    """x * sigmoid(v * x), a silu, over the deviation of its group: rectified, and divided."""

    def forward(x: Tensor) -> Tensor:
        from timm.layers.evo_norm import group_std

        v, weight, bias = (t.view(1, -1, 1, 1) for t in (module.v, module.weight, module.bias))
        gated = _rectify(x, lambda y: y * (y * v).sigmoid(), writes=False)
        return gated / group_std(x, module.groups, module.eps) * weight + bias

    return forward


class Deconvnet(TorchFunctionMode):
    """Inside, autograd goes down as the deconvnet does: `with Deconvnet(module): ...`."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._module = module
        self._patched = ExitStack()

    def __enter__(self) -> Any:
        for child in self._module.modules():
            if type(child).__name__.removesuffix("Me") in SPELLED_OUT:
                self._patched.callback(child.__dict__.pop, "forward", None)
                child.forward = _rectified_call(child.forward)  # type: ignore[method-assign]
            elif type(child).__name__ in ("EvoNorm2dS0", "EvoNorm2dS0a") and child.v is not None:
                self._patched.callback(child.__dict__.pop, "forward", None)
                child.forward = _evo_norm(child)  # type: ignore[method-assign]
        return super().__enter__()

    def __exit__(self, *exception: Any) -> None:
        self._patched.close()
        super().__exit__(*exception)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in RECTIFIERS:
            value, rest = args[0], args[1:]
            writes = kwargs.pop("inplace", False) or func.__name__.endswith("_")
            if func in (F.relu, F.relu6, F.silu, F.mish, F.hardswish) and rest:
                writes, rest = writes or rest[0], rest[1:]
            plain = F.relu if func.__name__ in ("relu_", "relu") else func
            return _rectify(value, lambda x: plain(x, *rest, **kwargs), writes)
        if func in NORMS:
            given = {"eps": EPS[func], **dict(zip(NORMS[func], args[1:], strict=False)), **kwargs}
            scale = _norm_scale(func, args[0], given)
            return _Scaled.apply(args[0], lambda x: func(x, *args[1:], **kwargs), scale)
        if func is F.local_response_norm:
            return _Skipped.apply(args[0], lambda x: func(x, *args[1:], **kwargs))
        return func(*args, **kwargs)


def _rectify(value: Tensor, run: Callable[[Tensor], Tensor], writes: bool) -> Tensor:
    found: Tensor = _Rectified.apply(value, run)  # type: ignore[no-untyped-call]
    return value.copy_(found) if writes else found


def _rectified_call(run: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda value: _rectify(value, lambda x: run(x.clone()), writes=False)


def projected(
    module: nn.Module, image: Tensor, layer: str, place: tuple[int, ...], *, deconvnet: bool
) -> Tensor:
    """The projection (C, H, W) of one unit, in the scale of its activation.

    image : (1, C, H, W);   place : the unit's index in the layer's own output, the batch left out
    """
    image = image.clone().requires_grad_()
    # of one image alone, torch's batch norm goes down wrongly where tokens were made of its maps
    images = torch.cat([image, image.detach()])
    with ExitStack() as stack:
        if deconvnet:
            stack.enter_context(Deconvnet(module))
        value = _caught(module, images, layer)[(0, *place)]
        seed = value.detach() if deconvnet else torch.ones_like(value)
    (found,) = torch.autograd.grad(value, image, seed)
    return found[0]


def layer_value(module: nn.Module, image: Tensor, layer: str) -> Tensor:
    """What a layer answers to one image, as the module itself lays it out, without the batch."""
    with torch.no_grad():
        return _caught(module, image, layer)[0]


def _caught(module: nn.Module, image: Tensor, layer: str) -> Tensor:
    """A layer's output, safe from what is written over it afterwards."""
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        kept.append(output)
        return output.clone()

    hook = module.get_submodule(layer).register_forward_hook(keep)
    try:
        module(image)
    finally:
        hook.remove()
    return kept[0]


def called_once(module: nn.Module, image: Tensor) -> list[str]:
    """The module's convolutions and dense layers that run exactly once, in order of execution."""
    calls: list[str] = []
    hooks = [
        child.register_forward_hook(lambda *_, name=name: calls.append(name))
        for name, child in module.named_modules()
        if isinstance(child, (nn.Conv2d, nn.Linear))
    ]
    try:
        with torch.no_grad():
            module(image)
    finally:
        for hook in hooks:
            hook.remove()
    return [name for name in calls if calls.count(name) == 1]


# --- is it a CNN? ---------------------------------------------------------------------------------


class _Watching(TorchFunctionMode):
    """Notes whether attention runs: see `attends`."""

    attends = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in ATTENTION:
            self.attends = True
        elif func in PRODUCTS or func is torch.einsum:
            factors = list(_tensors(args))
            from_image = [t for t in factors if t.requires_grad]
            if len(from_image) > 1 and not any(_is_softmax(t) for t in from_image):
                self.attends = True
        return func(*args, **(kwargs or {}))


def attends(module: nn.Module, image: Tensor) -> bool:
    """Whether the network multiplies two matrices that it both computes from the image.

    That is attention, softmax or linear: queries by keys, or keys by values. A matrix product with
    what a softmax left is not enough: global context blocks pool by one.
    """
    image = image.clone().requires_grad_()
    with _Watching() as watching:
        module(image)
    return watching.attends


def _tensors(args: Iterable[Any]) -> Iterable[Tensor]:
    for item in args:
        if isinstance(item, Tensor):
            yield item
        elif isinstance(item, (list, tuple)):
            yield from _tensors(item)


def _is_softmax(value: Tensor) -> bool:
    step = value.grad_fn
    while step is not None:
        name = type(step).__name__
        if name.startswith("Softmax"):
            return True
        if not name.removeprefix("Unsafe").startswith(VIEWS):
            return False
        step = step.next_functions[0][0] if step.next_functions else None
    return False


# --- random weights that leave nothing out --------------------------------------------------------


def enliven(module: nn.Module, seed: int) -> None:
    """Give numbers to what a fresh network leaves at zero or one: norms, biases, layer scales.

    A residual branch that starts at zero would be checked against nothing.
    """
    generator = torch.Generator().manual_seed(seed)

    def noise(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator, dtype=torch.float64).to(like.dtype)

    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.numel() > 1 and bool((parameter == parameter.reshape(-1)[0]).all()):
                level = float(parameter.reshape(-1)[0])
                base = 0.3 if 0 < abs(level) < 0.1 else level  # a layer scale of 1e-6
                parameter.copy_(base + 0.1 * noise(parameter))
        for child in module.modules():
            if isinstance(child, nn.modules.batchnorm._BatchNorm) and child.running_var is not None:
                child.running_mean.copy_(0.1 * noise(child.running_mean))
                child.running_var.copy_(1 + 0.2 * noise(child.running_var).abs())

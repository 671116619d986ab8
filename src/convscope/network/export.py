"""From a PyTorch module to an exported graph of operations that the op table knows, as far as it
can be: regions are opened, and what the table lacks is taken apart into what it has.

Everything goes through `torch.export` at the level of training ops (conv2d stays conv2d).
"""

from __future__ import annotations

import io
import logging
import operator
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from convscope.errors import BadModel
from convscope.network.aliasing import writes_in_place
from convscope.network.exported_module import ExportedModule
from convscope.network.failing_layer import why_it_fails
from convscope.network.ops import op_of
from convscope.network.plain import returning_plain
from convscope.network.quick_export import quick_export

__all__ = [
    "export",
    "is_tensor",
    "module_path",
    "of_images",
    "refusal",
    "target_of",
    "without_its_warnings",
]

aten = torch.ops.aten

LIKE = frozenset(
    (
        aten.empty_like.default, aten.full_like.default, aten.new_empty.default,
        aten.new_full.default, aten.new_ones.default, aten.new_zeros.default,
        aten.ones_like.default, aten.zeros_like.default, aten.sym_numel.default,
        aten.sym_size.default, aten.sym_size.int, aten.sym_stride.int,
    )
)  # fmt: skip
"""What takes nothing of a value but its shape and the type of its numbers."""
REGIONS = frozenset(
    ("invoke_subgraph", "tag_activation_checkpoint", "wrap_with_autocast",
     "wrap_with_set_grad_enabled")
)  # fmt: skip
"""Blocks of forward() under a setting that changes no value, but for autocast's precision."""
_LEAVES = (Tensor, int, float, complex, bool, str, bytes, type(None))
"""What forward() may return inside of containers."""
TORCH = str(Path(torch.__file__).parent)
BY_NAME = frozenset(
    (aten.conv3d.default, aten.conv3d.padding, aten.conv_transpose3d.input,
     aten.grid_sampler.default)
)  # fmt: skip
"""What is refused by its own name: its parts would not be read either, and say less."""
WHOLE_WRITES = (aten.copy_.default, aten.zero_.default, aten.fill_.Scalar, aten.fill_.Tensor)
"""What writes over all of a value."""
DROPOUT = frozenset(
    (aten.dropout.default, aten.dropout_.default, aten.feature_dropout.default,
     aten.feature_dropout_.default, aten.alpha_dropout.default)
)  # fmt: skip
LOGGERS = ("torch.export", "torch.fx", "torch._dynamo", "torch._subclasses")
"""Those that write of an export that fails."""
ROUNDS = 4
"""How often what an operation is made of is taken apart again."""


def export(module: nn.Module, input_shape: tuple[int, int, int]) -> Any:
    """Export a module in evaluation mode. The module comes back as it was.

    Args:
        module: The module.
        input_shape: (C, H, W) of its images.

    Raises:
        BadModel: It cannot be exported.
    """
    like = next((p for p in module.parameters() if p.is_floating_point()), torch.zeros(()))
    image = torch.zeros(2, *input_shape, dtype=like.dtype, device=like.device)
    # without gradients, a `with torch.no_grad()` in forward() leaves no trace in the graph
    with _evaluating(module), without_its_warnings(), torch.no_grad(), quick_export(module):
        try:
            read = isinstance(module, ExportedModule)
            program: Any = module.program if read else _exported(module, image)
        except Exception as error:
            reason = next((line for line in str(error).splitlines() if line.strip()), "no reason")
            size = "x".join(map(str, input_shape))
            if why := why_it_fails(module, image):
                raise BadModel(f"{type(module).__name__} with {size} images: {why}") from error
            raise BadModel(
                f"{type(module).__name__} cannot be exported with {size} images "
                f"({type(error).__name__}: {reason.strip()}): check the input shape, and that "
                "forward() takes one batch of images and does not branch on its values"
            ) from error
        for old, new in _opened(program.graph_module):
            program.graph_signature.replace_all_uses(old, new)
        through_views = _writes_through_views(program)
        if through_views or (any(map(_writes, program.graph.nodes)) and _lacking(program)):
            _without_idle_dropout(program)
        if through_views:
            program = program.run_decompositions({})  # every write as a new value
        return _taken_apart(program)


def _exported(module: nn.Module, image: Tensor) -> Any:
    """The exported program; containers that torch.export does not know come back as plain ones."""
    batch = {0: torch.export.Dim("batch", min=1, max=2**20)}
    run = partial(torch.export.export, module, (image,), dynamic_shapes=(batch,), strict=False)
    try:
        return run()
    except Exception:
        if not _returns_other_containers(module, image):
            raise
        with returning_plain(module):
            return run()


def _returns_other_containers(module: nn.Module, image: Tensor) -> bool:
    """Whether forward() returns objects that torch.export does not know."""
    try:
        returned = module(image)
    except Exception:
        return False
    return not all(isinstance(leaf, _LEAVES) for leaf in tree_leaves(returned))


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, each submodule's own mode back afterwards."""
    modes = [(child, child.training) for child in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for child, training in modes:
            child.training = training


@contextmanager
def without_its_warnings() -> Iterator[None]:
    """Keep torch.export's own warnings and log lines away from the user."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):  # it prints failed graphs
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


# --- regions --------------------------------------------------------------------------------------


def _opened(owner: Any) -> list[tuple[str, str]]:
    """Put the nodes of each region in its place: (old name of a result, its new name)."""
    graph, renamed = owner.graph, []
    for fx in list(graph.nodes):
        if fx.op != "call_function" or getattr(fx.target, "__name__", "") not in REGIONS:
            continue
        held = next(a for a in fx.args if isinstance(a, torch.fx.Node) and a.op == "get_attr")
        region = owner.get_submodule(held.target)
        _opened(region)
        inputs = [node for node in region.graph.nodes if node.op == "placeholder"]
        operands = dict(zip(inputs, fx.args[len(fx.args) - len(inputs) :], strict=True))
        with graph.inserting_before(fx):
            results = graph.graph_copy(region.graph, operands)
        for piece in list(fx.users):
            result = results[piece.args[1]]
            renamed.append((piece.name, result.name))
            piece.replace_all_uses_with(result)
            graph.erase_node(piece)
        graph.erase_node(fx)
        if not held.users:
            graph.erase_node(held)
    return renamed


def _writes(fx: Any) -> bool:
    return fx.op == "call_function" and writes_in_place(fx) and not _is_idle_dropout(fx)


def _is_idle_dropout(fx: Any) -> bool:
    return fx.target in DROPOUT and not (fx.args[1] and fx.args[2])


def _without_idle_dropout(program: Any) -> None:
    """Leave out dropout at test time, which is its input itself: what is written into the one is
    seen through the other. PyTorch forgets that when it takes a graph apart."""
    for fx in program.graph.nodes:
        if _is_idle_dropout(fx):
            program.graph_signature.replace_all_uses(fx.name, fx.args[0].name)
            fx.replace_all_uses_with(fx.args[0])
            program.graph.erase_node(fx)


def _writes_through_views(program: Any) -> bool:
    """Whether forward() writes into a part of a value, as `x[:, :3] = y` does, all over it, or into
    one that is read in another shape too."""
    return any(
        fx.target in WHOLE_WRITES or any(map(_is_view, (fx.args[0], *fx.args[0].users)))
        for fx in filter(_writes, program.graph.nodes)
    )


def _is_view(fx: Any) -> bool:
    op = op_of(target_of(fx)) if fx.op == "call_function" else None
    if op is None or fx.target is aten.clone.default:
        return False
    return op.views or op.reshapes or (op.passes_through and not writes_in_place(fx))


# --- operations outside the table -----------------------------------------------------------------


def _taken_apart(program: Any) -> Any:
    """The program with the operations that the table lacks in terms of others, if torch knows how.

    Just those: the whole core set would take apart what the table reads well.
    """
    taken: dict[Any, Any] = {}
    for _ in range(ROUNDS):
        more = {target: how for target, how in _lacking(program).items() if target not in taken}
        if not more:
            break
        taken.update(more)
        program = program.run_decompositions(dict(taken))
    return program


def _lacking(program: Any) -> dict[Any, Any]:
    """What the table lacks -> how torch takes it apart, where it can."""
    computed = (fx for fx in of_images(program) if fx.op == "call_function")
    targets = {target_of(fx) for fx in computed if fx.meta.get("val") is not None} - BY_NAME
    lacking = {t for t in targets if op_of(t) is None and isinstance(t, torch._ops.OpOverload)}
    known = torch.export.default_decompositions() if lacking else {}
    return {target: known[target] for target in lacking if target in known}


# --- reading one node -----------------------------------------------------------------------------


def is_tensor(fx: Any) -> bool:
    return isinstance(fx.meta.get("val"), Tensor)


def target_of(fx: Any) -> Any:
    """The operation that computes this value: of a piece, the one that cut it."""
    return fx.args[0].target if fx.target is operator.getitem else fx.target


def of_images(program: Any) -> set[Any]:
    """The nodes that are computed from the images' values; the others are constants."""
    user = set(program.graph_signature.user_inputs)
    found: set[Any] = set()
    for fx in program.graph.nodes:
        if fx.op == "placeholder":
            found |= {fx} if fx.name in user else set()
        elif fx.op == "call_function" and fx.target not in LIKE:
            found |= {fx} if found.intersection(fx.all_input_nodes) else set()
    return found


def module_path(fx: Any) -> tuple[str, str]:
    """(dotted name of the innermost module, key of that very call of it)."""
    stack = fx.meta.get("nn_module_stack") or {}
    if not stack:
        return "", ""
    key, (path, _) = list(stack.items())[-1]
    return path, key


def refusal(fx: Any, why: str = "is not in the op table") -> str:
    """What is refused, where it is written, and what to do."""
    layer = module_path(fx)[0]
    where = f"layer {layer!r}" if layer else "the network's own forward()"
    return (
        f"operation {_origin(fx)} in {where} {why}{_line(fx)}: Convscope refuses what it cannot "
        "follow exactly. Replace the operation, or add it to convscope/network/ops "
        "(CONTRIBUTING.md, 'An operation')"
    )


def _origin(fx: Any) -> str:
    """The operation that forward() calls, where torch has taken it apart."""
    name = str(target_of(fx))
    sources = (fx.args[0] if fx.target is operator.getitem else fx).meta.get("from_node")
    while sources:
        name, sources = sources[-1].target, sources[-1].from_node
    return str(name)


def _line(fx: Any) -> str:
    """The line of a user's module that calls an operation, if it is known."""
    frames = re.findall(
        r'File "(.+)", line (\d+), in .+\n\s*(.+)', fx.meta.get("stack_trace") or ""
    )
    own = [frame for frame in frames if not frame[0].startswith(TORCH)] or frames
    if not own:
        return ""
    file, number, code = own[-1]
    return f" ({Path(file).name}:{number}: {code.strip()})"

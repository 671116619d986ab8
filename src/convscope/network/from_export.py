"""From a PyTorch module to nodes: export, resolve in-place writes, recognise LRN and activations
that are written out, name layers.

Reading goes through `torch.export` at the level of training ops (conv2d stays conv2d), never
through module hooks: in-place, functional and reused activations are all plain nodes.
"""

from __future__ import annotations

import io
import logging
import operator
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn
from torch.export.graph_signature import OutputKind, TensorArgument
from torch.utils._pytree import tree_flatten_with_path, tree_leaves, tree_unflatten

from convscope.errors import BadModel, UnsupportedOp
from convscope.network.aliasing import Memory, writes_in_place
from convscope.network.constants import Constants
from convscope.network.node import Node, Op
from convscope.network.ops import LRN, op_of
from convscope.network.plain import plain, returning_plain
from convscope.network.spellings import ingredient, is_ingredient, read_spellings

__all__ = ["INPUT", "Reading", "read_network"]

INPUT = ".input"
"""Name of the image itself, below every node: no module's, as no part of its name is empty."""

aten = torch.ops.aten
_LEAVES = (Tensor, int, float, complex, bool, str, bytes, type(None))
"""What forward() may return inside of containers."""
_RESHAPES = (aten.view.default, aten.reshape.default, aten.squeeze.dim, aten.squeeze.default)


@dataclass(frozen=True)
class Reading:
    """What is read from a module.

    Attributes:
        nodes: The operations, in order of execution.
        outputs: The layer of each output by its name, in the module's order. A name is where the
            value stands in what forward() returns: its key or number, `heads.0` inside another; ""
            if it is alone.
        constants: The tensors, those included that are computed from others.
    """

    nodes: list[Node]
    outputs: dict[str, str]
    constants: Constants


def read_network(module: nn.Module, input_shape: tuple[int, int, int]) -> Reading:
    """Read the operations of a module in evaluation mode. The module comes back as it was.

    Args:
        module: The module.
        input_shape: (C, H, W) of its images.

    Raises:
        BadModel: The module cannot be exported.
        UnsupportedOp: It uses an operation that is not in the op table.
    """
    program = _export(module, input_shape)
    reader = _Reader(program)
    return Reading(reader.nodes(), reader.outputs, reader.stored)


def _export(module: nn.Module, input_shape: tuple[int, int, int]) -> Any:
    like = next((p for p in module.parameters() if p.is_floating_point()), torch.zeros(()))
    image = torch.zeros(2, *input_shape, dtype=like.dtype, device=like.device)
    batch = {0: torch.export.Dim("batch", min=1, max=2**20)}
    export = partial(torch.export.export, module, (image,), dynamic_shapes=(batch,), strict=False)
    # without gradients, a `with torch.no_grad()` in forward() leaves no trace in the graph
    with _evaluating(module), _quiet(), torch.no_grad():
        try:
            try:
                return export()
            except Exception:
                if not _returns_other_containers(module, image):
                    raise
                with returning_plain(module):
                    return export()
        except Exception as error:
            reason = next((line for line in str(error).splitlines() if line.strip()), "no reason")
            size = "x".join(map(str, input_shape))
            raise BadModel(
                f"{type(module).__name__} cannot be exported with {size} images "
                f"({type(error).__name__}: {reason.strip()}): check the input shape, and that "
                "forward() takes one batch of images and does not branch on its values"
            ) from error


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
def _quiet() -> Iterator[None]:
    """Keep torch.export's own warnings and log lines away from the user."""
    loggers = [logging.getLogger(name) for name in ("torch.export", "torch.fx", "torch._dynamo")]
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


class _Reader:
    """One walk over an exported graph."""

    def __init__(self, program: Any) -> None:
        self.program = program
        sources = _stored_tensors(program)
        self.stored = Constants(sources)  # fx name -> parameter, buffer or constant
        self.memory = Memory()
        self.learned = _learned(program, sources)  # fx names of what may be trained
        self.drafts: dict[Any, Node] = {}  # fx node -> node, under its fx name
        self.outputs: dict[str, str] = {}  # known when the nodes are
        self.refused: dict[str, UnsupportedOp] = {}  # what is only read as a part of an activation

    def nodes(self) -> list[Node]:
        graph = self.program.graph
        lrn = {node: match for node in graph.nodes if (match := _match_lrn(node))}
        inside_lrn = {inner for match in lrn.values() for inner in match["inside"]}
        for fx in graph.nodes:
            if fx.op == "placeholder" and fx.name not in self.stored:
                self.memory.add(fx)
            elif fx.op != "call_function" or fx in inside_lrn:
                continue
            elif self._is_constant(fx):
                if any(node.name in self.learned for node in fx.all_input_nodes):
                    self.learned.add(fx.name)
                self.stored.compute(partial(_fold, fx))
            elif _is_tensor(fx):
                self._read(fx, lrn.get(fx))
        outputs = self._output_values()
        self._join_spellings({fx.name for fx in outputs.values()})
        names = self._names(outputs.values())
        self.outputs = {key: names[fx] for key, fx in outputs.items()}
        return [self._renamed(draft, names) for fx, draft in self.drafts.items() if fx in names]

    # -- one operation

    def _read(self, fx: Any, lrn: dict[str, Any] | None) -> None:
        tensors: dict[str, Tensor] = {}
        if fx.meta["val"].dim() == 0 or fx.meta["val"].shape[0] != _batch(self.program):
            raise UnsupportedOp(_refusal(fx, "mixes the images of a batch"))
        if lrn is not None:
            op, settings, operands = LRN, lrn["settings"], [lrn["value"]]
        else:
            if op_of(_target(fx)) is None and not is_ingredient(_target(fx)):
                raise UnsupportedOp(_refusal(fx))
            bound = {key: self._constant(value) for key, value in _bind(fx).items()}
            op, settings = self._operation(fx, bound)
            operands = _operands(bound)
            tensors = {key: value for key, value in bound.items() if isinstance(value, Tensor)}
        inputs = [self._value_of(operand, fx) for operand in operands]
        self.drafts[fx] = Node(
            name=fx.name,
            op=op,
            inputs=tuple(source.name for source in inputs),
            shape=_shape(fx),
            below=tuple(_shape(source) for source in inputs),
            settings=settings,
            tensors=tensors,
            module=_module_path(fx)[0],
        )
        self.memory.add(fx, op, operands[0])

    def _operation(self, fx: Any, bound: dict[str, Any]) -> tuple[Op, dict[str, Any]]:
        """The op table's row for a call, and its settings, or a part of an activation written out.

        A call that can be neither is refused with UnsupportedOp.
        """
        try:
            op = op_of(_target(fx))
            if op is None:
                raise UnsupportedOp(_refusal(fx))
            return op, self._settings(fx, op, bound)
        except UnsupportedOp as error:
            part = None if _has_run_time_numbers(bound) else ingredient(_target(fx), bound)
            if part is None:
                raise
            self.refused[fx.name] = error
            return part

    def _join_spellings(self, outputs: set[str]) -> None:
        """Make activations that are written out one node each; refuse parts that are left over."""
        learned = {id(self.stored[name]) for name in self.learned}
        drafts = {draft.name: draft for draft in self.drafts.values()}
        joined = read_spellings(drafts, outputs, lambda tensor: id(tensor) in learned)
        for name, node in joined.items():
            if node.op.ingredient:
                raise self.refused[name]
        self.drafts = {fx: joined[fx.name] for fx in self.drafts if fx.name in joined}

    def _settings(self, fx: Any, op: Op, bound: dict[str, Any]) -> dict[str, Any]:
        if not op.reshapes and _has_run_time_numbers(bound):
            raise UnsupportedOp(_refusal(fx, "takes a number that is computed at run time"))
        try:
            return op.read(bound)
        except NotImplementedError as error:
            raise UnsupportedOp(_refusal(fx, str(error))) from None

    def _constant(self, value: Any) -> Any:
        """An argument with stored tensors put in place of their graph nodes."""
        if isinstance(value, torch.fx.Node):
            return self.stored.get(value.name, value)
        return value

    def _is_constant(self, fx: Any) -> bool:
        """Computed from stored tensors alone, such as a reshaped mean image."""
        return bool(fx.all_input_nodes) and all(n.name in self.stored for n in fx.all_input_nodes)

    def _value_of(self, operand: Any, fx: Any) -> Any:
        if self.memory.is_stale(operand):
            raise UnsupportedOp(_refusal(fx, "reads memory that was overwritten through a view"))
        return self.memory.holder(operand)

    # -- names

    def _output_values(self) -> dict[str, Any]:
        """Name of each output that is computed from the images -> the node that holds its value."""
        (output,) = (node for node in self.program.graph.nodes if node.op == "output")
        by_name = {fx.name: fx for fx in output.all_input_nodes if fx in self.memory}
        named: dict[str, Any] = {}
        for key, name in _returned(self.program).items():
            if name in by_name and (fx := self._value_of(by_name[name], output)) in self.drafts:
                named[key] = fx
        if not named:
            raise BadModel("the network computes nothing from its images: give one that does")
        return named

    def _names(self, outputs: Iterable[Any]) -> dict[Any, str]:
        """A dotted name for each node that an output depends on.

        A module whose result is the one operation of its own gives it its own name; others are
        called `module.kind`; a second use is `name:2`. No name is given twice.
        """
        by_name = {fx.name: fx for fx in self.drafts}
        used: set[Any] = set()
        todo = list(outputs)
        while todo:
            fx = todo.pop()
            if fx in used or fx not in self.drafts:
                continue
            used.add(fx)
            todo += [by_name[name] for name in self.drafts[fx].inputs if name in by_name]
        residents = Counter(_module_path(fx)[1] for fx in used)
        last = {key: fx for fx in self.drafts if fx in used for key in _calls(fx)}
        own = {
            fx: bool(path) and residents[key] == 1 and last[key] is fx
            for fx, (path, key) in ((fx, _module_path(fx)) for fx in used)
        }
        names: dict[Any, str] = {}
        taken = {_module_path(fx)[0] for fx in used if own[fx]}  # a module's own, before any other
        for leaf in (True, False):
            for fx in (fx for fx in self.drafts if fx in used and own[fx] is leaf):
                path, kind = _module_path(fx)[0], self.drafts[fx].kind
                if leaf and path not in names.values():
                    names[fx] = path
                else:
                    names[fx] = _free(path if leaf else f"{path}.{kind}" if path else kind, taken)
                    taken.add(names[fx])
        return names

    def _renamed(self, draft: Node, names: dict[Any, str]) -> Node:
        by_fx_name = {fx.name: name for fx, name in names.items()}
        return replace(
            draft,
            name=by_fx_name[draft.name],
            inputs=tuple(by_fx_name.get(name, INPUT) for name in draft.inputs),
        )


# --- reading one fx node --------------------------------------------------------------------------


def _fold(fx: Any, values: dict[str, Any]) -> Any:
    """Put a constant's value beside the values it is computed from. One that is written to is left
    alone: its copy takes its name."""
    stored = {node.name: values[node.name] for node in fx.all_input_nodes}
    written = fx.args[0].name if writes_in_place(fx) else None
    if written is not None:
        stored[written] = stored[written].clone()
    args, kwargs = torch.fx.node.map_arg((fx.args, fx.kwargs), lambda n: stored[n.name])
    values[fx.name] = fx.target(*args, **kwargs)
    if written is not None:
        values[written] = values[fx.name]
    return values[fx.name]


def _stored_tensors(program: Any) -> dict[str, Tensor]:
    """Placeholder name -> parameter, buffer or lifted constant."""
    stored = {**program.constants, **program.state_dict}
    return {
        spec.arg.name: stored[spec.target].detach()
        for spec in program.graph_signature.input_specs
        if spec.target is not None and isinstance(stored.get(spec.target), Tensor)
    }


def _returned(program: Any) -> dict[str, str]:
    """What forward() returns: where each value stands in it -> its fx name."""
    specs = program.graph_signature.output_specs
    values = [spec.arg for spec in specs if spec.kind is OutputKind.USER_OUTPUT]
    nested = plain(tree_unflatten(list(range(len(values))), program.call_spec.out_spec))
    return {
        ".".join(str(getattr(k, "key", getattr(k, "idx", ""))) for k in path): values[index].name
        for path, index in tree_flatten_with_path(nested)[0]
        if isinstance(values[index], TensorArgument)
    }


def _learned(program: Any, stored: dict[str, Tensor]) -> set[str]:
    """Placeholders of parameters and of buffers that a state_dict holds: no constants."""
    specs = (spec for spec in program.graph_signature.input_specs if spec.target is not None)
    names = {spec.arg.name for spec in specs if spec.target in program.state_dict}
    return names & stored.keys()


def _batch(program: Any) -> Any:
    """The symbol that stands for the number of images."""
    user = program.graph_signature.user_inputs[0]
    (image,) = (node for node in program.graph.nodes if node.name == user)
    return image.meta["val"].shape[0]


def _is_tensor(fx: Any) -> bool:
    return isinstance(fx.meta.get("val"), Tensor)


def _shape(fx: Any) -> tuple[int, ...]:
    return tuple(int(n) for n in fx.meta["val"].shape[1:])


def _target(fx: Any) -> Any:
    """The operation that computes this value: of a piece, the one that cut it."""
    return fx.args[0].target if fx.target is operator.getitem else fx.target


def _bind(fx: Any) -> dict[str, Any]:
    """The call's arguments by the names of the ATen schema, defaults filled in."""
    if fx.target is operator.getitem:
        return _bind_piece(*fx.args)
    schema = fx.target._schema.arguments
    bound = {a.name: a.default_value if a.has_default_value() else None for a in schema}
    bound.update(zip((a.name for a in schema), fx.args, strict=False))
    bound.update(fx.kwargs)
    return bound


def _bind_piece(source: Any, index: int) -> dict[str, Any]:
    """A piece of a chunk or split, as the arguments of the slice that it is."""
    whole, pieces = _bind(source), source.meta["val"]
    lengths = [piece.shape[whole["dim"]] for piece in pieces]
    start = sum(lengths[:index])
    end = start + lengths[index]
    return {"self": whole["self"], "dim": whole["dim"], "start": start, "end": end, "step": 1}


def _has_run_time_numbers(bound: dict[str, Any]) -> bool:
    items = (v for value in bound.values() for v in (value if _is_list(value) else (value,)))
    return any(isinstance(item, torch.fx.Node) and not _is_tensor(item) for item in items)


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _operands(bound: dict[str, Any]) -> list[Any]:
    """The arguments that are values of the network, in order."""
    operands: list[Any] = []
    for value in bound.values():
        for item in value if _is_list(value) else (value,):
            if isinstance(item, torch.fx.Node) and _is_tensor(item):
                operands.append(item)
    return operands


def _module_path(fx: Any) -> tuple[str, str]:
    """(dotted name of the innermost module, key of that very call of it)."""
    stack = fx.meta.get("nn_module_stack") or {}
    if not stack:
        return "", ""
    key, (path, _) = list(stack.items())[-1]
    return path, key


def _calls(fx: Any) -> list[str]:
    """Keys of the module calls that this operation happens in, outermost first."""
    return list(fx.meta.get("nn_module_stack") or ())


def _free(name: str, taken: set[str]) -> str:
    """The name, or the first of name:2, name:3, ... that nothing has."""
    numbered = (f"{name}:{number}" for number in count(2))
    return name if name not in taken else next(n for n in numbered if n not in taken)


def _refusal(fx: Any, why: str = "is not in the op table") -> str:
    layer = _module_path(fx)[0]
    where = f"layer {layer!r}" if layer else "the network's own forward()"
    return (
        f"operation {_target(fx)} in {where} {why}: Convscope refuses what it cannot follow "
        "exactly. Replace the operation, or add it to convscope/network/ops (CONTRIBUTING.md, "
        "'A new op')"
    )


def _match_lrn(fx: Any) -> dict[str, Any] | None:
    """Recognise what F.local_response_norm exports to, ending in `value / power`."""
    if fx.target is not aten.div.Tensor or not isinstance(fx.args[1], torch.fx.Node):
        return None
    inside: list[Any] = []

    def step(node: Any, target: Any) -> Any:
        if not isinstance(node, torch.fx.Node) or node.target is not target:
            raise LookupError
        inside.append(node)
        return node.args

    def skip_reshapes(node: Any) -> Any:
        while isinstance(node, torch.fx.Node) and node.target in _RESHAPES:
            inside.append(node)
            node = node.args[0]
        return node

    try:
        total, beta = step(fx.args[1], aten.pow.Tensor_Scalar)
        scaled, k = step(total, aten.add.Tensor)
        mean, alpha = step(scaled, aten.mul.Tensor)
        padded, (size, *flat), *_ = step(skip_reshapes(mean), aten.avg_pool3d.default)
        squares, pads, *_ = step(padded, aten.pad.default)
        first, second = step(skip_reshapes(squares), aten.mul.Tensor)
    except (LookupError, ValueError):
        return None
    along_channels = flat == [1, 1] and pads == [0, 0, 0, 0, size // 2, (size - 1) // 2]
    on_its_own = all(user in (*inside, fx) for node in inside for user in node.users)
    if first is not second or first is not fx.args[0] or not (along_channels and on_its_own):
        return None
    settings = {"size": size, "alpha": alpha, "beta": beta, "k": k}
    return {"value": first, "settings": settings, "inside": inside}

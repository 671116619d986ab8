"""From an exported graph to nodes: resolve in-place writes, fold constants, recognise LRN and
activations that are written out, name layers.

Reading goes through `torch.export`, never through module hooks: in-place, functional and reused
activations are all plain nodes.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn
from torch.export.graph_signature import InputKind, OutputKind, TensorArgument
from torch.utils._pytree import tree_flatten_with_path, tree_unflatten

from convscope.errors import BadModel, UnsupportedOp
from convscope.network.aliasing import Memory, writes_in_place
from convscope.network.axes import Grid, axes_by_node, grid_of
from convscope.network.channels_last import read_channels_first
from convscope.network.constants import Constants, narrowed
from convscope.network.export import (
    export,
    is_tensor,
    module_path,
    of_images,
    refusal,
    target_of,
)
from convscope.network.folding import Folding
from convscope.network.node import Node, Op
from convscope.network.ops import COPY, LRN, op_of
from convscope.network.ops.attention import feature_maps, passage_op
from convscope.network.passage import Passage, keeps_images_apart
from convscope.network.plain import plain_containers
from convscope.network.spellings import read_spellings

__all__ = ["INPUT", "ImportedGraph", "read_network"]

INPUT = ".input"
"""Name of the image itself, below every node: no module's, as no part of its name is empty."""

aten = torch.ops.aten
_POOLS_WITH_SWITCHES = (aten.max_pool2d_with_indices.default, aten.adaptive_max_pool2d.default)
_RESHAPES = (aten.view.default, aten.reshape.default, aten.squeeze.dim, aten.squeeze.default)


@dataclass(frozen=True)
class ImportedGraph:
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


def read_network(module: nn.Module, input_shape: tuple[int, int, int]) -> ImportedGraph:
    """Read the operations of a module in evaluation mode. The module comes back as it was.

    Args:
        module: The module.
        input_shape: (C, H, W) of its images.

    Raises:
        BadModel: The module cannot be exported.
        UnsupportedOp: It uses an operation that is not in the op table.
    """
    program = export(module, input_shape)
    reader = _Reader(program)
    return ImportedGraph(reader.nodes(), reader.outputs, reader.stored.stored)


class _Reader:
    """One walk over an exported graph."""

    def __init__(self, program: Any) -> None:
        self.program = program
        sources = _stored_tensors(program)
        self.images = of_images(program)
        self.stored = Folding(
            _batch(program), sources, _learned(program, sources), _written(program)
        )
        self.memory = Memory()
        self.drafts: dict[Any, Node] = {}  # fx node -> node, under its fx name
        self.outputs: dict[str, str] = {}  # known when the nodes are
        self.channels_first: set[str] = set()  # fx names of what had its channels last
        self.places: dict[Any, Any] = {}  # fx node -> the one that it is named after
        self.like = torch.empty(0, dtype=_image(program).meta["val"].dtype)
        self.passing: dict[Any, UnsupportedOp] = {}  # no layers: what is read from them may be
        self.axes = axes_by_node(program.graph, _image(program))

    def nodes(self) -> list[Node]:
        graph = self.program.graph
        lrn = {node: match for node in graph.nodes if (match := _match_lrn(node))}
        inside_lrn = {inner for match in lrn.values() for inner in match["inside"]}
        for fx in graph.nodes:
            if fx.op == "placeholder" and fx.name not in self.stored:
                self.memory.add(fx)
            elif fx.op != "call_function" or fx in inside_lrn:
                continue
            elif fx not in self.images:
                self.stored.take(fx)
            elif self._passes(fx):
                self.passing[fx] = UnsupportedOp(refusal(fx, "mixes the images of a batch"))
            elif is_tensor(fx) and not _is_switches(fx):
                self._read(fx, lrn.get(fx))
        outputs = self._output_values()
        self._join_spellings({fx.name for fx in outputs.values()})
        names = self._names(outputs.values())
        self.outputs = {key: names[fx] for key, fx in outputs.items()}
        return list(self._with_maps(names))

    # -- one operation

    def _passes(self, fx: Any) -> bool:
        """Whether a value does not list the images first, or is several such values."""
        if is_tensor(fx):
            return _mixes_images(fx, _batch(self.program))
        return any(node in self.passing for node in fx.all_input_nodes)

    def _read(self, fx: Any, lrn: dict[str, Any] | None) -> None:
        if any(node in self.passing for node in fx.all_input_nodes):
            self._read_passage(fx)
            return
        tensors: dict[str, Tensor] = {}
        if _mixes_images(fx, _batch(self.program)):
            raise UnsupportedOp(refusal(fx, "mixes the images of a batch"))
        if lrn is not None:
            op, settings, operands = LRN, lrn["settings"], [lrn["value"]]
        else:
            row = op_of(target_of(fx))
            if row is None:
                raise UnsupportedOp(refusal(fx))
            bound = {key: self._constant(value) for key, value in _bind(fx).items()}
            op, settings = self._settings(fx, row, bound)
            operands = _operands(bound)
            tensors = _tensors(bound)
        if writes_in_place(fx) and fx.args[0].name in self.stored:
            raise UnsupportedOp(refusal(fx, "writes into a constant what depends on the images"))
        inputs = [self._value_of(operand, fx) for operand in operands]
        below = tuple(map(_shape, inputs))
        if op.elementwise and _shape(fx) in below:
            tensors = {key: narrowed(tensor) for key, tensor in tensors.items()}
        self.drafts[fx] = Node(
            name=fx.name,
            op=op,
            inputs=tuple(source.name for source in inputs),
            shape=_shape(fx),
            below=below,
            settings=settings,
            tensors=tensors,
            module=module_path(fx)[0],
        )
        self.memory.add(fx, op, operands[0])

    def _read_passage(self, fx: Any) -> None:
        """A value that is read from others that do not list the images first: one node.

        Raises:
            UnsupportedOp: An image's value depends on other images, or it is written over.
        """
        passage = Passage.to(fx, self.memory.__contains__, self.stored.__contains__)
        if passage.writes:
            raise UnsupportedOp(refusal(fx, "reads what was written over among several images"))
        inputs = [self._value_of(value, fx) for value in passage.values]
        shapes = tuple(_shape(source) for source in inputs)
        tensors = {name: self.stored[name] for name in passage.stored}
        like = next((t for t in tensors.values() if t.is_floating_point()), self.like)
        if not inputs or not keeps_images_apart(passage, tensors, shapes, like):
            raise next(self.passing[step] for step in passage.steps if step in self.passing)
        op = passage_op(passage)
        self.places[fx] = passage.place
        self.drafts[fx] = Node(
            name=fx.name,
            op=op,
            inputs=tuple(source.name for source in inputs),
            shape=_shape(fx),
            below=shapes,
            settings={"passage": passage},
            tensors=tensors,
            module=module_path(passage.place)[0],
        )
        self.memory.add(fx, op, passage.values[0])

    def _join_spellings(self, outputs: set[str]) -> None:
        """Put channels first, and make activations that are written out one node each."""
        learned = {id(self.stored[name]) for name in self.stored.learned}
        drafts = {draft.name: draft for draft in self.drafts.values()}
        drafts, self.channels_first = read_channels_first(drafts, outputs)
        masks = {fx.name for fx in self.drafts if not fx.meta["val"].is_floating_point()}
        joined = read_spellings(drafts, outputs, lambda tensor: id(tensor) in learned, masks)
        self.drafts = {
            fx: replace(joined[fx.name], real=fx.name not in masks)
            for fx in self.drafts
            if fx.name in joined
        }

    def _settings(self, fx: Any, op: Op, bound: dict[str, Any]) -> tuple[Op, dict[str, Any]]:
        """The settings of a call, and its row: a cast to what is there already is a copy."""
        if not (op.reshapes or op.spreads) and _has_run_time_numbers(bound):
            raise UnsupportedOp(refusal(fx, "takes a number that is computed at run time"))
        try:
            settings = op.read(bound)
        except NotImplementedError as error:
            raise UnsupportedOp(refusal(fx, str(error))) from None
        if op.casts and bound["self"].meta["val"].dtype == fx.meta["val"].dtype:
            del bound["below"], bound["above"]
            return COPY, {}
        return op, settings

    def _constant(self, value: Any) -> Any:
        """An argument with stored tensors put in place of their graph nodes."""
        if _is_list(value):
            return [self._constant(item) for item in value]
        if isinstance(value, torch.fx.Node) and value.name in self.stored:
            return self.stored[value.name]
        return value

    def _value_of(self, operand: Any, fx: Any) -> Any:
        if operand not in self.memory:
            raise UnsupportedOp(refusal(fx, f"reads {operand.name}, which is no feature map"))
        if self.memory.is_stale(operand):
            raise UnsupportedOp(refusal(fx, "reads memory that was overwritten through a view"))
        return self.memory.holder(operand)

    # -- names

    def _output_values(self) -> dict[str, Any]:
        """Name of each output that is computed from the images -> the node that holds its value."""
        (output,) = (node for node in self.program.graph.nodes if node.op == "output")
        for fx in output.all_input_nodes:
            if fx in self.passing:
                raise self.passing[fx]
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
        at = {fx: self.places.get(fx, fx) for fx in self.drafts}  # what it is named after
        residents = Counter(module_path(at[fx])[1] for fx in used)
        last = {key: fx for fx in self.drafts if fx in used for key in _calls(at[fx])}
        own = {
            fx: bool(path) and residents[key] == 1 and last[key] is fx
            for fx, (path, key) in ((fx, module_path(at[fx])) for fx in used)
        }
        names: dict[Any, str] = {}
        taken = {module_path(at[fx])[0] for fx in used if own[fx]}  # its own, before any other
        for leaf in (True, False):
            for fx in (fx for fx in self.drafts if fx in used and own[fx] is leaf):
                path, kind = module_path(at[fx])[0], self.drafts[fx].kind
                if leaf and path not in names.values():
                    names[fx] = path
                else:
                    names[fx] = _free(path if leaf else f"{path}.{kind}" if path else kind, taken)
                    taken.add(names[fx])
        return names

    def _with_maps(self, names: dict[Any, str]) -> Iterator[Node]:
        """The nodes; those of tokens are followed by their feature maps, which get their names."""
        grids = {fx: grid for fx in names if (grid := self._grid(fx)) is not None}
        listed = {fx: f"{names[fx]}.tokens" for fx in grids}
        renamed = {**names, **listed}
        for fx, draft in self.drafts.items():
            if fx in names:
                yield (node := self._renamed(draft, renamed))
                if fx in grids:
                    yield feature_maps(node, names[fx], grids[fx])
        self.outputs = {
            key: next((listed[fx] for fx in listed if names[fx] == name), name)
            for key, name in self.outputs.items()
        }

    def _grid(self, fx: Any) -> Grid | None:
        """Where a layer's channels and positions are, if it does not list them as maps do."""
        op = self.drafts[fx].op
        moves = op.reshapes or op.views or op.passes_through or op.concatenates
        grid = None if fx.name in self.channels_first else grid_of(self.axes.get(fx))
        same_shape = grid is not None and len(grid.order) == len(self.drafts[fx].shape)
        return None if grid is None or grid.plain or moves or not same_shape else grid

    def _renamed(self, draft: Node, names: dict[Any, str]) -> Node:
        by_fx_name = {fx.name: name for fx, name in names.items()}
        return replace(
            draft,
            name=by_fx_name[draft.name],
            inputs=tuple(by_fx_name.get(name, INPUT) for name in draft.inputs),
        )


# --- reading one fx node --------------------------------------------------------------------------


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
    nested = plain_containers(tree_unflatten(list(range(len(values))), program.call_spec.out_spec))
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


def _written(program: Any) -> set[str]:
    """Placeholders of tensors that forward() makes of numbers, as torch.tensor(0.5) does."""
    specs = program.graph_signature.input_specs
    return {spec.arg.name for spec in specs if spec.kind is InputKind.CONSTANT_TENSOR}


def _mixes_images(fx: Any, batch: Any) -> bool:
    """Whether a value has not one row for each image, or is as long as the batch elsewhere too."""
    shape = fx.meta["val"].shape
    if not shape or not _is_same_size(shape[0], batch):
        return True
    return not all(isinstance(n, int) for n in shape[1:])


def _is_same_size(size: Any, batch: Any) -> bool:
    """Whether a size is the number of images, whatever that is.

    The symbols are compared, not their values: `2 == batch` is true of the two images that a
    network is exported with, and PyTorch would take the graph for one of two images from then on.
    """
    if isinstance(size, int) or isinstance(batch, int):
        return type(size) is type(batch) and bool(size == batch)
    return bool(size.node.expr == batch.node.expr)


def _image(program: Any) -> Any:
    """The graph's node that stands for the images."""
    user = program.graph_signature.user_inputs[0]
    (image,) = (node for node in program.graph.nodes if node.name == user)
    return image


def _batch(program: Any) -> Any:
    """The symbol that stands for the number of images."""
    return _image(program).meta["val"].shape[0]


def _shape(fx: Any) -> tuple[int, ...]:
    return tuple(int(n) for n in fx.meta["val"].shape[1:])


def _is_switches(fx: Any) -> bool:
    """Whether it is where the maxima of a pool came from: read together with the pool's input."""
    piece = fx.target is operator.getitem
    return piece and fx.args[0].target in _POOLS_WITH_SWITCHES and fx.args[1] == 1


def _bind_unpool(fx: Any, bound: dict[str, Any]) -> dict[str, Any]:
    """An unpooling as a function of two maps: its own, and the one that the switches are of."""
    switches = bound.pop("indices")
    if not (isinstance(switches, torch.fx.Node) and _is_switches(switches)):
        raise UnsupportedOp(refusal(fx, "takes switches that are not a max pool's own"))
    pool = _bind(switches.args[0])
    if "kernel_size" not in pool:
        raise UnsupportedOp(refusal(fx, "takes the switches of an adaptive max pool"))
    return {
        **{key: value for key, value in pool.items() if key != "self"},
        **bound,
        "pooled": pool["self"],
    }


def _bind(fx: Any) -> dict[str, Any]:
    """The call's arguments by the names of the ATen schema, defaults filled in."""
    if fx.target is operator.getitem:
        op = op_of(target_of(fx))
        cut = op is not None and op.cuts
        return _bind_piece(*fx.args) if cut else {**_bind(fx.args[0]), "item": fx.args[1]}
    schema = fx.target._schema.arguments
    bound = {a.name: a.default_value if a.has_default_value() else None for a in schema}
    bound.update(zip((a.name for a in schema), fx.args, strict=False))
    bound.update(fx.kwargs)
    return _bind_unpool(fx, bound) if fx.target is aten.max_unpool2d.default else bound


def _bind_piece(source: Any, index: int) -> dict[str, Any]:
    """A piece of a chunk, split or unbind, as the arguments of the cut that it is."""
    whole, pieces = _bind(source), source.meta["val"]
    if source.target is aten.unbind.int:
        return {"self": whole["self"], "dim": whole["dim"], "index": index}
    lengths = [piece.shape[whole["dim"]] for piece in pieces]
    start = sum(lengths[:index])
    end = start + lengths[index]
    return {"self": whole["self"], "dim": whole["dim"], "start": start, "end": end, "step": 1}


def _has_run_time_numbers(bound: dict[str, Any]) -> bool:
    items = (v for value in bound.values() for v in (value if _is_list(value) else (value,)))
    return any(isinstance(item, torch.fx.Node) and not is_tensor(item) for item in items)


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _tensors(bound: dict[str, Any]) -> dict[str, Tensor]:
    """The arguments that are stored; those in a list are called `name.number`."""
    tensors: dict[str, Tensor] = {}
    for key, value in bound.items():
        items = enumerate(value) if _is_list(value) else ()
        tensors.update({f"{key}.{i}": item for i, item in items if isinstance(item, Tensor)})
        if isinstance(value, Tensor):
            tensors[key] = value
    return tensors


def _operands(bound: dict[str, Any]) -> list[Any]:
    """The arguments that are values of the network, in order."""
    operands: list[Any] = []
    for value in bound.values():
        for item in value if _is_list(value) else (value,):
            if isinstance(item, torch.fx.Node) and is_tensor(item):
                operands.append(item)
    return operands


def _calls(fx: Any) -> list[str]:
    """Keys of the module calls that this operation happens in, outermost first."""
    return list(fx.meta.get("nn_module_stack") or ())


def _free(name: str, taken: set[str]) -> str:
    """The name, or the first of name:2, name:3, ... that nothing has."""
    numbered = (f"{name}:{number}" for number in count(2))
    return name if name not in taken else next(n for n in numbered if n not in taken)


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

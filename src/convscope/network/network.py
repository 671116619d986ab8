"""A network as its users see it: read from a module, printed, run, and traced."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from convscope.display import html_table
from convscope.errors import BadInput, BadOption
from convscope.network.from_export import read_network
from convscope.network.graph import Graph, Layer
from convscope.network.local.receptive_windows import ReceptiveWindows, receptive_windows_of
from convscope.network.task import Task
from convscope.network.trace import Trace

__all__ = ["Layer", "Network", "open_network"]

HEAD = ("layer", "kind", "shape", "field", "stride", "start", "status")


class Network(Graph):
    """A network read from a PyTorch module; `print(network)` shows its layers as a table.

    Networks are opened with `open_network`.

    The tensors are the module's own, not copies: train the module on, and this follows. What the
    module computes from its parameters in forward(), as weight standardisation and weight norm do,
    is computed anew after a parameter was written to, by an optimiser, `load_state_dict` or under
    `torch.no_grad()`; but not through `.data`, which PyTorch does not count. Open the network again
    after that, and where a parameter was replaced by another one. A network that `to` has moved to
    another device or dtype has copies, and follows no more.

    Attributes:
        output: The layer that is the network's answer: its scores, if it classifies.
        outputs: The layer of every output by its name; the name is "" where there is one output.

    Example:
        >>> [layer.name for layer in network.layers]
        ['conv1', 'relu1', 'pool', 'conv2', 'relu2', 'global_pool', 'flatten', 'classifier']
        >>> network.trace(image)["conv2"].shape
        torch.Size([1, 8, 16, 16])
    """

    def trace(self, images: Tensor, layers: Iterable[str] | None = None) -> Trace:
        """Run one forward pass and keep everything that a projection may ask for.

        Args:
            images: The images, preprocessed.
            layers: Run no further than these; default: the whole network.

        Shape:
            images: (N, C, H, W) or (C, H, W).

        Example:
            >>> len(network.trace(image, ["conv1"]))
            1
        """
        return Trace.record(self, images, layers)

    def cone(self, layer: str) -> ReceptiveWindows | None:
        """Return the receptive cone of a layer's units; None where windows do not move with them.

        Args:
            layer: The layer.
        """
        return receptive_windows_of(self, layer)

    def table(self) -> list[dict[str, object]]:
        """A row per layer, JSON-able: what `convscope layers --json` prints."""
        return [_row(layer) for layer in self.layers]

    def _repr_html_(self) -> str:
        return html_table(HEAD, map(_cells, self.layers), caption=repr(self).strip("<>"))

    def __str__(self) -> str:
        rows = [HEAD, *(_cells(layer) for layer in self.layers)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
        lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows)
        return "\n".join(line.rstrip() for line in lines)


def open_network(
    module: nn.Module,
    input_shape: tuple[int, int, int],
    *,
    output: str | int | None = None,
    task: Task | str = Task.AUTO,
) -> Network:
    """Read a PyTorch module into a `Network`, through `torch.export`.

    The module comes back as it was.

    Args:
        module: The module; its weights may be trained or not.
        input_shape: (C, H, W) of the images it takes.
        output: Which of several outputs is the network's answer, by its name or its number from
            0; by default the first that it returns. The others are layers like any other.
        task: What the numbers of its answer are meant as: auto, classify, multilabel or regress.

    Raises:
        BadModel: The module cannot be exported.
        UnsupportedOp: It uses an operation that is not in the op table.
        BadOption: There is no such output, or task.

    Example:
        >>> network = convscope.open_network(module, (3, 32, 32))
        >>> network.output
        'classifier'
    """
    if len(input_shape) != 3 or any(n < 1 for n in input_shape):
        raise BadInput(f"input_shape is {tuple(input_shape)}: give (channels, height, width)")
    if task not in list(Task):
        raise BadOption(f"task {task!r}: it is {', '.join(Task)}")
    read = read_network(module, input_shape)
    first = next(iter(read.outputs.values()))
    network = Network(read.nodes, input_shape, read.outputs, first, read.constants, Task(task))
    if output is not None:
        network.output = network.output_layer(output)
    return network


def _row(layer: Layer) -> dict[str, object]:
    windows = (layer.field.rows, layer.field.columns)
    return {
        "name": layer.name,
        "kind": layer.kind,
        "shape": list(layer.shape),
        "receptive_field": [w.size for w in windows],
        "stride": [_number(w.stride) for w in windows],
        "start": [_number(w.start) for w in windows],
        "status": layer.status.value,
        "inputs": list(layer.inputs),
    }


def _cells(layer: Layer) -> tuple[str, ...]:
    row = _row(layer)
    if layer.field.rows.is_whole and layer.field.columns.is_whole:
        geometry: tuple[str, ...] = ("whole image", "-", "-")
    else:
        geometry = tuple(_axes(row[key]) for key in ("receptive_field", "stride", "start"))
    return (layer.name, layer.kind, layer.size, *geometry, layer.status.value)


def _axes(values: object) -> str:
    assert isinstance(values, list)
    rows, columns = (f"{v:g}" for v in values)
    return rows if rows == columns else f"{rows}x{columns}"


def _number(value: object) -> int | float:
    number = float(value)  # type: ignore[arg-type]
    return int(number) if number.is_integer() else number

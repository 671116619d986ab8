"""A quick export is the export: the same graph, with the same shapes, as torch's own."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_impls import get_fast_op_impls

from convscope.errors import BadModel
from convscope.network import export as exporting
from convscope.network.quick_export import IN_PLACE, POINTWISE


class Everything(nn.Module):
    """All whose shapes are said at once, on maps, on a vector, and where they read a view."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.dense = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.norm(self.conv(x))
        for function in POINTWISE:
            x = function(x) + 1
        for function in IN_PLACE:
            x = function(x.clone())
        turned = F.relu(x.transpose(2, 3)) + F.silu(x[:, :1])
        small = F.hardswish(self.norm(F.adaptive_avg_pool2d(x, 1)))
        return turned, self.dense(torch.sigmoid(small.flatten(1)))


def told(program: Any) -> list[Any]:
    """All that is read of a graph, and how its values lie in memory."""
    found: list[Any] = [str(program.graph_signature), str(program.range_constraints)]
    for fx in program.graph.nodes:
        value = fx.meta.get("val")
        values = value if isinstance(value, (tuple, list)) else [value]
        forms = [
            (str(v.shape), str(v.stride()), v.dtype) if isinstance(v, Tensor) else str(v)
            for v in values
        ]
        where = fx.meta.get("stack_trace"), str(fx.meta.get("nn_module_stack"))
        found.append((fx.name, str(fx.target), str(fx.args), str(fx.kwargs), forms, where))
    return found


@pytest.mark.parametrize(
    "change",
    [{}, {"dtype": torch.bfloat16}, {"memory_format": torch.channels_last}],
    ids=["float32", "bfloat16", "channels last"],
)
def test_the_graph_is_torch_s_own(change: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    module = Everything().to(**change)
    before = dict(get_fast_op_impls())
    quick = exporting.export(module, (3, 6, 6))
    assert get_fast_op_impls() == before  # nothing of torch's stays changed
    monkeypatch.setattr(exporting, "quick_export", lambda _: nullcontext())
    plain = exporting.export(module, (3, 6, 6))
    assert told(quick) == told(plain)


def test_what_does_not_fit_is_refused_as_before() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(5, 6))
    before = dict(get_fast_op_impls())
    with pytest.raises(BadModel, match="5"):
        exporting.export(module, (3, 6, 6))
    assert get_fast_op_impls() == before

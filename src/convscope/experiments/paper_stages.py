"""The stages of the paper's reproduction in their order, and what some data do not allow."""

from __future__ import annotations

from convscope.experiments.laboratory import Laboratory
from convscope.experiments.stage import Stage
from convscope.experiments.stages_of_figures import cover, examine, look, move, watch
from convscope.experiments.stages_of_tables import (
    ablation,
    average,
    correspond,
    depth,
    serve,
    several,
    train_all,
)

__all__ = ["STAGES"]


def _no_other_classes(lab: Laboratory) -> str:
    if lab.places.transfer is not None:
        return ""
    return f"{lab.data} has no folder transfer/ with labelled images of other classes"


def _no_several(lab: Laboratory) -> str:
    if lab.places.several is not None:
        return ""
    return f"{lab.data}: its images are of one class each (convscope transfer takes others)"


def _no_parts(lab: Laboratory) -> str:
    if lab.scenes or lab.marked:
        return ""
    return f"{lab.val.spec} holds no parts.json: nobody says where the parts are in its images"


STAGES = (
    Stage("training", "The networks", "Fig. 3, §3, Table 1", train_all),
    Stage("fig2", "Feature visualisation", "Fig. 2, §4", look),
    Stage("fig4", "Feature evolution during training", "Fig. 4, §4", watch),
    Stage("fig5", "Architecture selection", "Fig. 5, §4.1", examine),
    Stage("fig6", "Occlusion sensitivity", "Fig. 6, §4.2", cover),
    Stage("invariance", "Feature invariance", "arXiv Fig. 5, §4.1", move),
    Stage("correspondence", "Correspondence analysis", "arXiv Table 1, §4.4", correspond,
          _no_parts),
    Stage("table1", "Networks averaged", "Table 1, §5.1", average),
    Stage("table2", "Varying the model", "Table 2, §5.1", ablation),
    Stage("transfer", "Feature generalisation", "Tables 3, 4 and Fig. 9, §5.2", serve,
          _no_other_classes),
    Stage("multi", "Several objects an image", "Table 5, §5.2", several, _no_several),
    Stage("depth", "Feature analysis", "Table 7, §5.3", depth, _no_other_classes),
)  # fmt: skip
"""In the order in which they run."""

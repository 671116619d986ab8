"""The stages of the paper's reproduction in their order, and what some data do not allow."""

from __future__ import annotations

from convscope.experiments.paper.run_context import RunContext
from convscope.experiments.paper.stage import Stage
from convscope.experiments.paper.stages_of_figures import (
    run_fig2,
    run_fig4,
    run_fig5,
    run_fig6,
    run_invariance,
    run_pictures,
    run_sanity,
)
from convscope.experiments.paper.stages_of_tables import (
    run_correspondence,
    run_depth,
    run_multi,
    run_table1,
    run_table2,
    run_training,
    run_transfer,
)
from convscope.experiments.paper.stages_of_trials import (
    run_pretraining,
    run_remedy,
    run_surroundings,
)

__all__ = ["STAGES"]


def _no_other_classes(lab: RunContext) -> str:
    if lab.places.transfer is not None:
        return ""
    return f"{lab.data} has no folder transfer/ with labelled images of other classes"


def _no_several(lab: RunContext) -> str:
    if lab.places.several is not None:
        return ""
    return f"{lab.data}: its images are of one class each (convscope transfer takes others)"


def _no_parts(lab: RunContext) -> str:
    if lab.scenes or lab.marked:
        return ""
    return f"{lab.val.spec} holds no parts.json: nobody says where the parts are in its images"


def _no_grounds(lab: RunContext) -> str:
    if lab.scenes:
        return ""
    return f"{lab.data}: only of scenes can the ground be made to tell the class"


STAGES = (
    Stage("training", "The networks", "Fig. 3, §3, Table 1", run_training),
    Stage("fig2", "Feature visualisation", "Fig. 2, §4", run_fig2),
    Stage("fig4", "Feature evolution during training", "Fig. 4, §4", run_fig4),
    Stage("fig5", "Architecture selection", "Fig. 5, §4.1", run_fig5),
    Stage("remedy", "The remedy tried", "Fig. 5, §4.1", run_remedy),
    Stage("fig6", "Occlusion sensitivity", "Fig. 6, §4.2", run_fig6),
    Stage("surroundings", "The object, or what surrounds it?", "Fig. 6, §4.2", run_surroundings,
          _no_grounds),
    Stage("invariance", "Feature invariance", "arXiv Fig. 5, §4.1", run_invariance),
    Stage("correspondence", "Correspondence analysis", "arXiv Table 1, §4.4", run_correspondence,
          _no_parts),
    Stage("table1", "Networks averaged", "Table 1, §5.1", run_table1),
    Stage("table2", "Varying the model", "Table 2, §5.1", run_table2),
    Stage("transfer", "Feature generalisation", "Tables 3, 4 and Fig. 9, §5.2", run_transfer,
          _no_other_classes),
    Stage("multi", "Several objects an image", "Table 5, §5.2", run_multi, _no_several),
    Stage("depth", "Feature analysis", "Table 7, §5.3", run_depth, _no_other_classes),
    Stage("pretraining", "Learned without labels", "§1; Bengio et al. 2007, Vincent et al. 2008",
          run_pretraining, _no_other_classes),
    Stage("sanity", "What the pictures are worth",
          "Nie et al. 2018, Adebayo et al. 2018, Sixt et al. 2020", run_sanity),
    Stage("pictures", "Every picture of a unit, and what each is worth",
          "Fig. 2, beside the methods before and after it", run_pictures),
)  # fmt: skip
"""In the order in which they run."""

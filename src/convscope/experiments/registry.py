"""The studies there are: each is a verb of the command line, in the order of `convscope --help`."""

from __future__ import annotations

from convscope.experiments.ablation.study import AblateStudy
from convscope.experiments.adaptive.study import AdaptiveStudy
from convscope.experiments.atlas import AtlasStudy
from convscope.experiments.comparison.study import CompareStudy
from convscope.experiments.correspondence.study import CorrespondStudy
from convscope.experiments.diagnosis.study import DiagnoseStudy
from convscope.experiments.ensemble.study import EnsembleStudy
from convscope.experiments.evolution.study import EvolveStudy
from convscope.experiments.invariance.study import InvarianceStudy
from convscope.experiments.localization.study import LocalizeStudy
from convscope.experiments.mistakes.study import ErrorsStudy
from convscope.experiments.paper.study import PaperStudy
from convscope.experiments.pictures.study import PicturesStudy
from convscope.experiments.removal.study import RemoveUnitsStudy
from convscope.experiments.sanity.study import SanityStudy
from convscope.experiments.sensitivity.study import SensitivityStudy
from convscope.experiments.study import Study
from convscope.experiments.train import TrainStudy
from convscope.experiments.transfer.study import ProbeStudy, TransferStudy

__all__ = ["STUDIES"]

STUDIES: tuple[type[Study], ...] = (
    AtlasStudy,
    TrainStudy,
    DiagnoseStudy,
    AblateStudy,
    EnsembleStudy,
    EvolveStudy,
    InvarianceStudy,
    CorrespondStudy,
    SensitivityStudy,
    RemoveUnitsStudy,
    PicturesStudy,
    SanityStudy,
    CompareStudy,
    LocalizeStudy,
    ErrorsStudy,
    TransferStudy,
    ProbeStudy,
    AdaptiveStudy,
    PaperStudy,
)

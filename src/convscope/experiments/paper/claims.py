"""The claims of Zeiler & Fergus 2014 as data: each with the paper's numbers and how it is judged.

"arXiv" is the paper's first version, 1311.2901. judging_figures.py and judging_tables.py judge. The
last ones are of works that tested such pictures; judging_pictures.py judges them.
"""

from __future__ import annotations

from convscope.experiments.claims import Claim
from convscope.experiments.number_words import plus_minus
from convscope.experiments.paper.judging_figures import (
    LINE,
    fig2_learned,
    fig2_rises,
    fig4_lower_first,
    fig5_aliasing,
    fig5_dead,
    fig5_dominance,
    fig5_middle,
    fig6_localises,
    fig6_structure,
    invariance_line,
    invariance_rotation,
    invariance_sharp,
    remedy_errs_less,
    surroundings_told_apart,
)
from convscope.experiments.paper.judging_pictures import (
    sanity_disc,
    sanity_units,
    sanity_weights,
    sanity_where,
)
from convscope.experiments.paper.judging_tables import (
    ALIKE,
    FEW,
    correspondence_alike,
    correspondence_fades,
    depth_deeper,
    multi_learned,
    pretraining_lead,
    table1_averages,
    table2_claim,
    training_beats,
    transfer_features_win,
    transfer_few_suffice,
)
from convscope.experiments.published import (
    ARXIV_TABLE1,
    TABLE1,
    TABLE2,
    TABLE3,
    TABLE5,
    TABLE7,
)

__all__ = ["CLAIMS", "claims_of"]

_ONE = TABLE1["ZFNet, 1 net"].top1
_ALEXNET = {name: row.alexnet.top1 for name, row in TABLE2.items() if row.alexnet}
_ZFNET = {name: row.zfnet.top1 for name, row in TABLE2.items() if row.zfnet}
_FEATURES, _SCRATCH = (plus_minus(*TABLE3[each][30], unit=1) for each in ("softmax", "scratch"))
_SVM = {number: known["svm"][0] for number, known in TABLE7.items()}
_SOFTMAX = {n: known["softmax"][0] for n, known in TABLE7.items() if "softmax" in known}
_LEFT, _RIGHT, _NOSE = (
    [delta for delta, _ in ARXIV_TABLE1[part]] for part in ("left eye", "right eye", "nose")
)
_RANDOM = [plus_minus(*each, digits=3, unit=1) for each in ARXIV_TABLE1["random"]]

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "fig2-hierarchy", "fig2", "Fig. 2, §4.1",
        "Features form a hierarchy: low layers answer to edges and colours, high ones to kinds of "
        "object.",
        "shown in pictures, no number",
        "Among a map's strongest images, more pairs are of one class in the last layer than in the "
        "first.",
        fig2_rises,
    ),
    Claim(
        "fig2-learned", "fig2", "Fig. 2, §4.1",
        "Each high feature map groups images of one kind: it has learned to.",
        "shown in pictures, no number",
        "In the last layer more such pairs are of one class than before training, on the same "
        "images.",
        fig2_learned,
    ),
    Claim(
        "fig4-projection", "fig4", "Fig. 4, §4.1",
        "Lower layers converge within a few epochs, upper layers only after many.",
        "a few epochs; 40 to 50 of 70",
        "Rank correlation of a map's layer with the epoch from which on its projection stays: "
        "above 0.",
        fig4_lower_first("projection"),
    ),
    Claim(
        "fig4-filter", "fig4", "Fig. 4, §4.1",
        "The same of the filters themselves, which do not pass through the layers below.",
        "not measured",
        "Rank correlation of a map's layer with the epoch from which on its filter stays: above 0.",
        fig4_lower_first("filter"),
    ),
    Claim(
        "fig5-dominance", "fig5", "Fig. 5(a, b), §3",
        "Without renormalisation a few first-layer filters dominate.",
        "shown in pictures, no number",
        "Gini's coefficient of the filters' energy, without renormalisation less with it, seed by "
        "seed, is above 0.",
        fig5_dominance,
    ),
    Claim(
        "fig5-middle", "fig5", "Fig. 5(b, c), §4.1",
        "AlexNet's first layer mixes extremely high and low frequencies, with little between; "
        "ZFNet's does not.",
        "shown in pictures, no number",
        "Share of the filters tuned to the middle octave, 1/8 to 1/4 cycle per pixel: ZFNet's less "
        "AlexNet's, over the seeds, is above 0.",
        fig5_middle,
    ),
    Claim(
        "fig5-aliasing", "fig5", "Fig. 5(d, e), §4.1",
        "A stride of 4 makes aliasing artefacts; with stride 2 there are none.",
        "shown in pictures, no number",
        "Share of the first layer's answer to images that is too fine for its stride: AlexNet's "
        "less ZFNet's, over the seeds, is above 0.",
        fig5_aliasing,
    ),
    Claim(
        "fig5-dead", "fig5", "Fig. 5(c), §4.1",
        "ZFNet has fewer dead features.",
        "shown in pictures, no number",
        "Share of the maps of layers 1 and 2 that are dead or nearly dead: AlexNet's less ZFNet's, "
        "over the seeds, is above 0.",
        fig5_dead,
    ),
    Claim(
        "remedy-error", "remedy", "§4.1 and Table 1",
        "What the pictures show to be wrong, once changed, makes the network better.",
        "AlexNet's 40.5 % fall to ZFNet's 38.4",
        "AlexNet's validation error less that of what its own diagnosis makes of it, seed by seed, "
        "is above 0.",
        remedy_errs_less,
    ),
    Claim(
        "fig6-object", "fig6", "Fig. 6, §4.2",
        "Covering the object lowers the probability of its class: the network localises it.",
        "shown on three images",
        "The probability's fall tells the object from the ground: area under the ROC curve above "
        "0.5.",
        fig6_localises,
    ),
    Claim(
        "fig6-structure", "fig6", "Fig. 6, §4.2",
        "Covering what a map's projection shows lowers that map's activity: the projection is "
        "genuine.",
        "shown on three images",
        "Rank correlation of the activity's fall with the projection's energy there: above 0.",
        fig6_structure,
    ),
    Claim(
        "surroundings-told", "surroundings", "Fig. 6, §4.2",
        "Occlusion tells a network that knows the object from one that uses what surrounds it.",
        "asked, not measured",
        "ROC area of the probability's fall, object against ground: that of a network that learned "
        "with grounds that say nothing less that of one whose grounds told the class, image by "
        "image, is above 0.",
        surroundings_told_apart,
    ),
    Claim(
        "invariance-small", "invariance", "arXiv Fig. 5, §4.1",
        "Small shifts and scalings change the first layer drastically, the top layer little.",
        "shown as curves of 5 images",
        "After a tenth of the range the first layer is closer to its largest distance than the "
        "last.",
        invariance_sharp,
    ),
    Claim(
        "invariance-line", "invariance", "arXiv Fig. 5, §4.1",
        "The top layer changes quasi-linearly with shift and scale.",
        "shown as curves of 5 images",
        f"R² of a line through the origin, mean of shift and scale, above {LINE:g}.",
        invariance_line,
    ),
    Claim(
        "invariance-rotation", "invariance", "arXiv Fig. 5, §4.1",
        "The output is stable under shifts and scalings, not under rotation.",
        "shown as curves of 5 images",
        "Turning costs the class more of its probability than shift and scale.",
        invariance_rotation,
    ),
    Claim(
        "correspondence-parts", "correspondence", "arXiv Table 1, §4.4",
        "The network treats the same part of different faces alike, more than random places.",
        f"layer 5: eyes {_RIGHT[0]} and {_LEFT[0]}, nose {_NOSE[0]}; random {_RANDOM[0]}",
        f"Δ of every part is below that of random places (p < {ALIKE:g} each), by a larger share "
        "than in the same pictures before training.",
        correspondence_alike,
    ),
    Claim(
        "correspondence-fades", "correspondence", "arXiv Table 1, §4.4",
        "In the top layer parts and random places are about equal: it tells the breeds apart.",
        f"layer 7: {_LEFT[1]} to {_RIGHT[1]}; random {_RANDOM[1]}",
        "Parts lie further below random places, as a share, in the lower of the two layers.",
        correspondence_fades,
    ),
    Claim(
        "table1-zfnet", "training", "Table 1, §5.1",
        "The architecture chosen by looking (7×7, stride 2) errs less than AlexNet's.",
        f"top-1 error {_ONE} against {TABLE1['replication, 1 net'].top1} %, 1 net each",
        "AlexNet's validation error less ZFNet's, seed by seed, is above 0.",
        training_beats,
    ),
    Claim(
        "table1-ensemble", "table1", "Table 1, §5.1",
        "The average of several networks errs less than one of them.",
        f"{TABLE1['5 ZFNets (a)'].top1} (5 nets) against {_ONE} %",
        "The mean error of its members minus that of the average, image by image, is above 0.",
        lambda found: table1_averages(found.zfnets),
    ),
    Claim(
        "table2-depth", "table2", "Table 2, §5.1",
        "Depth matters: without layers 3, 4, 6 and 7 far more is lost than without either pair.",
        f"{_ALEXNET['without layers 3,4,6,7']} % error; {_ALEXNET['without layers 3,4']} without "
        f"3, 4; {_ALEXNET['without layers 6,7']} without 6, 7; {_ALEXNET['none']} with all",
        "The loss is above 0, and exceeds the sum of the losses without either pair.",
        table2_claim("table2-depth"),
    ),
    Claim(
        "table2-dense", "table2", "Table 2, §5.1",
        "Without both fully connected layers, most of the parameters, little is lost.",
        f"{_ALEXNET['without layers 6,7']} against {_ALEXNET['none']} %",
        "The loss is below a quarter of what removing all four layers costs.",
        table2_claim("table2-dense"),
    ),
    Claim(
        "table2-wider", "table2", "Table 2, §5.1",
        "Wider middle convolutions lower the error.",
        f"{_ZFNET['layers 3,4,5 wider']} against {_ZFNET['none']} %",
        "Error of the whole network less that with more maps is above 0.",
        table2_claim("table2-wider"),
    ),
    Claim(
        "transfer-scratch", "transfer", "Tables 3 and 4, §5.2",
        "Features learned on one task serve another: far better than learning it from scratch.",
        f"Caltech-101, 30 per class: {_FEATURES} against {_SCRATCH} %",
        "Accuracy of a softmax on frozen features less that from scratch, fold by fold, above 0 at "
        "the largest number of images per class.",
        transfer_features_win,
    ),
    Claim(
        "transfer-few", "transfer", "Fig. 9, §5.2",
        "A few images per class suffice to beat what others reach with ten times as many.",
        "6 per class beat the best earlier method at 60 (Caltech-256)",
        f"Frozen features from about {FEW} images per class beat training from scratch on the "
        "largest number per class.",
        transfer_few_suffice,
    ),
    Claim(
        "multi-precision", "multi", "Table 5, §5.2",
        "The features serve images of several objects, too, if less well.",
        f"mean AP {TABLE5['ZFNet']} (others {TABLE5['Sande et al.']} and {TABLE5['Yan et al.']})",
        "Mean average precision of a logistic loss per class is above that before training.",
        multi_learned,
    ),
    Claim(
        "depth-svm", "depth", "Table 7, §5.3",
        "The deeper the layer, the better its features tell the classes (linear SVM).",
        f"Caltech-101: {_SVM[1]} from layer 1, {_SVM[5]} from 5, {_SVM[7]} from 7",
        "Spearman's rank correlation of accuracy with depth over the hidden layers, mean over "
        "folds, above 0.",
        depth_deeper("svm"),
    ),
    Claim(
        "depth-softmax", "depth", "Table 7, §5.3",
        "The same of a softmax.",
        f"Caltech-101: {_SOFTMAX[5]} from layer 5, {_SOFTMAX[7]} from 7",
        "Spearman's rank correlation of accuracy with depth over the hidden layers, mean over "
        "folds, above 0.",
        depth_deeper("softmax"),
    ),
    Claim(
        "pretraining-supervised", "pretraining", "§1",
        "Features learned from labels serve other classes better than features learned without "
        "them: supervised against unsupervised pre-training.",
        "named as its contrast, no number",
        "Accuracy of a linear SVM on the best hidden layer: learned from labels less learned layer "
        "by layer by denoising autoencoders, fold by fold, is above 0.",
        pretraining_lead("supervised", "unsupervised"),
    ),
    Claim(
        "pretraining-learned", "pretraining", "Bengio et al. 2007, Vincent et al. 2008",
        "Layers learned without labels serve better than random ones.",
        "not measured",
        "The same of the autoencoders' layers less those of the network before its first step: "
        "above 0.",
        pretraining_lead("unsupervised", "random"),
    ),
    Claim(
        "sanity-units", "sanity", "Sixt et al. 2020",
        "Deconvnet and guided pictures of different units of one place agree more than the "
        "gradient's: they do not tell which unit it is.",
        "shown for many networks; the gradient passes",
        "In the last convolution, mean correlation with the pictures of other strong units of the "
        "place: that of each of the two less the gradient's, image by image, is above 0.",
        sanity_units,
    ),
    Claim(
        "sanity-weights", "sanity", "Adebayo et al. 2018, Nie et al. 2018",
        "They change less when the network's weights are drawn anew, layer by layer: they show the "
        "image more than what was learned.",
        "guided backprop hardly changes with the upper layers",
        "Correlation of a class's picture with that of the network drawn anew, mean over the steps "
        "from the top down: that of each of the two less the gradient's, image by image, is above "
        "0.",
        sanity_weights,
    ),
    Claim(
        "sanity-where", "sanity", "Fig. 6, §4.2, Nie et al. 2018",
        "A deep deconvnet picture shows where in the image the activation comes from.",
        "shown in pictures, no number",
        "In the last convolution, the unit falls more with the picture's strongest places covered "
        "than with the mask moved: the difference, image by image, is above 0.",
        sanity_where,
    ),
    Claim(
        "sanity-disc", "sanity", "asked of Fig. 6",
        "It shows more of that than the centre of what the unit sees.",
        "not measured",
        "The same against a disc in the centre of the field, as large as the mask: above 0.",
        sanity_disc,
    ),
)  # fmt: skip
"""In the paper's order; then those of later works."""


def claims_of(item: str) -> tuple[Claim, ...]:
    """Those that a stage's result decides."""
    return tuple(claim for claim in CLAIMS if claim.item == item)

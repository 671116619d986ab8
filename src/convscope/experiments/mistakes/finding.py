"""From a network and labelled images to what is known of its mistakes and of the labels."""

from __future__ import annotations

import numpy as np
import torch

from convscope.errors import BadData
from convscope.experiments.mistakes.answers import AnswerObserver
from convscope.experiments.mistakes.examined import ExaminedImages
from convscope.experiments.mistakes.judging import JudgedMistakes
from convscope.experiments.mistakes.removing import NamedMap, removals
from convscope.experiments.mistakes.result import Mistakes
from convscope.experiments.mistakes.telling import CLAIMED, CandidateMap
from convscope.experiments.study import Context
from convscope.scan.checkpoint import checkpoint_in
from convscope.scan.engine import Scan
from convscope.scan.features import FeatureSettings, FeatureWriter
from convscope.scan.items import made_together
from convscope.store.results import Arrays, ResultStore

__all__ = ["find_mistakes"]

REMOVED = 12  # maps that are taken away, at most, the surest


def find_mistakes(examined: ExaminedImages, results: ResultStore, context: Context) -> Mistakes:
    """Look for confusions, maps that tell them, labels in doubt, and pairs.

    Args:
        examined: the network and the images.
        results: where what takes time is kept.
        context: how it runs.

    Returns:
        What was found, in every process.

    Raises:
        BadData: no image can be read, or too few of each class.
        NonFinite: a layer is NaN or infinite.
    """
    scan = Scan(
        examined.session.network, examined.images, examined.session.model.preprocess,
        batch_size=context.running.batch_size, workers=context.running.workers,
        ranks=context.together(), progress=context.progress,
    )  # fmt: skip
    seen = _seen(examined, scan, results)
    judged: list[JudgedMistakes] = []  # in the first process alone

    def claimed() -> list[CandidateMap]:
        judged.append(JudgedMistakes.of(examined, seen, results, context))
        return [told for told in judged[0].maps if told.corrected < CLAIMED][:REMOVED]

    claims = [NamedMap(told, examined.units[told.map]) for told in scan.ranks.from_first(claimed)]
    removed = []
    if claims and examined.judged:
        removed = removals(claims, examined.labels, scan, results, seed=examined.asked.seed)
    return scan.ranks.from_first(lambda: judged[0].result(removed, results, context))


def _seen(examined: ExaminedImages, scan: Scan, results: ResultStore) -> Arrays:
    """The maps' activations, the features and the answers, in one pass."""
    network, how = scan.network, FeatureSettings("mean")
    nodes = dict.fromkeys([*map(network.activation, examined.layers), examined.layer])
    commits = checkpoint_in(results, "seen")

    def looked_at() -> Arrays:
        shape = len(examined.images)
        tables = {n: np.zeros((shape, how.length_of(network, n)), how.dtype) for n in nodes}
        writer = FeatureWriter(
            network, examined.images, tuple(nodes), how, tables if scan.ranks.first else None
        )
        answers = (
            AnswerObserver(network, torch.from_numpy(examined.labels)) if examined.judged else None
        )
        ran = scan.run(*([writer, answers] if answers else [writer]), commits=commits)
        rows = writer.tables or {}
        unread = [(name, reason) for _, name, reason in ran.skipped]
        return {
            "readable": np.isin(
                np.arange(shape), [index for index, _, _ in ran.skipped], invert=True
            ),
            "unread": np.array(unread or np.zeros((0, 2)), np.str_),
            "maps": np.concatenate([rows[network.activation(n)] for n in examined.layers], 1),
            "features": rows[examined.layer],
            **(
                {"predicted": answers.predicted.numpy(), "loss": answers.loss.numpy()}
                if answers
                else {}
            ),
        }

    found = made_together("seen", looked_at, results, results.arrays, ranks=scan.ranks)
    if commits is not None and scan.ranks.first:
        commits.remove()  # what it found is kept
    if not found["readable"].any():
        name, reason = found["unread"][0]
        raise BadData(f"{examined.images.spec}: no image can be read; {name}: {reason}")
    return found

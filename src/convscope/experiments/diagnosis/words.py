"""A diagnosis and a trial in words: tables and findings, a line each."""

from __future__ import annotations

from collections.abc import Sequence

from convscope.experiments.diagnosis.diagnosis import Diagnosis
from convscope.experiments.diagnosis.findings import Severity
from convscope.experiments.diagnosis.trial import Attempt, Trial
from convscope.experiments.number_words import minus, plus_minus, spread_words
from convscope.text import table

__all__ = ["diagnosis_words", "trial_words"]

LEGEND = (
    "strongest 5 %: their share of the filters' energy; max/median: of the filters' strengths;",
    "dead: maps that never answer; rare: maps that answer at fewer than 0.1 % of positions;",
    "copies: filters that repeat another; zeros: share of the activations; folded: share of the",
    "answer too fine for the stride; unsteady: share of the variance that does not move with the",
    "image",
)


def diagnosis_words(diagnosis: Diagnosis) -> list[str]:
    """A table of the layers with its legend, then the findings with their remedies."""
    return [*_table(diagnosis), *LEGEND, "", *_findings(diagnosis)]


def trial_words(trial: Trial) -> list[str]:
    """What was found, what was applied, and what came of it, a line each."""
    lines = [f"found: {f.layer}, {f.kind} ({f.severity})" for f in trial.findings]
    lines += [f"applied: {words}" for words in trial.change.applied]
    lines += [f"left to you: {words}" for words in trial.change.left]
    lines += ["", *_rows("before", trial.before), *_rows("after", trial.after)]
    if trial.after:
        return [*lines, "", _outcome(trial)]
    found = any(finding.severity is Severity.FAULT for finding in trial.findings)
    why = "None of its faults has a remedy that can be applied" if found else "No fault was found"
    return [*lines, "", f"{why}: there is nothing to try."]


def _rows(when: str, attempts: Sequence[Attempt]) -> list[str]:
    return [
        f"{when:6}  seed {attempt.training.seed}  error {attempt.training.error:6.1%}  "
        f"train {attempt.training.train_error:6.1%}  {attempt.parameters:,} weights  "
        f"{attempt.training.seconds:.0f} s  faults: {'; '.join(attempt.faults) or 'none'}"
        for attempt in attempts
    ]


def _outcome(trial: Trial) -> str:
    before, after = (
        spread_words([attempt.training.error for attempt in attempts])
        for attempts in (trial.before, trial.after)
    )
    said = f"validation error in % {before} before, {after} after: difference "
    sure = trial.difference
    if sure is None or sure.low is None or sure.high is None:
        return f"{said}{plus_minus(trial.differences[0], None)} points, of one seed"
    interval = minus(f"{100 * sure.low:.1f} to {100 * sure.high:.1f}")
    return f"{said}{plus_minus(sure.mean, sure.deviation)} points (95 % interval {interval})"


def _table(diagnosis: Diagnosis) -> list[str]:
    """A line per layer."""
    head = (
        "layer", "filters", "stride", "strongest 5 %", "max/median", "dead", "rare", "copies",
        "zeros", "folded", "unsteady",
    )  # fmt: skip
    rows = []
    for layer in diagnosis.layers:
        seen, maps = layer.activity, layer.shape[0]
        rare = None if seen is None else seen.nearly_dead
        rows.append(
            (
                layer.name,
                f"{maps} of {_sides(layer.kernel)}",
                _sides(layer.stride),
                f"{layer.strength.top_share:.0%}",
                f"{layer.strength.ratio:.1f}",
                "-" if seen is None else str(len(seen.dead)),
                "-" if rare is None else str(len(rare)),
                str(layer.twins.redundant),
                _share(None if seen is None else seen.sparsity),
                _share(None if layer.folding is None else layer.folding.mean),
                _share(layer.unsteadiness),
            )
        )
    return table(head, rows, left=True)


def _findings(diagnosis: Diagnosis) -> list[str]:
    """The findings in words, with their remedies."""
    lines = []
    for finding in diagnosis.findings:
        lines.append(f"{finding.severity}: {finding.layer}, {finding.kind}: {finding.words}")
        lines += [f"    remedy: {remedy.said}" for remedy in finding.remedies]
    return lines or ["Nothing was found to be wrong."]


def _sides(sides: tuple[int, int]) -> str:
    return str(sides[0]) if sides[0] == sides[1] else f"{sides[0]}x{sides[1]}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"

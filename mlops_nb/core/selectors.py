"""Run selectors, git-like: one grammar for magics, Python, command line and reports.

@last  @last~2          the newest run, the one two before it
@best:val_auc           the highest latest value of a metric; for a loss the lowest
@worst:loss             the other end
@main                   the newest finished run of the default branch in CI (of this notebook, where one is known)
tag:baseline            the newest run with this tag; tag:stage=prod with this value
7f2c                    a prefix of a run id (at least 4 digits)
calm-ibis-12            a run name (the newest of that name)
"""

from __future__ import annotations

import re

import msgspec

from mlops_nb.errors import SelectorError


class Last(msgspec.Struct, frozen=True):
    back: int = 0


class Extreme(msgspec.Struct, frozen=True):
    """The run with the best (or worst) latest value of a metric."""

    key: str
    best: bool = True


class Main(msgspec.Struct, frozen=True):
    """The newest finished run of the default branch, whatever that is called, by `mlops-nb ci run`."""


class Tagged(msgspec.Struct, frozen=True):
    key: str
    value: str | None = None


class Named(msgspec.Struct, frozen=True):
    """A run id, a prefix of one, or a run name; `id_prefix` is set where the text can be an id."""

    text: str
    id_prefix: str | None = None


Selector = Last | Extreme | Main | Tagged | Named

_LAST = re.compile(r"@last(?:~(\d+))?")
_EXTREME = re.compile(r"@(best|worst):(.+)")
_ID_PREFIX = re.compile(r"[0-9a-f]{4,32}")

_LOWER_IS_BETTER = re.compile(
    r"(^|[_./\-\s])(loss|logloss|nll|cross_?entropy|mse|rmse|mae|mape|smape|rmsle|error|err|wer|cer|perplexity|ppl|bpb|"
    r"latency|duration|seconds|time|fid|regret|brier|ece|fpr|fnr|hinge|deviance)($|[_./\-\s\d])"
)


def parse(text: str) -> Selector:
    """Parse a selector.

    Raises:
        SelectorError: If it begins with `@` and is none of the known forms.
    """
    text = text.strip()
    if not text:
        raise SelectorError("An empty run selector.", hint="Use @last, @best:METRIC, a run name or the beginning of a run id.")
    if match := _LAST.fullmatch(text):
        return Last(int(match[1] or 0))
    if match := _EXTREME.fullmatch(text):
        return Extreme(match[2], best=match[1] == "best")
    if text == "@main":
        return Main()
    if text.startswith("@"):
        raise SelectorError(f"'{text}' is no run selector.", hint="Use @last, @last~1, @best:METRIC, @worst:METRIC or @main.")
    if text.startswith("tag:"):
        key, _, value = text[4:].partition("=")
        if not key:
            raise SelectorError("'tag:' needs the name of a tag.", hint="For example tag:baseline")
        return Tagged(key, value or None)
    return Named(text, text.lower() if _ID_PREFIX.fullmatch(text.lower()) else None)


def lower_is_better(metric_key: str) -> bool:
    """Return whether smaller values of a metric are better, judged by its name (loss, error, time, ...)."""
    return _LOWER_IS_BETTER.search(metric_key.lower()) is not None

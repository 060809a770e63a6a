"""Tab completion of `%runner`: sub-commands, options, runners, places, GPUs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from mlops_nb.magics import runner_job_parsers, runner_parsers
from mlops_nb.magics.arguments import MagicParser
from mlops_nb.magics.verb_completion import VerbCompleter

_CLOUDS = ("aws", "gcp", "azure", "k8s", "ssh:", "local")
_GPUS = ("T4", "L4", "A10G", "L40S", "V100", "A100", "H100")


class RunnerCompleter(VerbCompleter):
    """Completes a line of `%runner`."""

    def __init__(self) -> None:
        super().__init__("runner", (*runner_parsers.VERBS, *runner_job_parsers.JOB_VERBS), _parser_of)

    def values(self, kind: str) -> Iterator[str]:
        """Return what stands for a metavar."""
        if kind in ("NAME", "PLACE"):
            yield from self.names
        if kind in ("PLACE", "CLOUD"):
            yield from _CLOUDS
        if kind == "GPU":
            yield from _GPUS
        if kind == "TYPE":
            yield from ("s", "m", "l", "xl")
        if kind == "REGION":
            yield from ("us-west", "us-east", "eu-west", "eu-north")
        if kind == "TIME":
            yield from ("5m", "10m", "30m", "2h")
        if kind == "NOTEBOOK":
            yield from sorted(path.name for path in Path.cwd().glob("*.ipynb"))

    def read_names(self) -> Sequence[str]:
        """Return the names of the runners that are alive."""
        from mlops_nb.fluent.runners import runners

        return [runner.name for runner in runners()]


def _parser_of(verb: str) -> MagicParser:
    return runner_job_parsers.parser_of(verb) if verb in runner_job_parsers.JOB_VERBS else runner_parsers.parser_of(verb)

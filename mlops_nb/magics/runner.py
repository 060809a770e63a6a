"""`%runner`: thin; each verb parses its words, makes one call and shows what came. `run` and `%%runner` are in `runner_jobs`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand

from mlops_nb.core.durations import seconds_of
from mlops_nb.core.formatting import format_duration, log_text
from mlops_nb.core.runners import AgentWish
from mlops_nb.errors import InvalidInput, did_you_mean
from mlops_nb.fluent import runners
from mlops_nb.fluent.runner_handle import RunnerHandle
from mlops_nb.magics import runner_cards as cards
from mlops_nb.magics.arguments import split_words, unquoted
from mlops_nb.magics.runner_job_parsers import JOB_VERBS
from mlops_nb.magics.runner_parsers import VERBS, machine_wish, parser_of
from mlops_nb.runners.requests import labels_of, request_of

if TYPE_CHECKING:
    from mlops_nb.magics.runner_jobs import RunnerJobs


@magics_class
class RunnerMagics(Magics):
    """The magic of runners."""

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self.shell: Any = shell
        self.say: Callable[[str], None] = print
        self._jobs: RunnerJobs | None = None

    @property
    def jobs(self) -> RunnerJobs:
        """What executes notebooks and cells; it is loaded when it is used."""
        if self._jobs is None:
            from mlops_nb.magics.runner_jobs import RunnerJobs

            self._jobs = RunnerJobs(self.shell)
            self._jobs.say = self.say
        return self._jobs

    @no_var_expand
    @line_cell_magic
    def runner(self, line: str, cell: str | None = None) -> Any:
        """Rent or use machines, and execute notebooks and cells on them. Each ends by itself.

        %runner                              what is alive, what it costs, when it stops
        %runner estimate [--gpu L4] [--hours 2]
        %runner launch [NAME] [--on aws|gcp|azure|k8s|ssh:HOST|local] [--gpu L4[:2]] [--cpu 8] [--mem 32] [--spot]
               [--idle 10m] [--max-hours 4] [--max-cost 5] [--zones A,B] [--type M] [--dry] [--yes]
        %runner ci [--labels gpu] [--single] for jobs of this repository's CI
        %runner run [NOTEBOOK] [-p KEY=EXPR ...] [--on NAME] [--detach]
        %%runner [NAME] [--in X,y] [--out model]   this cell there; names come back
        %runner jobs | attach JOB | cancel JOB
        %runner show N | logs N [-f] | extend N 30m | stop N | down N|all
        %runner doctor [--reap] | reap       credentials, limits, leftovers

        More of one: %runner launch --help. On the command line: mlops-nb runner --help.
        """
        return self.run(line, cell)

    def run(self, line: str, cell: str | None = None) -> Any:
        """Do what a line says."""
        if cell is not None:
            return self.jobs.cell(line, cell)
        try:
            words = split_words(line, ("-p",))
        except InvalidInput as error:
            raise InvalidInput(f"%runner: {error.message}", hint=error.hint) from None
        if not words:
            return cards.RunnerList(runners.runners())
        verb, rest = words[0], words[1:]
        if verb in JOB_VERBS:
            return self.jobs.line(verb, rest)
        if verb not in VERBS:
            hint = did_you_mean(verb, (*VERBS, *JOB_VERBS)) or f"Use {', '.join((*VERBS, *JOB_VERBS))}."
            raise InvalidInput(f"%runner: no sub-command '{verb}'.", hint=hint)
        parser = parser_of(verb)
        if "--help" in rest:
            return self.say(parser.help_text())
        arguments = parser.parse_args([unquoted(word) for word in rest])
        return getattr(self, f"_{verb}")(arguments)

    def _launch(self, arguments: Any, *, ci: bool = False) -> Any:
        ci = ci or arguments.ci
        if arguments.on is None and not ci:
            raise InvalidInput(
                "%runner launch: where?", hint="Add --on aws, gcp, azure, k8s, ssh:HOST or local. Prices: %runner estimate --gpu L4"
            )
        agent = AgentWish(labels=labels_of(arguments.labels), single=arguments.single)
        request = request_of(
            name=arguments.name,
            on=arguments.on or "local",
            agent=runners.ci_agent(agent) if ci else agent,
            **machine_wish(arguments),
            permission_set=arguments.permission_set,
        )
        plan = runners.plan(request)
        if arguments.dry:
            return self.say(cards.plan_text(plan))
        best, most = plan.offer, plan.seconds
        cost = "" if not best.hourly else f", at most ${best.hourly * most / 3600:.2f}"
        self.say(f"{best} · ends after {format_duration(request.guards.idle * 1000)} without work, or {format_duration(most * 1000)}{cost}")
        if best.hourly != 0 and not arguments.yes and not self._is_yes("start? [y/N] "):
            return self.say("Nothing was rented.")
        return RunnerHandle(runners.launch(request, tell=self.say))

    def _ci(self, arguments: Any) -> Any:
        return self._launch(arguments, ci=True)

    def _is_yes(self, question: str) -> bool:
        try:
            return input(question).strip().lower() in ("y", "yes")
        except (EOFError, NotImplementedError):
            # A notebook that runs headlessly has nobody to ask: IPython's kernel raises its own kind of the latter.
            raise InvalidInput("%runner launch: nobody can answer here.", hint="Add --yes, or --max-cost and --yes.") from None

    def _ls(self, arguments: Any) -> cards.RunnerList:
        return cards.RunnerList(runners.runners(everything=arguments.everything))

    def _show(self, arguments: Any) -> None:
        self.say(cards.history_text(*runners.history(arguments.name)))

    def _logs(self, arguments: Any) -> None:
        empty = True
        for piece in runners.logs(arguments.name, follow=arguments.follow):
            empty = False
            sys.stdout.write(log_text(piece))
        if empty:
            self.say("It has said nothing yet.")

    def _stop(self, arguments: Any) -> cards.RunnerList:
        return cards.RunnerList([runners.stop(arguments.name)])

    def _down(self, arguments: Any) -> None:
        names = [one.name for one in runners.runners()] if arguments.name == "all" else [arguments.name]
        for name in names:
            self.say(f"■ {runners.down(name).name} is gone.")
        if not names:
            self.say("Nothing is alive.")

    def _extend(self, arguments: Any) -> cards.RunnerList:
        return cards.RunnerList([runners.extend(arguments.name, seconds_of(arguments.time))])

    def _doctor(self, arguments: Any) -> None:
        self.say(cards.findings_text(runners.doctor(clouds=arguments.on)))
        if arguments.reap:
            self._reap(arguments)

    def _reap(self, arguments: Any) -> None:
        self.say(cards.reaped_text(runners.reap(clouds=arguments.on)))

    def _estimate(self, arguments: Any) -> None:
        found = runners.estimate(clouds=arguments.on, types=arguments.types, gpu=arguments.gpu, region=arguments.region)
        self.say(cards.estimate_text(found, arguments.hours))

"""The job of `mlops-nb ci run`: notebooks in turn, each compared with its baseline and judged by the gates, and one report of all."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from mlops_nb import config
from mlops_nb.ci import executed
from mlops_nb.ci.baseline import Baseline, Kind, NoBaseline, baseline_of_rerun, find_baseline
from mlops_nb.ci.environment import asked_for, kernel_environment
from mlops_nb.ci.execution import Execution, Signals, execute, new_execution_id
from mlops_nb.ci.gate_file import GateFile, gates_against_base
from mlops_nb.ci.judging import Judged, judge
from mlops_nb.ci.origin import LOCAL, Origin, origin_of
from mlops_nb.ci.progress import Progress
from mlops_nb.ci.protocol import Ending, Job
from mlops_nb.ci.reporting import report_part, write_report
from mlops_nb.ci.result import CiResult, NotebookResult, exit_code_of
from mlops_nb.ci.settings import Settings, check_places, settle
from mlops_nb.ci.worktree import checked_out, commit_of_branch, top_of
from mlops_nb.core.gates import Gate
from mlops_nb.core.records import TAG_CI_GATES, TAG_CI_SECONDS, Run
from mlops_nb.core.redaction import Redactor
from mlops_nb.errors import MlopsError, StoreError
from mlops_nb.reports.pull_request.data import Notebook
from mlops_nb.reports.pull_request.pictures import Pictures
from mlops_nb.store.base import TrackingStore
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.capture import notebook_tags
from mlops_nb.tracking.recovery import recover
from mlops_nb.tracking.target import Target


def run_notebooks(
    notebooks: Sequence[str | Path] | str | Path,
    *,
    parameters: Mapping[str, Any] | None = None,
    baseline: str | None = None,
    gates: str | Path | None = None,
    gates_from: str | None = None,
    report: str | Path = "report.md",
    html: bool = False,
    output_dir: str | Path | None = None,
    kernel: str | None = None,
    timeout: float | None = None,
    cell_timeout: float | None = None,
    start_timeout: int = 60,
    cwd: str | Path | None = None,
    pass_env: Sequence[str] = (),
    progress: Progress | None = None,
) -> CiResult:
    """Execute notebooks headlessly, compare each with its baseline, apply the gates and write a report.

    A notebook that fails, dies or takes too long is part of the result, not an exception. Nothing is posted.

    Args:
        notebooks: Paths; one or several.
        parameters: As papermill takes them, for all.
        baseline: `@main` (the last run of the default branch that finished and passed its gates), `rerun` (the default branch,
            run again here), a baseline file (.json), a run, or `none`; by default `@main`, else `.mlops/baseline.json` if it is
            there.
        gates: The gate file; by default `.mlops/gates.yml` if it is there.
        gates_from: Whose gates judge where this commit changes them: those of the default branch (`base`, what is usual in a
            CI) or its own (`here`, elsewhere). The report says what it changes.
        report: The report in Markdown; its data (.json) and pictures lie beside it.
        html: Write the report as one page as well.
        output_dir: Where the executed notebooks go; by default `.mlops/ci`.
        kernel: Instead of the notebooks' own.
        timeout: How long all of it may take (s).
        cell_timeout: How long one cell may take (s).
        start_timeout: How long a kernel may take to start (s).
        cwd: The kernels' working directory; by default that of this process.
        pass_env: Environment variables that the notebooks get besides the harmless ones; `AWS_*` names a family.
        progress: Is told how it goes.

    Returns:
        What came of it; `exit_code` is that of the command.
    Raises:
        InvalidInput, NotFound: If something that was asked for cannot be right, or is not there.
        StoreError: If the tracking store cannot be reached at the beginning.
    """
    settings = settle(
        [notebooks] if isinstance(notebooks, (str, Path)) else notebooks,
        parameters=parameters,
        baseline=baseline,
        gates=gates,
        gates_from=gates_from,
        report=report,
        html=html,
        output_dir=output_dir,
        kernel=kernel,
        timeout=timeout,
        cell_timeout=cell_timeout,
        start_timeout=start_timeout,
        cwd=cwd,
        pass_env=pass_env,
    )
    return _CiJob(settings, progress or Progress()).run()


class _Part(msgspec.Struct, kw_only=True):
    """A notebook on its way through the job."""

    path: Path
    name: str
    gates: list[Gate]
    baseline: Baseline | NoBaseline
    execution: Execution
    run: Run | None = None
    judged: Judged | None = None
    report: Notebook | None = None


class _CiJob:
    def __init__(self, settings: Settings, progress: Progress) -> None:
        self.settings = settings
        self.progress = progress
        self.began = time.monotonic()
        self.problems: list[str] = []
        self.folder = Path.cwd()
        self.target: Target = sessions.current.shipper().target
        self.project = config.find_project(settings.cwd)
        self.origin: Origin = origin_of(os.environ, self.folder)
        by_base = (settings.gates_from or ("here" if self.origin.ci == LOCAL else "base")) == "base"
        self.gates: GateFile = gates_against_base(settings.gates, settings.gate_paths, self.origin, by_base=by_base)
        self.environment = kernel_environment(os.environ, settings.pass_env)
        # The notebook records where this process reads, whatever each would have found by itself.
        self.environment["MLOPS_NB_TRACKING_URI"] = self.target.store_uri
        self.redact = Redactor(os.environ)
        self.pictures = Pictures()

    def run(self) -> CiResult:
        """Do it."""
        store = sessions.current.store() if self.target.is_empty else sessions.current.fresh_store()
        # What the end needs is loaded now: a CI that stops a job gives it seconds.
        executed.runs_of(store, "")
        parts = [self._part(path, store) for path in self.settings.notebooks]
        check_places(self.settings)
        for changed in dict.fromkeys(self.gates.changed_for(part.name) for part in parts):
            if changed.words:
                changes = (f"{metric} {before or 'no gate'} → {now or 'no gate'}" for metric, before, now in changed.changes)
                self.progress.say(f"! Gates: {'; '.join([*changes, changed.words])}")
        if names := asked_for(os.environ, self.settings.pass_env):
            self.progress.say(f"The notebooks get these variables besides the harmless ones: {', '.join(names)}")
        with Signals() as signals:
            for place, part in enumerate(parts, start=1):
                if signals.received is not None:
                    part.execution.ending, part.execution.reason = Ending.STOPPED, f"not run: stopped by {signals.received.name}"
                    continue
                with self.progress.group(f"{part.name} ({place} of {len(parts)})"):
                    self._execute(part, signals)
                self._say_how_it_ended(part)
            for part in parts:
                self._judge(part, signals)
            files = self._write(parts)
            received = signals.received
        results = tuple(self._result(part) for part in parts)
        is_recorded = not self.problems
        return CiResult(
            exit_code=exit_code_of(results, received, is_recorded=is_recorded),
            notebooks=results,
            files=tuple(files),
            problems=tuple(self.problems),
            gates_file=self.settings.gates_file,
        )

    def _part(self, path: Path, store: TrackingStore) -> _Part:
        name = next(iter(notebook_tags(path, self.project).values()))
        output = self.settings.output_dir / (name if not Path(name).is_absolute() else path.name)
        choice = self.settings.choice
        wanted: Baseline | NoBaseline = NoBaseline(reason=f"{self.origin.default_branch} was not run again")
        if choice.kind is not Kind.RERUN:
            wanted = find_baseline(choice, store, name, self.origin)
        return _Part(
            path=path,
            name=name,
            gates=self.gates.for_notebook(name),
            baseline=wanted,
            execution=Execution(notebook=path, output=output, execution_id=new_execution_id()),
        )

    # -- executing

    def _seconds_left(self) -> float | None:
        limit = self.settings.timeout
        return None if limit is None else limit - (time.monotonic() - self.began)

    def _execute(self, part: _Part, signals: Signals) -> None:
        job = self._job(part.path, part.execution.output, part.execution.execution_id, self.settings.cwd)
        if job.seconds is not None and job.seconds <= 0:
            part.execution.ending, part.execution.reason = Ending.TIMED_OUT, "not run: the time for all of it was over"
            return
        part.execution.output.unlink(missing_ok=True)
        part.execution = execute(
            job, self.environment, folder=self.folder, signals=signals, told=lambda event: self.progress.event(part.name, event)
        )
        part.execution.reason = self.redact(part.execution.reason)
        try:
            store = self._settled_store(part.execution, [self.target.journal_dir, self.project.journal_dir])
            runs = executed.close_runs(store, executed.runs_of(store, part.execution.execution_id), part.execution)
            tags = {**self.origin.tags, TAG_CI_SECONDS: f"{part.execution.seconds:.3f}"}
            executed.add_tags(store, runs, tags)
            chosen = executed.main_run(runs, part.gates)
            part.run = None if chosen is None else store.get_run(chosen.run_id)
        except MlopsError as error:
            self.problems.append(f"{part.name}: what it recorded cannot be read: {error}")

    def _job(self, path: Path, output: Path, execution_id: str, cwd: Path | None) -> Job:
        return Job(
            notebook=str(path),
            output=str(output),
            execution_id=execution_id,
            parameters=self.settings.parameters,
            cwd=None if cwd is None else str(cwd),
            kernel=self.settings.kernel,
            cell_timeout=self.settings.cell_timeout,
            seconds=self._seconds_left(),
            start_timeout=self.settings.start_timeout,
        )

    def _settled_store(self, execution: Execution, journals: Sequence[Path]) -> TrackingStore:
        """Return the store with all that an execution left in journals delivered."""
        store = sessions.current.store()
        for journal in dict.fromkeys(journals):
            recover(
                journal, store, self.target.store_uri, explain=lambda _pid: f"was ended ({execution.reason})" if execution.reason else None
            )
        return store

    def _say_how_it_ended(self, part: _Part) -> None:
        ended = part.execution
        if ended.ending is not Ending.FINISHED:
            where = f" in cell {ended.cell} of {ended.count}" if ended.cell else ""
            self.progress.say(f"✗ {part.name} {ended.ending.value}{where}: {ended.reason}")

    # -- judging

    def _judge(self, part: _Part, signals: Signals) -> None:
        is_quick = signals.received is not None
        breakdown = executed.breakdown_of(part.execution, part.run)
        if self.settings.choice.kind is Kind.RERUN and part.execution.ending is Ending.FINISHED and part.run is not None and not is_quick:
            part.baseline = self._rerun(part, signals)
            is_quick = signals.received is not None
        baseline = part.baseline if isinstance(part.baseline, Baseline) else None
        store: TrackingStore | None = None
        if part.run is not None:
            try:
                store = sessions.current.store()
                part.judged = judge(store, part.run, baseline, part.gates, is_quick=is_quick or breakdown is not None)
                if part.judged.gates:
                    failed = any(gate.is_failure for gate in part.judged.gates)
                    executed.add_tags(store, [part.run], {TAG_CI_GATES: "failed" if failed else "passed"})
            except MlopsError as error:
                self.problems.append(f"{part.name} cannot be judged: {error}")
        elif breakdown is None and not self.problems:
            self.problems.append(f"{part.name} left no run: nothing can be compared.")
        part.report = report_part(
            None if is_quick else store,
            name=part.name,
            run=part.run,
            baseline=part.baseline,
            judged=part.judged,
            breakdown=breakdown,
            execution=part.execution,
            pictures=self.pictures,
            gates_file=self.settings.gates_file if part.gates else "",
            gates_changed=self.gates.changed_for(part.name),
            price_per_hour=self.settings.price_per_hour,
            url=self.origin.url,
            default_branch=self.origin.default_branch,
        )

    def _rerun(self, part: _Part, signals: Signals) -> Baseline | NoBaseline:
        """Execute the notebook as the default branch has it."""
        branch = self.origin.default_branch
        top = top_of(part.path.parent)
        if top is None:
            return NoBaseline(reason=f"{branch} cannot be run again: {part.name} is in no git repository")
        try:
            commit = commit_of_branch(top, branch, is_ci=self.origin.ci != "local")
            if commit == self.origin.commit:
                return NoBaseline(reason=f"this is {branch} itself")
            with checked_out(top, commit) as tree:
                return self._rerun_in(tree, top, part, commit, signals)
        except StoreError as error:
            self.problems.append(f"{branch} cannot be compared with: {error}")
            return NoBaseline(reason=str(error))
        except MlopsError as error:
            return NoBaseline(reason=str(error))

    def _rerun_in(self, tree: Path, top: Path, part: _Part, commit: str, signals: Signals) -> Baseline | NoBaseline:
        branch = self.origin.default_branch
        notebook = tree / part.path.relative_to(top)
        if not notebook.is_file():
            return NoBaseline(reason=f"{branch} does not have {part.name}")
        seconds = self._seconds_left()
        if seconds is not None and seconds <= 0:
            return NoBaseline(reason=f"no time was left to run {branch} again")
        folder = _moved(self.folder, top, tree)
        folder.mkdir(parents=True, exist_ok=True)
        cwd = None if self.settings.cwd is None else _moved(self.settings.cwd, top, tree)
        paths = self.environment.get("PYTHONPATH")
        moved = (
            {}
            if paths is None
            else {"PYTHONPATH": os.pathsep.join(str(_moved(Path(p), top, tree)) if p else p for p in paths.split(os.pathsep))}
        )
        environment = {**self.environment, **moved, "PWD": str(folder)}
        output = self.settings.output_dir / "baseline" / Path(part.name).name
        job = self._job(notebook, output, new_execution_id(), cwd)
        with self.progress.group(f"{part.name} as {branch} has it ({commit[:7]})"):
            ended = execute(
                job, environment, folder=folder, signals=signals, told=lambda event: self.progress.event(f"{branch}:{part.name}", event)
            )
        journals = [self.target.journal_dir, config.find_project(cwd or folder).journal_dir]
        store = self._settled_store(ended, journals)
        runs = executed.close_runs(store, executed.runs_of(store, job.execution_id), ended)
        executed.add_tags(store, runs, {**self.origin.tags_of_baseline, TAG_CI_SECONDS: f"{ended.seconds:.3f}"})
        if ended.ending is not Ending.FINISHED:
            where = f" in cell {ended.cell}" if ended.cell else ""
            return NoBaseline(reason=f"{branch} could not be run again: it {ended.ending.value}{where}: {self.redact(ended.reason)}"[:600])
        run = executed.main_run(runs, part.gates)
        if run is None:
            return NoBaseline(reason=f"{branch} was run again and left no run")
        return baseline_of_rerun(store.get_run(run.run_id), self.origin, commit)

    # -- answering

    def _write(self, parts: Sequence[_Part]) -> list[Path]:
        reports = [part.report for part in parts if part.report is not None]
        return write_report(reports, self.pictures, self.origin, self.settings.report, html=self.settings.html)

    def _result(self, part: _Part) -> NotebookResult:
        found = part.baseline
        return NotebookResult(
            notebook=part.name,
            path=part.path,
            ending=part.execution.ending,
            reason=part.execution.reason,
            cell=part.execution.cell,
            line=None if part.report is None or part.report.failure is None else part.report.failure.line,
            seconds=round(part.execution.seconds, 3),
            run_id="" if part.run is None else part.run.run_id,
            verdict="" if part.report is None else part.report.verdict.value,
            baseline=found.words if isinstance(found, Baseline) else f"none ({found.reason})",
            gates=part.judged.gates if part.judged else (),
            output=part.execution.output if part.execution.output.is_file() else None,
        )


def _moved(path: Path, top: Path, tree: Path) -> Path:
    """Return where a path of the user's working tree is in another one; paths outside of it stay."""
    resolved = path.resolve()
    return tree / resolved.relative_to(top) if resolved.is_relative_to(top) else path

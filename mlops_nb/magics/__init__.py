"""The IPython surface: magics, cell hooks and how our objects are shown."""

from __future__ import annotations

from typing import Any

from mlops_nb.core.records import Run
from mlops_nb.execution.ledger import CellLedger
from mlops_nb.magics import cards
from mlops_nb.magics.comparing import CompareMagics
from mlops_nb.magics.completion import TrackCompleter
from mlops_nb.magics.reporting import ReportMagics
from mlops_nb.magics.runner_cards import RunnerList, runners_text
from mlops_nb.magics.runner_completion import RunnerCompleter
from mlops_nb.magics.serve_cards import EndpointList, endpoint_bundle, infos_bundle
from mlops_nb.magics.serve_completion import ServeCompleter
from mlops_nb.magics.serve_monitor import monitor_bundle
from mlops_nb.magics.track import TrackMagics, begin_of_track_cell
from mlops_nb.serving.client import Endpoint
from mlops_nb.serving.monitor import Monitored
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking import watching
from mlops_nb.tracking.lookup import Runs
from mlops_nb.tracking.run import ActiveRun

_ATTRIBUTE = "_mlops_nb_extension"


class Extension:
    """All that is registered in one shell, so that it can be taken back."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.session = sessions.current
        self.ledger = CellLedger(shell, self.session)
        self.magics = TrackMagics(shell, self.session, self.ledger)
        self.comparing = CompareMagics(shell, self.magics.say)
        self.reporting = ReportMagics(shell, self.magics.say)
        self.completer = TrackCompleter(self.session)
        self.magics.known = self.completer.known
        self.serve = self.magics.serve
        self.serve.say = self.magics.say
        self.serve_completer = ServeCompleter(self.session, self.completer.known)
        self.runner = self.magics.runner
        self.runner.say = self.magics.say
        self.runner_completer = RunnerCompleter()
        self._matchers = (self.completer.matcher, self.serve_completer.matcher, self.runner_completer.matcher)
        self._taken: list[str] = []

    def load(self) -> None:
        """Register magics, hooks, completion and displays."""
        taken = [name for name in ("track", "compare", "report") if name in self.shell.magics_manager.magics["line"]]
        self.shell.register_magics(self.magics)
        self.shell.register_magics(self.comparing)
        self.shell.register_magics(self.reporting)
        for name in taken:
            self.magics.say(f"%{name} belonged to another extension; it is ours now. %mlops {name} does the same.")
        for name, magic in (("serve", self.serve), ("runner", self.runner)):
            if name in self.shell.magics_manager.magics["line"]:
                self.magics.say(f"%{name} belongs to another extension and stays its; ours is %mlops {name}.")
            else:
                self.shell.register_magics(magic)
                self._taken.append(name)
        self.shell.input_transformers_cleanup.insert(0, begin_of_track_cell)
        # Before the ledger's: what a cell changed in watched variables belongs to that cell.
        self.shell.events.register("post_run_cell", self._before_the_ledger)
        self.ledger.install()
        self.shell.events.register("post_run_cell", self.magics.after_cell)
        self.shell.Completer.custom_matchers += self._matchers
        formatter = self.shell.display_formatter.mimebundle_formatter
        formatter.for_type(ActiveRun, lambda run, **_: cards.active_run_bundle(run))
        formatter.for_type(Run, lambda run, **_: cards.run_bundle(run, self.magics.series_of(run)))
        formatter.for_type(Runs, lambda runs, **_: cards.runs_bundle(runs))
        # IPython has a printer of its own for lists, which goes before a bundle.
        plain = self.shell.display_formatter.formatters["text/plain"]
        plain.for_type(Runs, lambda runs, printer, _cycle: printer.text(cards.runs_bundle(runs)["text/plain"]))
        formatter.for_type(Endpoint, lambda endpoint, **_: endpoint_bundle(endpoint))
        formatter.for_type(Monitored, lambda monitored, **_: monitor_bundle(monitored))
        # As for runs.
        plain.for_type(EndpointList, lambda infos, printer, _cycle: printer.text(infos_bundle(infos)["text/plain"]))
        plain.for_type(RunnerList, lambda found, printer, _cycle: printer.text(runners_text(found)))
        self.magics.say(self.magics.greeting())

    @staticmethod
    def _before_the_ledger(result: Any) -> None:
        watching.current.look(result)

    def unload(self) -> None:
        """Take all of it back; open runs go on."""
        self.ledger.uninstall()
        self.shell.events.unregister("post_run_cell", self._before_the_ledger)
        self.shell.events.unregister("post_run_cell", self.magics.after_cell)
        self.shell.input_transformers_cleanup.remove(begin_of_track_cell)
        for matcher in self._matchers:
            self.shell.Completer.custom_matchers.remove(matcher)
        for name in ("track", "compare", "report", "mlops", *self._taken):
            self.shell.magics_manager.magics["line"].pop(name, None)
            self.shell.magics_manager.magics["cell"].pop(name, None)
        formatter = self.shell.display_formatter.mimebundle_formatter
        for kind in (ActiveRun, Run, Runs, Endpoint):
            formatter.pop(kind, None)
        self.shell.display_formatter.formatters["text/plain"].pop(Runs, None)
        for listed in (EndpointList, RunnerList):
            self.shell.display_formatter.formatters["text/plain"].pop(listed, None)


def load(shell: Any) -> None:
    """Register everything in a shell; a second time does nothing."""
    if getattr(shell, _ATTRIBUTE, None) is None:
        extension = Extension(shell)
        extension.load()
        setattr(shell, _ATTRIBUTE, extension)


def unload(shell: Any) -> None:
    """Take back what `load` registered."""
    extension = getattr(shell, _ATTRIBUTE, None)
    if extension is not None:
        extension.unload()
        setattr(shell, _ATTRIBUTE, None)

"""Notebooks with known faults and without any: what the check finds, and what it says though nothing is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

from mlops_nb.core.hygiene import Check, FindingKind
from mlops_nb.core.provenance import Hygiene
from mlops_nb.execution.checking import check_notebook
from tests.tracking.live_notebook import LiveNotebook
from tests.tracking.seeded_notebooks import Case, clean_cases, faulty_cases

GOAL_FOUND = 0.95
GOAL_FALSE = 0.05


def checked(case: Case, path: Path) -> Check:
    live = LiveNotebook(InteractiveShell.instance(), path, case.story.cells)
    try:
        case.play(live)
        assert live.ledger.faults == 0
        return check_notebook(session=live.session)
    finally:
        live.close()


@pytest.fixture
def place(project: Path) -> Iterator[Path]:
    yield project / "work.ipynb"
    import matplotlib.pyplot as plt

    plt.close("all")


def test_known_faults_are_found(place: Path) -> None:
    cases = list(faulty_cases())
    missed = []
    for case in cases:
        check = checked(case, place)
        if not any(finding.kind in case.kinds and finding.cell_id in case.faulty for finding in check.findings):
            missed.append(f"{case.story.name}: {case.name}: {check}")
    found = 1 - len(missed) / len(cases)
    print(json.dumps({"test": "seeded faults", "notebooks": len(cases), "found": found, "missed": missed}))
    assert len(cases) >= 40 and found >= GOAL_FOUND


def test_clean_notebooks_raise_no_alarm(place: Path) -> None:
    cases = list(clean_cases())
    alarms = []
    for case in cases:
        check = checked(case, place)
        if not check.ok or check.hygiene not in (None, Hygiene.LINEAR):
            alarms.append(f"{case.story.name}: {case.name}: {check}")
    share = len(alarms) / len(cases)
    print(json.dumps({"test": "clean notebooks", "notebooks": len(cases), "false alarms": share, "alarms": alarms}))
    assert len(cases) >= 40 and share < GOAL_FALSE


def test_every_kind_of_fault_is_among_the_seeded_ones() -> None:
    assert set(FindingKind) == {kind for case in faulty_cases() for kind in case.kinds}

"""Machines are taken back in the middle of jobs: another one goes on, and what was logged stays."""

from __future__ import annotations

import random
import time

import nbformat
import pytest

from mlops_nb.core.run_state import RunStatus
from mlops_nb.core.runner_jobs import CHECKPOINT, JobState
from mlops_nb.core.runners import Runner, RunnerRequest
from mlops_nb.runners.jobs.changing import after_interruption, change, release_lost, tend_jobs
from mlops_nb.runners.jobs.handle import RemoteJob
from tests.runners.jobs.conftest import World, wait_for, write_notebook
from tests.runners.jobs.machines import end, new_runner

BEGINNING = """import mlops_nb, pathlib, random
random.seed(11)
pathlib.Path('times.txt').open('a').write('x')
scale = 2
def scaled(x):
    return x * scale
run = mlops_nb.start_run('training')
for i in range(5):
    run.log(early=i)"""
DRAWN = "drawn = random.random(); scale = 3; print('once')"
# Slow on the machine that is taken back: it is told when the loop stands in the middle.
LOOP = """import time, os
for step in range(20):
    run.log_metric('loss', scaled(step), step)
    time.sleep(0.2 if not os.path.exists(FLAG) else 0)"""
ENDING = "again = random.random(); run.log(last=scaled(1)); mlops_nb.stop_run(); print(drawn == first, again == second)"


def notebook_of(world: World, name: str = "train") -> object:
    rng = random.Random(11)
    known = f"FLAG = {str(world.folder / 'quick')!r}; first = {rng.random()!r}; second = {rng.random()!r}"
    return write_notebook(world.folder / f"{name}.ipynb", known, BEGINNING, DRAWN, LOOP, ENDING)


def interrupted_and_resumed(world: World, name: str, at_least: int) -> tuple[float, RemoteJob]:
    """Interrupt a job when so many steps are logged, let another machine go on, and return how long saving took, and the job."""
    quick = world.folder / "quick"
    quick.unlink(missing_ok=True)
    job = world.submit(notebook_of(world, name))
    first = world.work()
    wait_for(lambda: len(world.points(job, "training", "loss")) >= at_least, "the loop is under way")
    began = time.monotonic()
    first.interrupt("spot instance is taken back", 120)
    wait_for(lambda: world.ledger.job(job.id).state is JobState.INTERRUPTED, "the job is interrupted")
    took = time.monotonic() - began
    assert world.store.get_run(job.run_id).status is RunStatus.KILLED
    assert world.ledger.job(job.id).checkpoint_cell in (1, 2, 3)  # on a busy machine the last one may not have been due
    seen = dict(world.points(job, "training", "loss"))
    assert len(seen) >= at_least
    quick.touch()
    second = world.work()
    wait_for(lambda: second.poll().finished, "the other machine is done")
    found = RemoteJob(world.ledger, world.store, world.ledger.job(job.id))
    assert found.state is JobState.DONE, found.job.reason
    return took, found


def check_nothing_lost(world: World, found: RemoteJob) -> None:
    job = found.job
    assert job.attempts == 2
    loss = world.points(job, "training", "loss")
    assert set(loss) == {(step, 3.0 * step) for step in range(20)}  # each step, and each value once it is settled
    assert set(world.points(job, "training", "early")) == {(step, float(step)) for step in range(5)}
    training = [run for run in found.runs() if run.name == "training"]
    assert [run.status for run in training] == [RunStatus.FINISHED]  # the same run went on
    assert training[0].parent_id == job.run_id
    assert world.store.get_run(job.run_id).status is RunStatus.FINISHED


def test_another_machine_goes_on_behind_the_last_checkpoint_and_no_point_is_lost(world: World) -> None:
    took, found = interrupted_and_resumed(world, "train", 4)
    assert took < 20
    check_nothing_lost(world, found)
    executed = nbformat.read(found.fetch_notebook(), as_version=4)
    shown = ["".join(output.get("text", "") for output in cell.outputs) for cell in executed.cells if cell.cell_type == "code"]
    assert shown[2] == "once\n"  # as the first machine has shown it
    assert shown[4] == "True True\n"  # random numbers go on where they were
    files = [file.path for file in world.store.list_artifacts(found.run_id, "runner", recursive=True)]
    assert not [path for path in files if path.startswith(CHECKPOINT)]  # they may hold what is private, and are of no use any more


def test_a_job_is_tried_twice_and_then_failed(world: World) -> None:
    job = world.submit(write_notebook(world.folder / "n.ipynb", "1"))
    for expected in (JobState.INTERRUPTED, JobState.FAILED):
        assert world.ledger.claim_job(new_runner(world.ledger).id).id == job.id
        ended = change(world.ledger, job.id, lambda now: after_interruption(now, "the cloud takes it back"))
        assert ended.state is expected
    assert "second time" in ended.reason
    assert world.ledger.claim_job(new_runner(world.ledger).id) is None


def test_a_job_whose_machine_ended_without_a_word_waits_again(world: World) -> None:
    job = world.submit(write_notebook(world.folder / "n.ipynb", "1"))
    runner = new_runner(world.ledger)
    assert world.ledger.claim_job(runner.id).id == job.id
    assert release_lost(world.ledger) == []  # its machine is there
    end(world.ledger, runner.id)
    assert [each.state for each in release_lost(world.ledger)] == [JobState.INTERRUPTED]
    again = world.ledger.claim_job(new_runner(world.ledger).id)
    assert again is not None and again.id == job.id and again.attempts == 2


def test_a_job_with_a_machine_of_its_own_gets_another_one_once(world: World) -> None:
    job = world.submit(write_notebook(world.folder / "n.ipynb", "1"))
    runner = new_runner(world.ledger, cloud="aws", single=True)
    assert world.ledger.claim_job(runner.id).id == job.id
    end(world.ledger, runner.id)
    launched: list[str] = []

    def launch(request: RunnerRequest) -> Runner:
        launched.append(request.name)
        return new_runner(world.ledger, cloud=request.cloud, single=True, name=request.name)

    tend_jobs(world.ledger, launch)
    tend_jobs(world.ledger, launch)
    assert launched == [f"{runner.name}-again"]
    again = world.ledger.job(job.id)
    assert again.state is JobState.INTERRUPTED and world.ledger.get(again.runner_id).name == launched[0]
    assert world.ledger.claim_job(again.runner_id).attempts == 2


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_fifty_interruptions_lose_no_point_and_each_job_is_resumed_once(world: World) -> None:
    seed = random.randrange(1_000_000)
    print("seed", seed)
    chosen = random.Random(seed)
    times = []
    for number in range(50):
        took, found = interrupted_and_resumed(world, f"train-{number}", chosen.randint(1, 15))
        check_nothing_lost(world, found)
        times.append(took)
        print(f"{number + 1} of 50, saved in {took:.1f} s", flush=True)
    print(f"50 interruptions: 0 points lost, 50 resumed once; saved in at most {max(times):.1f} s, median {sorted(times)[25]:.1f} s")
    assert max(times) < 20

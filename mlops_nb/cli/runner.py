"""`mlops-nb runner ...`: machines for CI jobs and notebooks, which end by themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from mlops_nb.cli.forge_options import flag, forge_command, forge_group
from mlops_nb.cli.lazy import LazyGroup
from mlops_nb.cli.output import json_option, say

CODES = "Exit status: 0 done (or a runner that fits is there already), 1 failed and nothing is left, 2 wrong usage."

_LAZY = {
    "agent": ("runner_agent:agent", ""),
    "attach": ("runner_run:attach", "Follow a job."),
    "cancel": ("runner_run:cancel", "End a job."),
    "jobs": ("runner_run:jobs", "List the jobs."),
    "run": ("runner_run:run", "Execute a notebook on a runner and bring it back."),
}


class _Group(LazyGroup):
    """The group of runners; CML's `cml runner --labels gpu` is `runner launch`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        asks = args[:1] in (["-h"], ["--help"])
        if args[:1] and args[0].startswith("-") and not asks and not set(args) & set(self.list_commands(ctx)):
            args = ["launch", *args]
        return super().parse_args(ctx, args)


@forge_group(cls=lambda *args, **kwargs: _Group(*args, lazy=_LAZY, **kwargs))  # type: ignore[arg-type]
def runner() -> None:
    """Rent or use machines for CI jobs and notebooks; each ends by itself."""


def _options(function: Any) -> Any:
    many: dict[str, Any] = {"multiple": True}
    decorators: Sequence[Callable[[Any], Any]] = (
        click.option("--labels", default="cml", show_default=True, metavar="A,B", help="By which jobs choose it."),
        click.option("--name", metavar="NAME", help="Lower case, digits and hyphens; a new one by default."),
        click.option("--idle-timeout", default="5 minutes", show_default=True, metavar="TIME", help="End after this time without work."),
        click.option("--max-hours", type=float, default=4.0, show_default=True, metavar="H", help="End then, whatever it does."),
        click.option("--max-cost", type=float, metavar="USD", help="End when it has cost this by the list price."),
        click.option(*("--no-retry/--retry", "no_retry"), default=False, help="Do not run a workflow again whose machine was taken back."),
        flag("--single", help="End after one job."),
        flag("--reuse", help="Do nothing if a runner of this name, or with all these labels, is there."),
        flag("--reuse-idle", help="Do nothing if a runner with all these labels is there and has no work."),
        click.option("--docker-volumes", **many, metavar="VOLUME", help="Of GitLab's docker executor: /host:/container."),
        click.option("--docker-image", default="", metavar="IMAGE", help="Of GitLab's docker executor, where a job names none."),
        click.option(
            *("--executor",), type=click.Choice(["docker", "shell"]), default="docker", show_default=True, help="Of GitLab's runner."
        ),
        click.option("--cloud", "--on", "cloud", metavar="CLOUD", help="aws, gcp, azure, kubernetes, ssh:HOST; else this machine."),
        click.option("--cloud-region", default="", metavar="REGION", help="us-west, us-east, eu-west, eu-north, or the cloud's own."),
        click.option("--zones", **many, metavar="A,B", help="In this order, where one has nothing left."),
        click.option("--cloud-type", "--types", "types", **many, metavar="A,B", help="s, m, l, xl, m+v100 or native, in this order."),
        click.option("--cloud-gpu", default="", metavar="GPU", help="nogpu, t4, l4, a100:2 or the cloud's own."),
        click.option("--cloud-hdd-size", type=click.IntRange(1, 65_536), metavar="GB", help="Of the disk; 35 by default."),
        click.option("--cloud-permission-set", default="", metavar="ROLE", help="Instance profile, service account, identities."),
        click.option("--cloud-metadata", **many, metavar="KEY=VALUE", help="More tags."),
        flag("--cloud-spot", help="A spot machine: cheaper, and may be taken back."),
        click.option("--cloud-spot-price", type=float, metavar="USD", help="Highest hourly price; the list price by default."),
        click.option("--cloud-startup-script", default="", metavar="BASE64", help="Runs before the agent."),
        click.option("--cloud-ssh-private", default="", metavar="PEM", help="Opens SSH for this key; closed by default."),
        click.option("--cloud-aws-security-group", default="", metavar="ID", help="Instead of one without inbound rules."),
        click.option(
            "--cloud-aws-subnet", "--cloud-aws-subnet-id", "subnet", default="", metavar="ID", help="Instead of the default network's."
        ),
        click.option("--cloud-kubernetes-node-selector", **many, metavar="KEY=VALUE", help="Labels of the node."),
        click.option("--cloud-kubernetes-namespace", default="", metavar="NAME", help="Instead of the configuration's."),
        click.option("--cloud-image", default="", metavar="IMAGE", help="The cloud's own name; else a current Ubuntu, or our container."),
        click.option("--mailbox", metavar="URL", help="s3://BUCKET/PREFIX where the machine fetches its secret, without a server."),
        click.option("--for", "work", type=click.Choice(["ci", "notebooks"]), default="ci", show_default=True, help="What it works on."),
        click.option("--workdir", "--path", "workdir", metavar="DIR", hidden=True),
        click.option("--destroy-delay", type=float, hidden=True, help="CML's; a machine ends as soon as nothing is left to do."),
        click.option("--tf-resource", hidden=True),
        click.option("--tpi-version", hidden=True),
        click.option("--cml-version", hidden=True),
        flag("--dry-run", help="Say what would be rented, for how much, and rent nothing."),
        flag("--wait", default=True, help="Until it is ready for work."),
        json_option,
    )
    for decorator in reversed(decorators):
        function = decorator(function)
    return function


@forge_command(runner, "launch", "RUNNER", epilog=CODES, short_help="Launch a runner on a cloud or here.")
@_options
def launch(dry_run: bool, json_flag: bool, **given: Any) -> None:
    """Launch a runner: on a cloud with --cloud, else the agent on this machine, in the foreground.

    No limit can be off: CML's --idle-timeout never lasts as long as --max-hours.
    """
    from mlops_nb.cli.runner_launching import launch_from, plan_from

    if dry_run:
        from mlops_nb.magics.runner_cards import plan_text

        plan = plan_from(given)
        say(plan, plan_text(plan), as_json=json_flag)
        return
    launch_from(given, as_json=json_flag)


@runner.command("list")
@click.option("--all", "-a", "everything", is_flag=True, help="Those that are gone, too.")
@json_option
def list_runners(everything: bool, json_flag: bool) -> None:
    """Show what is alive, what it costs, and when it stops."""
    from mlops_nb.fluent import runners
    from mlops_nb.magics.runner_cards import runners_text

    found = runners.runners(everything=everything)
    say(found, runners_text(found), as_json=json_flag)


@runner.command("show")
@click.argument("name")
@json_option
def show(name: str, json_flag: bool) -> None:
    """Show a runner and what happened to it."""
    from mlops_nb.fluent import runners
    from mlops_nb.magics.runner_cards import history_text

    found, events = runners.history(name)
    say({"runner": found, "events": events}, history_text(found, events), as_json=json_flag)


@runner.command("logs", short_help="Show what a machine has said.")
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on until it ends.")
def logs(name: str, follow: bool) -> None:
    """Show what a machine has said: its agent's log, else its console."""
    from mlops_nb.core.formatting import log_text
    from mlops_nb.fluent import runners

    for piece in runners.logs(name, follow=follow):
        click.echo(log_text(piece), nl=False)


@runner.command("stop")
@click.argument("name")
def stop(name: str) -> None:
    """Take no more work, finish the present job, and end."""
    from mlops_nb.fluent import runners

    found = runners.stop(name)
    click.echo(f"◌ {found.name} ends after its job." if found.job else f"◌ {found.name} ends.")


@runner.command("down")
@click.argument("names", nargs=-1)
@click.option("--all", "-a", "everything", is_flag=True, help="All that are alive here.")
def down(names: Sequence[str], everything: bool) -> None:
    """End runners at once, and wait until nothing of them is left."""
    from mlops_nb.errors import InvalidInput
    from mlops_nb.fluent import runners

    if not names and not everything:
        raise InvalidInput("Which runner?", hint="Name one (mlops-nb runner list shows them), or say --all.")
    names = [found.name for found in runners.runners()] if everything else names
    for name in names:
        click.echo(f"■ {runners.down(name).name} is gone.")
    if not names:
        click.echo("Nothing is alive.")


@runner.command("extend")
@click.argument("name")
@click.argument("time")
def extend(name: str, time: str) -> None:
    """Let a runner live TIME longer, such as 30m."""
    from mlops_nb.core.durations import seconds_of
    from mlops_nb.fluent import runners
    from mlops_nb.magics.runner_cards import runners_text

    click.echo(runners_text([runners.extend(name, seconds_of(time))]))


@runner.command("reap", epilog="Exit status: 0 nothing is left, 1 something is, or a place could not be seen.")
@click.option("--cloud", "clouds", multiple=True, metavar="CLOUD", help="Only there; else wherever there are credentials.")
@click.option("--region", "regions", multiple=True, metavar="REGION", help="Only these; else all in use.")
@click.option("--repo", "repositories", multiple=True, metavar="URL", help="Registrations of runners there are looked at, too.")
@click.option("--name", "names", multiple=True, metavar="NAME", help="This runner goes now, also where nothing else is known of it.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@json_option
@click.pass_context
def reap(
    ctx: click.Context,
    clouds: Sequence[str],
    regions: Sequence[str],
    repositories: Sequence[str],
    names: Sequence[str],
    dry_run: bool,
    json_flag: bool,
) -> None:
    """End what is ours and past its time, for a schedule or a last step in CI. Nothing else is touched."""
    from mlops_nb.fluent import runners
    from mlops_nb.magics.runner_cards import reaped_text

    reaped = runners.reap(clouds=clouds, regions=regions, repositories=repositories, names=names, dry_run=dry_run)
    say(reaped, reaped_text(reaped), as_json=json_flag)
    if not reaped.is_clean:
        ctx.exit(1)


@runner.command("doctor", epilog="Exit status: 0 all is well, 1 something is not.", short_help="Check clouds, limits and leftovers.")
@click.option("--cloud", "clouds", multiple=True, metavar="CLOUD", help="Only this; else wherever there are credentials.")
@click.option("--reap", "reaping", is_flag=True, help="End leftovers, too.")
@json_option
@click.pass_context
def doctor(ctx: click.Context, clouds: Sequence[str], reaping: bool, json_flag: bool) -> None:
    """Check credentials, permissions, limits and leftovers of the clouds."""
    from mlops_nb.fluent import runners
    from mlops_nb.magics.runner_cards import findings_text

    found = runners.doctor(clouds=clouds)
    say(found, findings_text(found), as_json=json_flag)
    if reaping:
        ctx.invoke(reap, clouds=clouds, json_flag=json_flag)
    if not all(finding.ok for finding in found):
        ctx.exit(1)


@runner.command("estimate")
@click.option("--on", "clouds", multiple=True, metavar="CLOUD", help="Only there; else aws, gcp and azure.")
@click.option("--type", "--types", "types", multiple=True, metavar="A,B", help="s, m, l, xl or native.")
@click.option("--gpu", default="", metavar="GPU", help="t4, l4, a100:2 …")
@click.option("--region", default="", metavar="REGION", help="us-west, us-east, eu-west, eu-north, or the cloud's own.")
@click.option("--spot/--no-spot", default=None, help="Only spot machines, or none.")
@click.option("--hours", type=float, default=1.0, show_default=True, metavar="H", help="So long.")
@json_option
def estimate(clouds: Sequence[str], types: Sequence[str], gpu: str, region: str, spot: bool | None, hours: float, json_flag: bool) -> None:
    """Compare list prices of machines."""
    from mlops_nb.fluent import runners
    from mlops_nb.magics.runner_cards import estimate_text

    found = runners.estimate(clouds=clouds, types=types, gpu=gpu, region=region, spot=spot)
    say(found, estimate_text(found, hours), as_json=json_flag)

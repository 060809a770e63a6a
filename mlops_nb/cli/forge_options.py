"""What the commands that talk to a forge share: CML's ways with options, variables and negations, on click.

Every option is also the variable CML_<GROUP>_<OPTION> (and MLOPS_NB_<GROUP>_<OPTION>, which wins); the common ones also
CML_<OPTION>; and CML's old prefixes are known. An option may be written in camelCase, and a flag as --flag=false,
`--flag false` or --no-flag. An empty variable is as good as none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

COMMON = ("log", "driver", "repo", "driver_token")
BEFORE = (["--log"], ["--driver"], ["--repo"], ["--driver-token", "--token"])
"""The common options as they stand before the name of a command, which reads them."""
_OLD_PREFIXES = {
    "ASSET": "CML_PUBLISH",
    "CHECK": "CML_SEND_GITHUB_CHECK",
    "COMMENT": "CML_SEND_COMMENT",
    "REPO": "CML_CI",
    "TENSORBOARD": "CML_TENSORBOARD_DEV",
    "WORKFLOW": "CML_RERUN_WORKFLOW",
}
_OLD_VARIABLES = {
    ("TENSORBOARD", "CREDENTIALS"): "TB_CREDENTIALS",
    # Not RUNNER_NAME and the like: GitHub's own agent sets those for its jobs.
    **{("RUNNER", word): f"RUNNER_{word}" for word in ("LABELS", "IDLE_TIMEOUT", "SINGLE", "REUSE", "NO_RETRY", "PATH")},
    ("RUNNER", "DRIVER"): "RUNNER_DRIVER",
    ("RUNNER", "REPO"): "RUNNER_REPO",
}
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
EXIT_CODES = "Exit status: 0 done, 1 failed, 2 wrong usage"


class ForgeCommand(click.Command):
    """A command with CML's ways. `group` gives its variables their prefix."""

    group_name = ""

    def __init__(self, *args: Any, group: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group_name = group
        for parameter in self.params:
            if isinstance(parameter, click.Option) and parameter.envvar is None:
                parameter.envvar = variables(group, _long_names(parameter), common=parameter.name in COMMON)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, self._ours(args))
        for name, value in ctx.meta.get("mlops_nb.before", {}).items():
            if name in ctx.params and ctx.get_parameter_source(name) is not click.core.ParameterSource.COMMANDLINE:
                option = next(parameter for parameter in self.params if parameter.name == name)
                ctx.params[name] = option.type_cast_value(ctx, value)
        return rest

    def _ours(self, args: Sequence[str]) -> list[str]:
        """Return the arguments as click reads them: kebab case, and flags without values."""
        flags = {name for p in self.params if isinstance(p, click.Option) and p.is_flag for name in p.opts if name.startswith("--")}
        valued = {name for p in self.params if isinstance(p, click.Option) and not p.is_flag for name in p.opts}
        found: list[str] = []
        words = iter(list(args))
        pending = next(words, None)
        while pending is not None:
            word, pending = pending, next(words, None)
            if word == "--":
                return [*found, word, *([] if pending is None else [pending]), *words]
            name, equals, value = word.partition("=")
            if name.startswith("--"):
                name = kebab(name)
            if name in flags:
                if not equals and pending in ("true", "false"):
                    equals, value, pending = "=", pending, next(words, None)
                if equals and value not in ("true", "false"):
                    raise click.BadParameter(f"'{value}' is neither true nor false.", param_hint=name)
                found.append(f"--no-{name[2:]}" if value == "false" else name)
                continue
            found.append(name + equals + value)
            if name in valued and not equals and pending is not None:
                found.append(pending)
                pending = next(words, None)
        return found


def kebab(name: str) -> str:
    """Return --watermarkTitle as --watermark-title; what is in kebab case stays."""
    return _HUMP.sub("-", name).lower()


def variables(group: str, names: Sequence[str], *, common: bool = False) -> list[str]:
    """Return the environment variables of an option, those that win first."""
    words = [name.upper().replace("-", "_") for name in names]
    found = [f"{prefix}_{group}_{word}" for prefix in ("MLOPS_NB", "CML") for word in words]
    if group in _OLD_PREFIXES:
        found += [f"{_OLD_PREFIXES[group]}_{word}" for word in words]
    found += [_OLD_VARIABLES[group, word] for word in words if (group, word) in _OLD_VARIABLES]
    if common:
        found += [f"CML_{word}" for word in words]
    return found


def _long_names(option: click.Option) -> list[str]:
    return [name[2:] for name in option.opts if name.startswith("--")]


class _Flag(click.Option):
    """A flag whose negation is known, and shown only where the flag is on by default."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        record = super().get_help_record(ctx)
        if record is None or self.default:
            return record
        return ", ".join(self.opts), record[1]


def flag(*names: str, default: bool = False, hidden: bool = False, help: str = "") -> Callable[[F], F]:
    """Return an option that is yes or no, with its negations."""
    both = [f"{name}/--no-{name[2:]}" for name in names]
    return click.option(*both, names[0][2:].replace("-", "_"), cls=_Flag, default=default, hidden=hidden, help=help)


def common_options(command: F) -> F:
    """Give a command --log, --driver, --repo and --driver-token/--token."""
    options = (
        click.option(
            "--log",
            type=click.Choice(["error", "warn", "info", "debug"]),
            default="info",
            show_default=True,
            help="How much to tell on stderr.",
        ),
        click.option("--driver", type=click.Choice(["github", "gitlab", "bitbucket"]), help="The kind of forge; else found out."),
        click.option("--repo", metavar="URL", help="The repository: its URL or owner/name; else found out."),
        click.option(
            "--driver-token",
            "--token",
            "driver_token",
            metavar="TOKEN",
            help="The forge's token; better in REPO_TOKEN, for other users of a machine see arguments.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def forge_group(cls: type[click.Group] = click.Group) -> Callable[[Callable[[], None]], click.Group]:
    """Make a function a group whose commands take the common options before their name, too, as with CML."""

    def make(function: Callable[[], None]) -> click.Group:
        @click.pass_context
        def keep(ctx: click.Context, /, **before: Any) -> None:
            given = {name: value for name, value in before.items() if value is not None}
            ctx.meta["mlops_nb.before"] = {**ctx.meta.get("mlops_nb.before", {}), **given}

        group = click.group(function.__name__, cls=cls, help=function.__doc__)(keep)
        group.params = [click.Option(names, hidden=True) for names in BEFORE]
        return group

    return make


def forge_command(group: click.Group, name: str, prefix: str, **kwargs: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a function a command of a group, with the common options and CML's ways."""

    def make(function: Callable[..., Any]) -> click.Command:
        return group.command(name, cls=ForgeCommand, group=prefix, **kwargs)(common_options(_telling(function)))

    return make


def _telling(function: Callable[..., Any]) -> Callable[..., Any]:
    import functools

    @functools.wraps(function)
    def call(*args: Any, **given: Any) -> Any:
        from mlops_nb.cli.telling import tell_on_stderr

        tell_on_stderr(given.pop("log"), secret=given.get("driver_token"))
        return function(*args, **given)

    return call

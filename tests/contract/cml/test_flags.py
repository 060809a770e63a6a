"""Everything that CML's commands take, ours take too: names of options, variables, old names, ways of writing."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from mlops_nb.cli import commands

GLOBAL = ("log", "driver", "repo", "token", "driver-token")
COMMENT = (
    *("target", "watch", "publish", "publish-url", "publish-native", "native", "watermark-title"),
    *("pr", "commit-sha", "head-sha", "update", "rm-watermark", "trigger-file"),
)
OPTIONS: dict[tuple[str, str], tuple[str, ...]] = {
    ("comment", "create"): COMMENT,
    ("comment", "update"): COMMENT,
    ("asset", "publish"): ("md", "title", "native", "mime-type", "url", "file", "rm-watermark", "gitlab-uploads"),
    ("check", "create"): ("commit-sha", "head-sha", "title", "status", "conclusion"),
    ("pr", "create"): (
        *("md", "skip-ci", "merge", "auto-merge", "rebase", "squash", "branch", "target-branch", "title", "body", "message", "remote"),
        *("user-email", "user-name"),
    ),
    ("repo", "prepare"): ("fetch-depth", "unshallow", "user-email", "user-name"),
    ("workflow", "rerun"): ("id",),
    ("tensorboard", "connect"): ("credentials", "logdir", "name", "description", "md", "title", "file", "rm-watermark"),
}
SHORT = {("asset", "publish"): "tf", ("tensorboard", "connect"): "ctf"}
DEFAULTS = {
    ("comment", "create", "publish"): True,
    ("check", "create", "title"): "CML Report",
    ("check", "create", "status"): "completed",
    ("check", "create", "conclusion"): "success",
    ("pr", "create", "remote"): "origin",
    ("pr", "create", "user-name"): "Olivaw[bot]",
    ("repo", "prepare", "user-email"): "olivaw@iterative.ai",
    ("repo", "prepare", "log"): "info",
}
OLD_PREFIX = {
    "comment": "CML_SEND_COMMENT",
    "asset": "CML_PUBLISH",
    "check": "CML_SEND_GITHUB_CHECK",
    "repo": "CML_CI",
    "workflow": "CML_RERUN_WORKFLOW",
    "tensorboard": "CML_TENSORBOARD_DEV",
}
OLD_NAMES = {
    "send-comment": ("comment", "create"),
    "publish": ("asset", "publish"),
    "send-github-check": ("check", "create"),
    "rerun-workflow": ("workflow", "rerun"),
    "tensorboard-dev": ("tensorboard", "connect"),
}
ALL = [(command, name) for command, names in OPTIONS.items() for name in (*GLOBAL, *names)]


def command_of(*words: str) -> click.Command:
    found: click.Command = commands
    for word in words:
        assert isinstance(found, click.Group)
        inner = found.get_command(click.Context(found), word)
        assert inner is not None, word
        found = inner
    return found


def option_of(command: tuple[str, str], name: str) -> click.Option:
    for option in command_of(*command).params:
        if isinstance(option, click.Option) and f"--{name}" in option.opts:
            return option
    raise AssertionError(f"{' '.join(command)} has no --{name}")


@pytest.mark.parametrize(("command", "name"), ALL)
def test_every_option_is_there_with_its_variables(command: tuple[str, str], name: str) -> None:
    option = option_of(command, name)
    known = option.envvar or ()
    word = name.upper().replace("-", "_")
    assert f"CML_{command[0].upper()}_{word}" in known
    if command[0] in OLD_PREFIX:
        assert f"{OLD_PREFIX[command[0]]}_{word}" in known
    if name in GLOBAL:
        assert f"CML_{word}" in known
    if option.is_flag:
        assert f"--no-{name}" in option.secondary_opts
    if (*command, name) in DEFAULTS:
        assert option.default == DEFAULTS[*command, name]


def test_short_names_are_there() -> None:
    for command, letters in SHORT.items():
        known = {name for option in command_of(*command).params for name in option.opts}
        assert {f"-{letter}" for letter in letters} <= known
    assert "TB_CREDENTIALS" in (option_of(("tensorboard", "connect"), "credentials").envvar or ())


@pytest.mark.parametrize("old", OLD_NAMES)
def test_old_names_are_hidden_and_take_the_same(old: str) -> None:
    new = command_of(*OLD_NAMES[old])
    assert command_of(old).params == new.params
    assert old not in CliRunner().invoke(commands, ["--help"]).stdout


def given(command: tuple[str, str], *arguments: str, monkeypatch: pytest.MonkeyPatch, **variables: str) -> dict[str, object]:
    """Return what the command's options come to, without running it."""
    found: dict[str, object] = {}
    monkeypatch.setattr(command_of(*command), "callback", lambda **options: found.update(options))
    result = CliRunner().invoke(commands, [*arguments], env=variables)
    assert result.exit_code == 0, result.output
    return found


@pytest.mark.parametrize(
    ("arguments", "variables", "expected"),
    [
        (["--watermarkTitle=t"], {}, {"watermark_title": "t"}),
        (["--no-publish"], {}, {"publish": False}),
        (["--publish=false"], {}, {"publish": False}),
        (["--publish", "false", "--watch", "true"], {}, {"publish": False, "watch": True}),
        (["--headSha", "abc"], {}, {"commit_sha": "abc"}),
        ([], {"CML_COMMENT_PUBLISH": "false", "CML_SEND_COMMENT_WATERMARK_TITLE": "x"}, {"publish": False, "watermark_title": "x"}),
        ([], {"CML_TOKEN": "a", "CML_COMMENT_TOKEN": "b", "CML_DRIVER": "gitlab"}, {"driver_token": "b", "driver": "gitlab"}),
        (["--token", "c"], {"CML_TOKEN": "a"}, {"driver_token": "c"}),
        ([], {"CML_COMMENT_TARGET": "", "CML_REPO": "https://gitlab.com/a/b"}, {"target": None, "repo": "https://gitlab.com/a/b"}),
        ([], {"MLOPS_NB_COMMENT_TARGET": "pr", "CML_COMMENT_TARGET": "commit"}, {"target": "pr"}),
        (["--target=pr/1", "--watermark-title", "--odd"], {}, {"target": "pr/1", "watermark_title": "--odd"}),
    ],
)
def test_ways_of_writing(
    arguments: list[str], variables: dict[str, str], expected: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = given(("comment", "create"), "comment", "create", *arguments, "r.md", monkeypatch=monkeypatch, **variables)
    assert {name: found[name] for name in expected} == expected and found["markdown_file"] == Path("r.md")


@pytest.mark.parametrize(
    "words",
    [
        ["--repo=https://x.org/a/b", "--driver", "github", "comment", "create"],
        ["comment", "--repo=https://x.org/a/b", "--driver", "github", "create"],
        ["--repo", "https://y.org/a/b", "comment", "--repo", "https://x.org/a/b", "create", "--driver=github"],
    ],
)
def test_common_options_may_stand_before_each_word_of_the_command(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found = given(("comment", "create"), *words, "r.md", monkeypatch=monkeypatch)
    assert (found["repo"], found["driver"]) == ("https://x.org/a/b", "github")


def test_pr_alone_is_pr_create(monkeypatch: pytest.MonkeyPatch) -> None:
    found = given(("pr", "create"), "pr", "--md", "--auto-merge", "a b.json", "*.md", monkeypatch=monkeypatch)
    assert found["globs"] == ("a b.json", "*.md") and found["md"] is True and found["merge"] is True


@pytest.mark.parametrize(
    "words", [["pr", "--token", "create", "--log=warn", "."], ["pr", "--token", "create", "--log=warn", "create", "."]]
)
def test_common_options_after_pr_are_not_taken_for_files(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found = given(("pr", "create"), *words, monkeypatch=monkeypatch)
    assert (found["globs"], found["driver_token"]) == ((".",), "create")


@pytest.mark.parametrize("group", ["asset", "check", "comment", "pr", "repo", "tensorboard", "workflow"])
def test_groups_take_the_common_options_and_do_not_list_them(group: str) -> None:
    given_twice = CliRunner().invoke(commands, [group, "--driver=github", "--driver-token", "x", "--help"])
    assert given_twice.exit_code == 0 and "--driver" not in given_twice.stdout and "Commands:" in given_twice.stdout

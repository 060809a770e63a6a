"""`mlops-nb ci ...`: notebooks in continuous integration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlops_nb.cli.forge_options import flag, forge_command

if TYPE_CHECKING:
    from mlops_nb.ci.result import CiResult

_PATH = click.Path(dir_okay=False, path_type=Path)


@click.group()
def ci() -> None:
    """Run notebooks in continuous integration."""


@ci.command("run", short_help="Run notebooks, compare them with a baseline, apply the gates, write a report.")
@click.argument("notebooks", nargs=-1, required=True, metavar="NOTEBOOK...")
@click.option(
    "-p", "--parameters", nargs=2, multiple=True, metavar="KEY VALUE", help="A parameter; True, None and numbers are read as such."
)
@click.option("-r", "--parameters-raw", "raw", nargs=2, multiple=True, metavar="KEY VALUE", help="A parameter that stays a text.")
@click.option("-f", "--parameters-file", "files", multiple=True, metavar="FILE", help="A YAML file with parameters.")
@click.option("-y", "--parameters-yaml", "texts", multiple=True, metavar="YAML", help="Parameters as YAML.")
@click.option("--baseline", metavar="@main|rerun|none|RUN|FILE", help="What to compare with; by default @main, else .mlops/baseline.json.")
@click.option("--gates", type=_PATH, help="The gate file; by default .mlops/gates.yml, if it is there.")
@click.option(
    "--gates-from",
    type=click.Choice(["base", "here"]),
    help="Whose gates judge where this commit changes them: the default branch's (in a CI) or its own (elsewhere).",
)
@click.option("--report", type=_PATH, default="report.md", show_default=True, help="The report; .json and pictures lie beside it.")
@click.option("--html", is_flag=True, help="Write the report as one page, too.")
@click.option("--timeout", type=float, metavar="S", help="How long all of it may take (seconds).")
@click.option("--cell-timeout", type=float, metavar="S", help="How long one cell may take (seconds).")
@click.option("--start-timeout", type=int, default=60, show_default=True, metavar="S", help="How long a kernel may take to start.")
@click.option("--output-dir", type=click.Path(file_okay=False, path_type=Path), help="Where executed notebooks go; by default .mlops/ci.")
@click.option("-k", "--kernel", help="Instead of the notebooks' own.")
@click.option("--cwd", type=click.Path(file_okay=False, path_type=Path), help="The kernels' working directory; by default this one.")
@click.option("--pass-env", multiple=True, metavar="NAME", help="A variable that the notebooks may see; AWS_* names a family.")
@click.option("--summary", is_flag=True, help="Append the report to the job's summary ($GITHUB_STEP_SUMMARY).")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON on standard output.")
@click.pass_context
def run_command(
    context: click.Context,
    /,
    notebooks: tuple[str, ...],
    parameters: tuple[tuple[str, str], ...],
    raw: tuple[tuple[str, str], ...],
    files: tuple[str, ...],
    texts: tuple[str, ...],
    summary: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Run notebooks headlessly, compare each with its baseline, apply the gates and write a report. Nothing is posted.

    The notebooks see no tokens: of the environment they get what is known to be harmless and what --pass-env names.

    \b
    Exit status: 0 all passed          3 a notebook failed
                 1 a gate failed       4 the time was over
                 2 wrong usage         5 a kernel died
                 130, 143 a signal     6 not recorded or not comparable: the store
    """
    import os
    import sys

    from mlops_nb.ci import telling
    from mlops_nb.ci.progress import progress_for
    from mlops_nb.ci.result import Exit
    from mlops_nb.ci.running import run_notebooks
    from mlops_nb.ci.settings import parameters_of
    from mlops_nb.errors import InvalidInput, MlopsError, NotFound

    try:
        given = parameters_of(parameters, raw=raw, files=files, texts=texts)
        result = run_notebooks(notebooks, parameters=given, progress=progress_for(dict(os.environ)), **options)
    except MlopsError as error:
        is_usage = isinstance(error, (InvalidInput, NotFound))
        from mlops_nb.core.formatting import one_line

        click.echo(f"✗ {one_line(str(error))}", err=True)
        context.exit(int(Exit.USAGE if is_usage else Exit.NOT_RECORDED))
    telling.tell_github(result, os.environ, summary=summary)
    telling.annotate(result, os.environ, sys.stderr)
    _say(result, as_json)
    context.exit(result.exit_code)


def _say(result: CiResult, as_json: bool) -> None:
    if as_json:
        import msgspec

        value = {"verdict": result.verdict, **msgspec.to_builtins(result, enc_hook=str)}
        click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
        return
    from mlops_nb.core.formatting import one_line

    click.echo("\n".join(one_line(line) for line in str(result).splitlines()))
    for path in result.files:
        if path.suffix in (".md", ".html", ".json"):
            click.echo(f"wrote {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")


@forge_command(
    ci,
    "post",
    "CI",
    short_help="Post the report that `ci run` has left.",
    epilog="Exit status: 0 posted, 1 not posted, or with --exit-code not passed, 2 wrong usage, 3 not posted but saved to a file.",
)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--target", default="auto", metavar="TARGET", help="pr, commit, pr/42 or commit/f00ba4; else the pull request, or the commit."
)
@flag("--images", default=True, help="Upload the pictures and show them.")
@click.option(
    "--publish-url",
    metavar="URL",
    help="Where pictures go: s3://, gs:// or az://bucket/folder, mlflow-artifacts:; else to the forge itself.",
)
@flag("--check", default=True, help="Set the check on the commit.")
@flag("--exit-code", help="End with 1 unless all notebooks ran and no gate failed.")
@click.pass_context
def post_command(
    ctx: click.Context,
    /,
    *,
    folder: Path,
    target: str,
    images: bool,
    publish_url: str | None,
    check: bool,
    exit_code: bool,
    driver: str | None,
    repo: str | None,
    driver_token: str | None,
) -> None:
    """Post the report in FOLDER to the pull request, set the check, and print the comment's URL.

    For the job that holds the token. It trusts nothing in the folder: of report.json the schema is checked and the texts come
    out as text, the Markdown is made anew, pictures must be pictures, and the pull request is the one that the forge names.
    Where the token may not comment, as for a fork, the report goes to the summary of the job.
    """
    from mlops_nb.cli.places import open_forge, place_of, writer_of
    from mlops_nb.posting.ci_report import post_ci_report

    forge, context = open_forge(driver, repo, driver_token)
    done = post_ci_report(
        folder,
        forge,
        context,
        writer=writer_of(context),
        place=place_of(context),
        target=target,
        images=images,
        publish_url=publish_url,
        check=check,
    )
    if done.comment.url:
        click.echo(done.comment.url)
    if done.comment.kept_in_file:
        ctx.exit(3)
    if exit_code and not done.passed:
        click.echo("Not all notebooks ran to their end and passed their gates.", err=True)
        ctx.exit(1)


@ci.command("init", short_help="Write the workflow that runs notebooks and posts their report.")
@click.argument("notebooks", nargs=-1, metavar="[NOTEBOOK]...")
@click.option("--github", "forge", flag_value="github", help="Two files in .github/workflows.")
@click.option("--gitlab", "forge", flag_value="gitlab", help="One to include from .gitlab-ci.yml.")
@click.option("--bitbucket", "forge", flag_value="bitbucket", help="bitbucket-pipelines.yml.")
@click.option(
    "--baseline",
    type=click.Choice(["rerun", "file", "store"]),
    default="rerun",
    show_default=True,
    help="Compare with the base branch, run in the same job; with .mlops/baseline.json; or with the tracking server's last run of it.",
)
@click.option("--gates", metavar="FILE", help="The gate file; by default .mlops/gates.yml, if it is there.")
@click.option("--branch", metavar="NAME", help="The default branch; else found out.")
@click.option("--python", "python_version", default="3.12", show_default=True, metavar="VERSION", help="Of Python.")
@click.option("--requirements", metavar="FILE", help="What to install; by default requirements.txt, if it is there.")
@click.option("--images/--no-images", default=True, show_default=True, help="Pictures in the comment; they need the right to write.")
@click.option("--print", "only_print", is_flag=True, help="Print it and write nothing.")
@click.option("--force", is_flag=True, help="Replace files that are there and say something else.")
def init_command(
    notebooks: tuple[str, ...],
    forge: str | None,
    baseline: str,
    gates: str | None,
    branch: str | None,
    python_version: str,
    requirements: str | None,
    images: bool,
    only_print: bool,
    force: bool,
) -> None:
    """Write a workflow in two stages: one runs the notebooks without any secret, one posts and runs no code of the pull request.

    Without NOTEBOOK all notebooks that git knows are run.
    """
    from mlops_nb.ci.workflows import NEXT_STEPS, workflow_files, write_files
    from mlops_nb.ci.workflows.planning import plan_for, root_of

    root = root_of(Path.cwd())
    forge, plan = plan_for(
        root,
        forge=forge,
        notebooks=notebooks,
        baseline=baseline,
        gates=gates,
        branch=branch,
        python=python_version,
        requirements=requirements,
        images=images,
    )
    files = workflow_files(forge, plan)
    if only_print:
        for name, text in files.items():
            click.echo(f"# {name}\n{text}")
        return
    for path in write_files(root, files, replace=force):
        click.echo(f"wrote {path.relative_to(root)}")
    for line in NEXT_STEPS[forge]:
        click.echo(line)


@ci.group("baseline")
def baseline() -> None:
    """Keep baselines in the repository."""


@baseline.command("write")
@click.argument("runs", nargs=-1, metavar="[RUN...]")
@click.option("-o", "--output", type=_PATH, help="The file; by default .mlops/baseline.json.")
def write_baseline(runs: tuple[str, ...], output: Path | None) -> None:
    """Write runs as the baselines of their notebooks; without RUN the last run of `mlops-nb ci run`, of each notebook.

    Commit the file: `mlops-nb ci run` compares with it where the store has no run of the default branch.
    """
    from mlops_nb.ci.baseline_file import write_baseline_file

    path, names = write_baseline_file(runs, output)
    for name in names:
        click.echo(name)
    click.echo(f"wrote {path}")

"""`mlops-nb asset ...`"""

from __future__ import annotations

from pathlib import Path

import click

from mlops_nb.cli.forge_options import EXIT_CODES, flag, forge_command, forge_group


@forge_group()
def asset() -> None:
    """Publish files that a report shows or links to."""


@forge_command(asset, "publish", "ASSET", epilog=f"{EXIT_CODES}.")
@click.argument("file", metavar="ASSET", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@flag("--md", help="Print markdown: an image, or a link with the title or the file's name.")
@click.option("-t", "--title", metavar="TEXT", help="The title in markdown.")
@flag("--native", help="Publish with the forge itself, as is the default.")
@click.option("--mime-type", metavar="TYPE", help="Its media type; else found out from its content.")
@click.option(
    "--url",
    metavar="URL",
    help="Where it goes: s3://, gs:// or az://bucket/folder, mlflow-artifacts: (the tracking server); else to the forge itself.",
)
@click.option("-f", "--file", "output", type=click.Path(dir_okay=False, path_type=Path), help="Append what would be printed to this file.")
@flag("--gitlab-uploads", hidden=True, help="The old name of --native.")
@flag("--rm-watermark", hidden=True, help="Known for CML's sake: our addresses carry no mark.")
def publish(
    file: Path,
    md: bool,
    title: str | None,
    native: bool,
    mime_type: str | None,
    url: str | None,
    output: Path | None,
    gitlab_uploads: bool,
    rm_watermark: bool,
    driver: str | None,
    repo: str | None,
    driver_token: str | None,
) -> None:
    """Publish the file ASSET where those who may read the repository see it, and print its URL.

    Never at a public place of third parties: with GitHub it is a branch of the repository, with GitLab an upload of the
    project, with Bitbucket a download of the repository, or your own bucket.
    """
    from mlops_nb.cli.places import open_forge
    from mlops_nb.posting.publishing import asset_file, link, open_home

    content = asset_file(file, mime=mime_type)
    forge, _ = open_forge(driver, repo, driver_token)
    home = open_home(forge, None if native or gitlab_uploads else url)
    line = link(home.publish([content])[0], content, title=title, markdown=md)
    if output is None:
        click.echo(line)
        return
    with output.open("a", encoding="utf-8") as report:
        report.write(f"{line}\n")

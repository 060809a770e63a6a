"""`mlops-nb tensorboard ...`"""

from __future__ import annotations

from pathlib import Path

import click

from mlops_nb.cli.forge_options import EXIT_CODES, flag, forge_command, forge_group


@forge_group()
def tensorboard() -> None:
    """Bring TensorBoard's logs in and link to them."""


@forge_command(tensorboard, "connect", "TENSORBOARD", epilog=f"{EXIT_CODES}.")
@click.option("-c", "--credentials", metavar="JSON", help="Not needed any more: TensorBoard.dev is gone.")
@click.option("--logdir", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path), help="The folder with the logs.")
@click.option("--name", default="", help="The experiment; else the folder's name.")
@click.option("--description", default="", help="What the experiment says about itself, in markdown.")
@flag("--md", help="Print a link in markdown.")
@click.option("-t", "--title", default="", help="The link's text; else the name.")
@flag("--publish", default=True, help="Publish the curves with the forge, or at --publish-url; else they are written to a page here.")
@click.option("--publish-url", metavar="URL", help="s3://, gs:// or az://bucket/folder, which takes the whole page; or mlflow-artifacts:")
@click.option("-f", "--file", "output", hidden=True, type=click.Path(dir_okay=False, path_type=Path), help="Append the link to this file.")
@flag("--rm-watermark", hidden=True, help="Known for CML's sake: our addresses carry no mark.")
def connect(
    credentials: str | None,
    logdir: Path,
    name: str,
    description: str,
    md: bool,
    title: str,
    publish: bool,
    publish_url: str | None,
    output: Path | None,
    rm_watermark: bool,
    driver: str | None,
    repo: str | None,
    driver_token: str | None,
) -> None:
    """Import the logs below --logdir as runs, and print a link to their curves.

    The runs are in the tracking store: the sidebar, `mlops-nb track ls` and `%compare` show them. The link leads to a page
    in your bucket, or to a picture of the curves with the forge. TensorBoard.dev, which CML linked to, is gone.
    """
    from mlops_nb.cli.stores import served_store
    from mlops_nb.posting.event_files import import_logs, page, picture

    if credentials:
        click.echo("· The credentials of TensorBoard.dev are not needed: it is gone.", err=True)
    with served_store(None, None, create=True) as store:
        found = import_logs(store, logdir, name=name, description=description)
        click.echo(f"· {found.words} Experiment '{found.experiment}'.", err=True)
        heading = title or name or found.experiment
        if publish:
            from mlops_nb.cli.places import open_forge
            from mlops_nb.posting.publishing import BucketHome, open_home

            forge, _ = open_forge(driver, repo, driver_token)
            home = open_home(forge, publish_url)
            asset = page(store, found.runs, heading) if isinstance(home, BucketHome) else picture(store, found.runs, heading)
            url = home.publish([asset])[0]
        else:
            path = Path("tensorboard.html")
            path.write_bytes(page(store, found.runs, heading).content)
            url = str(path)
    line = f"[{heading}]({url})" if md else url
    if output is None:
        click.echo(line)
        return
    with output.open("a", encoding="utf-8") as report:
        report.write(f"{line}\n")

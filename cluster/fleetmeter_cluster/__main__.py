"""`python -m fleetmeter_cluster`: the local cluster on the command line."""

import json
import sys
import tempfile
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from fleetmeter_cluster import controlplane, images, lifecycle, needs, parts
from fleetmeter_cluster.failure import Failure
from fleetmeter_cluster.progress import Steps
from fleetmeter_cluster.state import Place

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
Name = Annotated[str, typer.Argument(help="eu or us")]


@app.command()
def up(name: Name = "eu") -> None:
    """Bring a cluster up (minutes the first time, seconds later) and say how to use it."""
    cluster = lifecycle.up(name)
    typer.echo(f"export KUBECONFIG={cluster.kubeconfig}")


@app.command()
def down(name: Name = "eu") -> None:
    """Remove everything of a cluster."""
    removed = lifecycle.down(name)
    typer.echo(f"removed: {', '.join(removed)}" if removed else f"nothing of the cluster {name} was there")


@app.command()
def status(
    name: Name = "eu", output: Annotated[str, typer.Option("-o", help="text or json")] = "text"
) -> None:
    """Say whether a cluster can be used; exits 1 where it can't."""
    found = lifecycle.status(name)
    if output == "json":
        typer.echo(json.dumps(asdict(found), default=str, indent=2))
    elif found.up:
        typer.echo(f"{name} is up: KUBECONFIG={Place(name).kubeconfig}")
    else:
        typer.echo(f"{name} is not usable: {', '.join(found.missing)}")
    raise typer.Exit(0 if found.up else 1)


@app.command()
def kubeconfig(name: Name = "eu") -> None:
    """Print the path of a cluster's kubeconfig; exits 1 where there is none."""
    cluster = Place(name).recorded()
    if cluster is None:
        raise Failure(f"there is no cluster {name}", remedy=f"python -m fleetmeter_cluster up {name}")
    typer.echo(cluster.kubeconfig)


@app.command("needs")
def show_needs(install: Annotated[bool, typer.Option("--install", help="install packages")] = False) -> None:
    """Say what this machine lacks, with the remedy; exits 1 where it lacks anything."""
    needs.check()
    if install:
        with Steps("What this machine needs") as steps:
            parts.install(steps)
    if missing := needs.packages():
        raise Failure(
            f"not installed: {', '.join(missing)}", remedy="python -m fleetmeter_cluster needs --install"
        )
    typer.echo("This machine has what it needs.")


@app.command()
def prepare() -> None:
    """Build and keep all programs and images, side by side."""
    with Steps("Programs and images") as steps:
        parts.bring(steps, images.PRODUCT)


@app.command()
def apiserver(folder: Annotated[Path | None, typer.Argument(help="where it keeps its files")] = None) -> None:
    """Run an API server with an etcd, alone on loopback, until it is interrupted."""
    with tempfile.TemporaryDirectory() as own, controlplane.apiserver(folder or Path(own)) as path:
        typer.echo(f"export KUBECONFIG={path}")
        threading.Event().wait()


def main() -> None:
    """Runs the command; a failure is told without a stack trace."""
    try:
        app()
    except Failure as failure:
        sys.exit(f"fleetmeter_cluster: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()

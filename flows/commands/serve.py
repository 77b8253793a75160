"""The command `serve`: the dashboard on this machine."""

from __future__ import annotations

import gc
import socket
from pathlib import Path

import click

from flows.commands.options import workspace_option
from labeling.errors import FeatlasError


@click.command()
@workspace_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8600, show_default=True, help="0 takes any free port.")
@click.option(
    "--allow-host",
    "names",
    multiple=True,
    help="A name besides 127.0.0.1 and localhost under which browsers may ask, such as this machine's; several times.",
)
def serve(workspace: Path, host: str, port: int, names: tuple[str, ...]) -> None:
    """Show a workspace in the browser: scoreboard, features, map, runs, SQL. It only reads, and shows new runs by itself.

    Whoever reaches the address reads everything in the workspace; there is no password. Ctrl-C ends it.
    """
    import uvicorn

    from dashboards.app import create_app, is_loopback
    from flows.comparer import comparer
    from labeling.workspace import Workspace

    place = Workspace(workspace)
    if not place.root.is_dir():
        raise FeatlasError(
            f"There is no workspace at {workspace}. `featlas demo` makes one, or name another with -w DIR."
        )
    hosts = [*names, *([] if is_loopback(host) or host in ("0.0.0.0", "::") else [host])]
    listener = _listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    click.echo(f"Featlas shows {place.root} at http://{shown}:{listener.getsockname()[1]}  (Ctrl-C ends it)")
    app = create_app(place, hosts=hosts, comparer=comparer())
    gc.freeze()  # what is loaded now stays; to look through it for garbage would take 90 ms of one page in eighty
    config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
    uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    """A socket on the address, before anything else starts. Raise FeatlasError when it can't be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        raise FeatlasError(
            f"Nothing can listen on {host} port {port}: {error.strerror or error}. Name another --port (0 takes any free "
            "one), or another --host."
        ) from error
    return listener

"""`rwid up`: Dagster and the pages in one foreground process group."""

import sys
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assets.console import Session

if TYPE_CHECKING:
    from assets.servers import Server

LOOPBACK = "127.0.0.1"


def up(
    context: typer.Context,
    host: Annotated[
        str, typer.Option(help="Where the pages listen. Dagster stays on loopback: it has no login.")
    ] = LOOPBACK,
    port_ui: Annotated[int, typer.Option(help="Port of the pages.")] = 8501,
    port_dagster: Annotated[int, typer.Option(help="Port of Dagster.")] = 3000,
) -> None:
    """Dagster and the pages, on loopback; Ctrl-C stops both.

    Example: rwid up --port-ui 8502 --port-dagster 3001
    """
    from assets.instance import opened
    from assets.servers import Servers, require_free
    from curation.settings import open_home

    session: Session = context.obj
    require_free(host, port_ui, "--port-ui")
    require_free(LOOPBACK, port_dagster, "--port-dagster")
    places = open_home(session.settings())
    dagster_url = f"http://{LOOPBACK}:{port_dagster}"
    pages_url = f"http://{host}:{port_ui}"
    with opened(places):  # reports what a killed host left, before the daemon looks at it
        logs = places.dagster / "servers"
        logs.mkdir(exist_ok=True)
        # modules come from what is installed, never from the folder in which somebody happens to stand
        environment = {"RWID_DAGSTER_URL": dagster_url, "PYTHONSAFEPATH": "1"}
        servers = Servers(_servers(places.dagster, host, port_ui, port_dagster), environment)
        session.say(f"Starting Dagster and the pages over {places.home} …")
        try:
            with servers:
                servers.wait_ready(session.say)
                if host not in (LOOPBACK, "localhost", "::1"):
                    session.say(f"The pages are open to whoever reaches {host}: they have no login.")
                facts = {"ui": pages_url, "dagster": dagster_url, "home": str(places.home)}
                session.done(facts, f"Pages    {pages_url}", f"Dagster  {dagster_url}", "Ctrl-C stops both.")
                sys.stdout.flush()
                servers.watch()
        except KeyboardInterrupt:
            session.say("Stopped.")


def _servers(dagster_home: Path, host: str, port_ui: int, port_dagster: int) -> list["Server"]:
    from assets.servers import Server

    workspace = ["-w", str(dagster_home / "workspace.yaml")]
    logs = dagster_home / "servers"
    pages = str(resources.files("ui") / "asgi_app.py")
    web = [
        "-m",
        "dagster_webserver",
        *workspace,
        "-h",
        LOOPBACK,
        "-p",
        str(port_dagster),
        "--log-level",
        "warning",
    ]
    flags = ["--server.address", host, "--server.port", str(port_ui), "--server.headless", "true"]
    quiet = ["--browser.gatherUsageStats", "false"]
    return [
        Server(
            "Dagster",
            [sys.executable, *web],
            f"http://{LOOPBACK}:{port_dagster}/server_info",
            logs / "webserver.txt",
        ),
        Server(
            "Dagster's daemon",
            [sys.executable, "-m", "dagster._daemon", "run", *workspace],
            None,
            logs / "daemon.txt",
        ),
        Server(
            "The pages",
            [sys.executable, "-m", "streamlit", "run", pages, *flags, *quiet],
            f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port_ui}/_stcore/health",  # noqa: S104
            logs / "pages.txt",
        ),
    ]

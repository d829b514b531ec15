"""Who may use the local servers: the logins of a stack, and how its clients get them.

Both logins are drawn anew by every `ferops up`. What an earlier stack gave away (a browser keeps logins by address, and
after `ferops down` another user may listen there) is worth nothing then.
"""

from __future__ import annotations

import base64
import os
import re
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from ferops.errors import FeropsError
from ferops.files import atomic_file
from ferops.layout import Layout
from ferops.local.ports import HOST, Ports
from ferops.private import password, private_folder

USER = "ferops"
SERVERS = ("prefect", "mlflow")
ORIGINS_VARIABLE = "FEROPS_ALLOWED_ORIGINS"


def renew(layout: Layout) -> None:
    """Draw new passwords, and put Prefect's where the `prefect` command reads it (prefect.toml: profiles_path)."""
    for name in SERVERS:
        (private_folder(layout) / name).unlink(missing_ok=True)
    with atomic_file(_profile(layout)) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_text(
            "# Written by `ferops up`, removed by `ferops down`; settings of your own belong in prefect.toml\n"
            f'active = "ferops"\n\n[profiles.ferops]\nPREFECT_API_AUTH_STRING = "{login(layout, "prefect")}"\n',
            encoding="utf-8",
        )


def forget(layout: Layout) -> None:
    """Remove what `renew` made: nobody's password is sent to whoever listens on the port next."""
    _profile(layout).unlink(missing_ok=True)
    for name in SERVERS:
        (layout.state / "private" / name).unlink(missing_ok=True)


def login(layout: Layout, name: str) -> str:
    """Return `user:password` for the server `name`, one of SERVERS."""
    return f"{USER}:{password(layout, name)}"


def authorization(layout: Layout, name: str) -> str:
    """Return the header Authorization for the server `name`."""
    return basic(login(layout, name))


def basic(login: str) -> str:
    """Return `user:password` as HTTP's scheme Basic sends it."""
    return "Basic " + base64.b64encode(login.encode()).decode()


def client_environment(layout: Layout, ports: Ports) -> dict[str, str]:
    """Return the variables with which Prefect's and MLflow's clients reach the stack."""
    return {
        "PREFECT_API_URL": f"{ports.prefect_url}/api",
        "PREFECT_API_AUTH_STRING": login(layout, "prefect"),
        "MLFLOW_TRACKING_URI": ports.mlflow_url,
        "MLFLOW_TRACKING_USERNAME": USER,
        "MLFLOW_TRACKING_PASSWORD": password(layout, "mlflow"),
    }


def logins_for(addresses: Mapping[str, str], layout: Layout, ports: Ports) -> dict[str, str]:
    """Return the logins for those addresses, of the variables PREFECT_API_URL and MLFLOW_TRACKING_URI, that name the
    stack's own servers; one of another server is the person's own matter."""
    own = client_environment(layout, ports)
    found = {}
    if _same(addresses.get("PREFECT_API_URL"), ports.prefect):
        found["PREFECT_API_AUTH_STRING"] = own["PREFECT_API_AUTH_STRING"]
    if _same(addresses.get("MLFLOW_TRACKING_URI"), ports.mlflow):
        found |= {name: own[name] for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")}
    return found


def as_shell(environment: Mapping[str, str]) -> str:
    """Return lines for a shell: eval "$(ferops env)"."""
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in environment.items())


def allowed_origins() -> list[str]:
    """Return the further origins that FEROPS_ALLOWED_ORIGINS, separated by commas, lets use the servers.

    Raises:
        FeropsError: one is not an origin.
    """
    origins = [each.strip() for each in os.environ.get(ORIGINS_VARIABLE, "").split(",") if each.strip()]
    for origin in origins:
        if not re.fullmatch(r"https?://[a-z0-9.-]+(:\d+)?|https?://\[[0-9a-f:]+\](:\d+)?", origin):
            raise FeropsError(
                f"{ORIGINS_VARIABLE} holds {origin!r}; an origin is https://host or https://host:port, in small "
                "letters and without a path, and several are separated by commas"
            )
    return origins


def close_to_others(layout: Layout) -> None:
    """Make what the stack keeps in files as private as its servers: only their owner may look inside.

    Raises:
        FeropsError: anybody may write in the project's folder, and so run code as its owner, or it is another user's.
    """
    root = layout.root
    if root.stat().st_mode & stat.S_IWOTH:
        raise FeropsError(
            f"everybody may write in {root.resolve()}, and so change what the stack runs in your name. Take that away: "
            f"chmod o-w {root.resolve()}"
        )
    folders = [layout.state, root / ".prefect", root / "mlruns"]
    try:
        for folder in folders:
            folder.mkdir(exist_ok=True)
            folder.chmod(0o700)
        for file in root.glob("mlflow.db*"):
            file.chmod(0o600)
    except PermissionError as error:
        raise FeropsError(
            f"{error.filename} belongs to another user, so it cannot be kept from others. Work in a clone of your own"
        ) from error


def _same(address: str | None, port: int) -> bool:
    parts = urlsplit(address or "")
    try:
        return parts.scheme == "http" and parts.hostname in (HOST, "localhost") and parts.port == port
    except ValueError:  # no such port
        return False


def _profile(layout: Layout) -> Path:
    return layout.root / ".prefect" / "profile.toml"

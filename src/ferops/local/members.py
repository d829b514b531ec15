"""Who may do what in a team's registry: MLflow's auth app, two roles, and one rule that MLflow has no permission for.

A `trainer` may log runs and register versions, a `reviewer` may read runs and move aliases. For MLflow both are changes
of the model, so whoever may register could promote. Hence `Reviewers`, which stands before it: an alias other than
`challenger` is moved, a model renamed, a tag of promotions set and a version deleted that `register` has finished by
reviewers and the stack's own login only; as far as MLflow lets them.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import anyio.to_thread
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ferops.errors import FeropsError
from ferops.local.access import USER
from ferops.local.announce import ALIAS
from ferops.registry.connection import EXPERIMENT
from ferops.registry.creation import PENDING_TAG
from ferops.registry.versions import CHALLENGER

Role = Literal["trainer", "reviewer"]
GRANTS: dict[Role, dict[str, str]] = {
    "trainer": {
        "workspace": "USE",
        "experiment": "EDIT",
        "registered_model": "EDIT",
        # `register` ends a version's tag, and removes what a killed one has left
        "registered_model_version": "MANAGE",
        "logged_model": "MANAGE",
    },
    "reviewer": {"workspace": "USE", "registered_model": "EDIT"},
}
"""MLflow's permissions by role; everybody with a login may read."""

WORKSPACE = "default"
RENAME, TAGS = (
    "/mlflow/registered-models/rename",
    ("/mlflow/model-versions/set-tag", "/mlflow/model-versions/delete-tag"),
)
DELETE = "/mlflow/model-versions/delete"
PROMOTION_TAGS = "promoted_"
_LARGEST_BODY = 65_536  # bytes; such a request holds three names
_AUTH = """[mlflow]
default_permission = READ
database_uri = {database}
admin_username = {user}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 300
"""
"""A login is hashed slowly on purpose, and a `register` sends hundreds of requests: it is remembered for five minutes.
The server is one process, whose own changes of logins count at once."""

log = logging.getLogger("uvicorn.error")


def protected(database: str, *, password: str, csrf_key: str, model: str) -> ASGIApp:
    """Return MLflow's server with its auth app over its stores, which are ready; their settings are in the environment.

    Args:
        database: SQLAlchemy's address of the database, which holds the members, too.
        password: of the stack's own login, new with every start.
        csrf_key: signs the cookie of MLflow's sign-up page.
        model: the name of the registered model. It is made here: whoever makes it owns it.
    """
    os.environ |= {
        "_MLFLOW_SGI_NAME": "uvicorn",
        "MLFLOW_FLASK_SERVER_SECRET_KEY": csrf_key,
        "MLFLOW_AUTH_ADMIN_USERNAME": USER,
        "MLFLOW_AUTH_ADMIN_PASSWORD": password,
        "MLFLOW_BASIC_AUTH_FAIL_CLOSED": "true",
    }
    # MLflow reads the address from a file, once, at import: it holds a password, so it does not stay
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "auth.ini"
        file.touch(mode=0o600)
        file.write_text(_AUTH.format(database=database.replace("%", "%%"), user=USER), encoding="utf-8")
        os.environ["MLFLOW_AUTH_CONFIG_PATH"] = str(file)
        from mlflow.server import auth
    app: ASGIApp = auth.create_app()
    auth.store.update_user(USER, password=password, is_admin=True)
    _make_roles(auth.store)
    _make_model(model)
    return Reviewers(app, auth.store, begun=_begun, take_away=_take_away)


def _take_away(asked: dict[str, Any]) -> None:
    from mlflow.server.handlers import _get_model_registry_store

    registry: Any = _get_model_registry_store()
    registry.delete_registered_model_alias(str(asked.get("name")), str(asked.get("alias")))


def _begun(asked: dict[str, Any]) -> bool:
    from mlflow.exceptions import MlflowException
    from mlflow.server.handlers import _get_model_registry_store

    registry: Any = _get_model_registry_store()
    try:
        return PENDING_TAG in registry.get_model_version(str(asked.get("name")), str(asked.get("version"))).tags
    except MlflowException:
        return False


def _make_roles(store: Any) -> None:
    known = {role.name: role for role in store.list_roles([WORKSPACE])}
    for name, grants in GRANTS.items():
        role = known.get(name) or store.create_role(name, WORKSPACE, description="made by ferops: docs/team.md")
        has = {each.resource_type: each for each in store.list_role_permissions(role.id)}
        for kind, permission in grants.items():
            if kind not in has:
                store.add_role_permission(role.id, kind, "*", permission)


def _make_model(name: str) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.server.handlers import _get_model_registry_store, _get_tracking_store

    registry: Any = _get_model_registry_store()
    tracking: Any = _get_tracking_store()
    try:
        registry.create_registered_model(name, description="Facial-expression classifiers made by ferops.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    if tracking.get_experiment_by_name(EXPERIMENT) is None:
        tracking.create_experiment(EXPERIMENT, artifact_location=None, tags=[])


class Reviewers:
    """ASGI middleware: refuses (403) what is a reviewer's matter and comes from others; logs what a reviewer did.

    It takes aliases away itself: MLflow asks for the permission to delete the whole model.
    """

    def __init__(
        self,
        app: ASGIApp,
        store: Any,
        *,
        begun: Callable[[dict[str, Any]], bool],
        take_away: Callable[[dict[str, Any]], None],
    ) -> None:
        """`begun` tells whether the version that a request names is one that `register` has not finished; `take_away`
        removes the alias that a request names."""
        self._app = app
        self._store = store
        self._begun = begun
        self._take_away = take_away

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].rstrip("/") if scope["type"] == "http" else ""
        if not path.endswith((ALIAS, RENAME, DELETE, *TAGS)) or scope["method"] == "GET":
            await self._app(scope, receive, send)
            return
        body = await _body(receive)
        asked = None if body is None else _asked(body)
        begun = False
        if asked is not None and path.endswith(DELETE):
            begun = await anyio.to_thread.run_sync(self._begun, asked)
        if body is not None and (begun or not takes_reviewer(path, scope["method"], asked)):
            await self._app(scope, _replayed(body, receive), send)
            return
        who = await anyio.to_thread.run_sync(self._member, Headers(scope=scope).get("authorization", ""))
        takes_away = path.endswith(ALIAS) and scope["method"] == "DELETE" and asked is not None
        # `register` takes the challenger away where gates fail that passed before
        own = takes_away and asked is not None and asked.get("alias") == CHALLENGER
        if who is None or body is None or not (who[1] & ({"reviewer", "trainer"} if own else {"reviewer"})):
            reason = (
                "It takes the role reviewer to move an alias other than challenger: ferops member NAME --role reviewer"
            )
            content = {"error_code": "PERMISSION_DENIED", "message": reason}
            await JSONResponse(content, status_code=403 if who else 401)(scope, receive, send)
            return
        status = 500

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        app = _Remover(self._take_away, asked) if takes_away and asked is not None else self._app
        await app(scope, _replayed(body, receive), note)
        if status < 300:
            log.info("%s: %s %s %s", who[0], scope["method"], path.rpartition("/")[2], json.dumps(asked))

    def _member(self, authorization: str) -> tuple[str, set[str]] | None:
        """Return the name that this header proves, and its roles; None without a right login."""
        scheme, _, encoded = authorization.partition(" ")
        try:
            name, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        if scheme.lower() != "basic" or not colon or not self._store.authenticate_user(name, password):
            return None
        user = self._store.get_user(name)
        roles = {role.name for role in self._store.list_user_roles_for_workspace(user.id, WORKSPACE)}
        return name, set(GRANTS) if user.is_admin else roles


class _Remover:
    """Answers one request, which takes an alias away."""

    def __init__(self, take_away: Callable[[dict[str, Any]], None], asked: dict[str, Any]) -> None:
        self._take_away = take_away
        self._asked = asked

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from mlflow.exceptions import MlflowException

        try:
            await anyio.to_thread.run_sync(self._take_away, self._asked)
        except MlflowException as error:
            known: Any = error  # untyped
            content = {"error_code": known.error_code, "message": known.message}
            await JSONResponse(content, status_code=known.get_http_status_code())(scope, receive, send)
        else:
            await JSONResponse({})(scope, receive, send)


def takes_reviewer(path: str, method: str, asked: dict[str, Any] | None) -> bool:
    """Whether a request to `path`, one that this module watches, is a reviewer's matter; what is unclear is."""
    if asked is None or path.endswith((RENAME, DELETE)):
        return True
    if path.endswith(ALIAS):
        return method != "POST" or asked.get("alias") != CHALLENGER
    key = str(asked.get("key"))
    return key.startswith(PROMOTION_TAGS) or (key == PENDING_TAG and method == "POST")


async def _body(receive: Receive) -> bytes | None:
    """Return the request's body; None if it is too large."""
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if len(body) > _LARGEST_BODY:
            return None
        if not message.get("more_body", False):
            return body


def _replayed(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _asked(body: bytes) -> dict[str, Any] | None:
    """Return the fields of a JSON object; None for anything that another reader might understand in another way."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) < len(pairs):
            raise ValueError("a field twice")
        return dict(pairs)

    try:
        found = json.loads(body, object_pairs_hook=once)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def set_member(uri: str, name: str, *, role: Role | None) -> str | None:
    """Give `name` a role and a new password, which is returned; without a role, take the login away.

    The environment has the stack's own login.

    Raises:
        FeropsError: the name is the stack's own, unknown (to be removed), or MLflow refuses it.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.server.auth.client import AuthServiceClient

    if name == USER:
        raise FeropsError(f"{USER} is the stack's own login; `ferops env` shows it, and `ferops up` renews it")
    client: Any = AuthServiceClient(uri)
    try:
        client.get_user(name)
        known = True
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        known = False
    if role is None:
        if not known:
            raise FeropsError(f"{name} has no login here, so there is none to remove")
        client.delete_user(name)
        return None
    password = secrets.token_urlsafe(32)
    try:
        if known:
            client.update_user_password(name, password)
        else:
            client.create_user(name, password)
    except MlflowException as error:
        raise FeropsError(f"MLflow refuses the login {name!r}: {error.message}") from error
    roles = {each.name: each.id for each in client.list_roles(WORKSPACE)}
    has = {each.name: each.id for each in client.list_user_roles(name)}
    for other in has.keys() & GRANTS.keys() - {role}:
        client.unassign_role(name, has[other])
    if role not in has:
        client.assign_role(name, roles[role])
    return password

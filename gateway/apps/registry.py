"""Which Dify app answers under which model id, as of the last refresh."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import field, replace

from gateway.dify_api.app import App, AppKey
from gateway.dify_api.description import AppDescription
from gateway.errors import GatewayError, ModelNotFound, NotReady
from gateway.exchange.model import Model
from gateway.frozen import frozen

_FEW = 20  # ids that an error message may list
_SUFFIX_LENGTH = 6
_LONGEST_ERROR = 300  # characters

_Identity = tuple[str, str]  # key and base URL: what makes two configured keys the same app


@frozen
class Snapshot:
    """The apps of one refresh. Never changed, only replaced whole, so a request sees one state to its end."""

    models: Mapping[str, App] = field(default_factory=dict)  # by model id, in configured order
    aliases: Mapping[str, App] = field(default_factory=dict)  # ids that work without being listed
    listing: tuple[Model, ...] = ()  # ready for the model list

    def find(self, model_id: str) -> App | None:
        """The app that answers under this exact id."""
        return self.models.get(model_id) or self.aliases.get(model_id)


@frozen
class AppState:
    """How one configured key is doing, for operators."""

    key: AppKey
    app: App | None  # as last seen; None: never seen
    error: str | None  # one line, without the key; None: the last refresh went well
    since: float  # when this good or bad time began
    refreshed: float | None  # when Dify last described the app


@frozen
class _Known:
    """What is remembered of a key between refreshes."""

    description: AppDescription | None = None
    created: int = 0
    error: str | None = None
    since: float = 0.0
    refreshed: float | None = None


class AppRegistry:
    """Model ids of all configured keys.

    An app's id is its name. Of several apps with one name the first configured keeps it, each other one gets
    `name-` and six hexadecimal digits that depend on its key and base URL only. So ids follow from the configuration
    and from what the apps are called, never from which app answered first: restarts and other nodes come to the same.

    What stays open is a key that has not answered since the start: its name is unknown, and until it does answer the
    next app of that name goes by the plain name. Who must be sure uses `name-` with the six digits: it works for
    every app, also where it is not listed, and means the same app on every node at any time.

    Ids that an app had before it was renamed go on working until restart, unless another app is now called that.
    """

    def __init__(self) -> None:
        self.snapshot = Snapshot()
        self.states: tuple[AppState, ...] = ()
        self.ready = False  # whether any app has ever been loaded
        self._known: dict[_Identity, _Known] = {}
        self._former: dict[str, _Identity] = {}  # id → who had it last

    def update(self, results: Sequence[tuple[AppKey, AppDescription | GatewayError]], now: float) -> None:
        """Take in one refresh: an entry for each configured key, in configured order.

        An error keeps the key's last good app. A key without an entry is no longer configured and is forgotten.
        """
        keys: dict[_Identity, AppKey] = {}
        known: dict[_Identity, _Known] = {}
        for key, result in results:
            identity = _identity(key)
            if identity not in keys:  # configured twice counts once
                keys[identity] = key
                known[identity] = _learn(self._known.get(identity, _Known()), key, result, now)
        seen: dict[_Identity, App] = {}
        for identity, key in keys.items():
            description = known[identity].description
            if description and (app := _build_app(key, description, known[identity].created)):
                seen[identity] = app
        apps = _with_ids(seen)
        self._remember_former_ids(apps)
        self._known = known
        self.ready = self.ready or bool(apps)
        self.states = tuple(
            AppState(key, apps.get(identity), fact.error, fact.since, fact.refreshed)
            for (identity, key), fact in zip(keys.items(), known.values(), strict=True)
        )
        self.snapshot = _snapshot(apps, self._former)

    def find(self, model_id: str) -> App:
        """The app that answers under this id. Raises ModelNotFound, or NotReady as long as no app was ever seen."""
        app = self.snapshot.find(model_id)
        if app:
            return app
        if not self.ready:
            raise NotReady("No Dify app could be asked yet; the gateway keeps trying.")
        ids = self.snapshot.models
        known = f" Available models: {', '.join(ids)}." if 0 < len(ids) <= _FEW else ""
        raise ModelNotFound(f"The model {model_id[:200]!r} does not exist.{known}", param="model")

    def _remember_former_ids(self, apps: Mapping[_Identity, App]) -> None:
        for app in self.snapshot.models.values():
            identity = _identity(app.key)
            for former in (app.model_id, _handle(app)):
                self._former[former] = identity
        self._former = {former: identity for former, identity in self._former.items() if identity in apps}


def _learn(before: _Known, key: AppKey, result: AppDescription | GatewayError, now: float) -> _Known:
    """What is known of a key after one more answer."""
    if isinstance(result, GatewayError):
        error: str | None = _one_line(result.message, key)
    elif (key.mode or result.mode) is None:
        error = "Dify does not tell this app's mode; write it behind the key in DIFY_API_KEYS: ?mode=chat or the like."
    else:
        error = None
    first_time = before.error is None and before.description is None
    changed = first_time or (before.error is None) != (error is None)
    known = replace(before, error=error, since=now if changed else before.since)
    if error is not None or isinstance(result, GatewayError):
        return known
    created = before.created if before.description else int(now)
    return replace(known, description=result, created=created, refreshed=now)


def _build_app(key: AppKey, description: AppDescription, created: int) -> App | None:
    mode = key.mode or description.mode
    if mode is None:
        return None  # the operator has taken the mode out of the configuration again
    return App(
        key=key,
        model_id=description.name,
        name=description.name,
        mode=mode,
        description=description.description,
        inputs=description.inputs,
        files=description.files,
        sizes=description.sizes,
        moderated=description.moderated,
        cites=description.cites,
        keeps_first_inputs=description.keeps_first_inputs,
        created=created,
    )


def _with_ids(apps: Mapping[_Identity, App]) -> dict[_Identity, App]:
    """Tell apps of one name apart, as AppRegistry says."""
    owners: dict[str, _Identity] = {}  # names first, so that no suffixed id can take one
    for identity, app in apps.items():
        owners.setdefault(app.name, identity)
    named = {}
    for identity, app in apps.items():
        model_id, length = app.name, _SUFFIX_LENGTH
        while owners.setdefault(model_id, identity) != identity:
            model_id = _handle(app, length)
            length += 1
        named[identity] = replace(app, model_id=model_id)
    return named


def _snapshot(apps: Mapping[_Identity, App], former: Mapping[str, _Identity]) -> Snapshot:
    models = {app.model_id: app for app in apps.values()}
    aliases = {model_id: apps[identity] for model_id, identity in former.items()}
    aliases |= {_handle(app): app for app in apps.values()}
    return Snapshot(
        models=models,
        aliases={model_id: app for model_id, app in aliases.items() if model_id not in models},
        listing=tuple(app.model() for app in apps.values()),
    )


def _handle(app: App, length: int = _SUFFIX_LENGTH) -> str:
    """The id that is this app's on every node and after every restart, as long as its name stays."""
    digest = hashlib.sha256(" ".join(_identity(app.key)).encode("utf-8", "surrogatepass")).hexdigest()
    return f"{app.name}-{digest[:length]}"


def _identity(key: AppKey) -> _Identity:
    return (key.key, key.base_url)


def _one_line(message: str, key: AppKey) -> str:
    return " ".join(message.replace(key.key, key.hint).split())[:_LONGEST_ERROR]

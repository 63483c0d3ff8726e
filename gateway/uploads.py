"""Brings files to Dify, each once: the inline files of a prompt, and those that clients upload by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from gateway.dify_api import upload_call
from gateway.dify_api.app import App
from gateway.dify_api.file_plan import FilePlan, PlannedFile
from gateway.errors import (
    BodyTooLarge,
    GatewayError,
    InvalidRequest,
    UpstreamProtocolError,
    UpstreamTimeout,
    UpstreamTruncated,
)
from gateway.exchange.attachment import InlineFile
from gateway.observability.metrics import Metrics
from gateway.policy.upload_cache import UploadCache, upload_name
from gateway.settings import Settings
from gateway.upstream.dify_client import DifyClient

_AT_ONCE = 6  # of one message: a stock Dify serves ten connections per worker, and each has a copy of its file

Step = TypeVar("Step")


class Uploads:
    """Knows what each user of each app has uploaded lately; one per process."""

    def __init__(self, settings: Settings, dify: DifyClient, metrics: Metrics, clock: Callable[[], float]) -> None:
        self.settings = settings  # replaced whole by a reload
        self._dify = dify
        self._metrics = metrics
        self._clock = clock
        self._cache = UploadCache()

    async def bring(self, app: App, user: str, plan: FilePlan) -> FilePlan:
        """Upload what is inline, several at a time. Raises the GatewayError of the first upload that fails."""
        ids: dict[bytes, str | None] = {}
        missing: dict[bytes, PlannedFile] = {}
        for file in plan.files:
            if isinstance(content := file.attachment.content, InlineFile):
                await _step_by_step(content.hash())
                name = _name(app, user, file)
                ids[name] = self._cache.find(name, self._clock())
                if ids[name] is None:
                    missing[name] = file  # the same file twice in a message is one upload
                else:
                    self._metrics.uploads.labels("known").inc()
        if not ids:
            return plan
        room = asyncio.Semaphore(_AT_ONCE)
        tasks = [asyncio.ensure_future(self._upload_in_turn(room, app, user, file)) for file in missing.values()]
        try:
            for name, upload_id in zip(missing, await asyncio.gather(*tasks), strict=True):
                ids[name] = upload_id
        finally:
            for task in tasks:
                task.cancel()
        return replace(
            plan,
            files=tuple(
                replace(file, upload_id=ids[_name(app, user, file)])
                if isinstance(file.attachment.content, InlineFile)
                else file
                for file in plan.files
            ),
        )

    async def _upload_in_turn(self, room: asyncio.Semaphore, app: App, user: str, file: PlannedFile) -> str:
        async with room:
            return await self.upload(app, user, file)

    async def upload(self, app: App, user: str, file: PlannedFile) -> str:
        """One file's id in Dify. Raises GatewayError, with the file's path where the file is at fault."""
        content = file.attachment.content
        assert isinstance(content, InlineFile)
        self._dify.check_circuit(app.key)
        await _step_by_step(content.hash())
        try:
            pieces = await _step_by_step(content.decode())
        except ValueError as error:
            param = file.attachment.param
            raise InvalidRequest(f"Invalid value for '{param}': it is not base64 ({error}).", param=param) from None
        call = upload_call.upload(file.name, file.media_type, pieces, content.digest, user)
        del pieces  # the call holds a copy
        try:
            answer = await self._dify.fetch(app.key, call, self.settings.upload_timeout)
            if answer.head.status not in (200, 201):
                raise answer.error()
            if not (upload_id := upload_call.upload_id(answer.json())):
                raise UpstreamProtocolError("Dify's answer to an upload names no file.")
        except GatewayError as error:
            self._metrics.uploads.labels("failed").inc()
            if isinstance(error, InvalidRequest | BodyTooLarge):
                error.param = file.attachment.param
            elif isinstance(error, UpstreamTimeout | UpstreamTruncated):
                error.should_retry = None  # nothing has run
            raise
        self._metrics.uploads.labels("ok").inc()
        fresh_until = self._clock() + self.settings.upload_cache_seconds
        self._cache.keep(_name(app, user, file), upload_id, fresh_until, self.settings.upload_cache_files)
        return upload_id

    def forget(self, app: App, user: str, plan: FilePlan) -> None:
        """Dify refused to run with these files: if it has lost one, the next attempt must not trip over it again."""
        for file in plan.files:
            if isinstance(file.attachment.content, InlineFile):
                self._cache.forget(_name(app, user, file))


async def _step_by_step(steps: Iterable[Step]) -> list[Step]:
    """Work that takes a while, with room for everybody else in between."""
    done = []
    for step in steps:
        done.append(step)
        await asyncio.sleep(0)
    return done


def _name(app: App, user: str, file: PlannedFile) -> bytes:
    content = file.attachment.content
    digest = content.digest if isinstance(content, InlineFile) else ""
    return upload_name(app.key.key, app.key.base_url, user, file.name, file.media_type, digest)

"""/v1/files: what a client uploads goes straight to Dify, and the file's id says all there is to know of it.

The gateway keeps nothing, so any node can use an id that another one gave. What would need a memory, or what Dify's
service API cannot do, is refused in words: a list of files, deleting, and reading a file back.
"""

from __future__ import annotations

import asyncio
import time

from tornado.httputil import HTTPFile, HTTPHeaders, HTTPInputError, parse_body_arguments

from gateway.dify_api.app import App
from gateway.dify_api.file_ids import FileSeal, StoredUpload, app_tag
from gateway.dify_api.file_plan import plan_files
from gateway.errors import FileNotFound, InvalidRequest, MethodNotAllowed, UpstreamProtocolError
from gateway.exchange.attachment import InlineFile
from gateway.exchange.end_user import end_user
from gateway.exchange.turn import Prompt
from gateway.openai_api.files import UploadRequest, file_document, read_upload
from gateway.web.base import IGNORED_HEADER, ApiHandler
from gateway.web.body_handler import BodyHandler
from gateway.web.wishes import named_user


class FileUploadHandler(BodyHandler):
    """POST /v1/files."""

    endpoint_name = "files"

    def initialize(self) -> None:
        super().initialize()
        self._upload: asyncio.Task[str] | None = None  # once there is a file

    async def post(self) -> None:
        self.take_body()
        wanted = self._read_form()
        self.request.body = b""
        if wanted.ignored:
            self.set_header(IGNORED_HEADER, ", ".join(wanted.ignored))
        app = self._app(wanted)
        self.timeline.chose(app.model_id, app.key.host, self.services.metrics)
        named = named_user(wanted.user, self.request.headers, self.services.settings)
        user = end_user(named, self.client_key.key)
        (file,) = plan_files(app, user, Prompt("", None, (wanted.file,)), {}).files
        self._upload = asyncio.ensure_future(self.services.uploads.upload(app, user, file))
        try:
            upload_id = await self._upload
        except asyncio.CancelledError:
            if self.timeline.client_left:
                return
            raise
        finally:
            self._upload = None  # its error knows this frame
        assert isinstance(wanted.file.content, InlineFile)
        size, created = wanted.file.content.size, int(time.time())
        upload = StoredUpload(upload_id, file.name, file.media_type, size, created, wanted.purpose)
        try:
            file_id = FileSeal(app.key.key).seal(upload, user)
        except ValueError:
            raise UpstreamProtocolError("Dify's answer to an upload has an id that is none of Dify's.") from None
        self.write_json(file_document(file_id, file.name, size, created, wanted.purpose, app.model_id))

    def on_connection_close(self) -> None:
        """The client has left: nobody would ever know the file's id."""
        super().on_connection_close()
        self.timeline.client_left = True
        if self._upload is not None:
            self._upload.cancel()

    def get(self) -> None:
        raise MethodNotAllowed("No list of files is kept: a file's id, as POST /v1/files gave it, is all there is.")

    def _read_form(self) -> UploadRequest:
        fields: dict[str, list[bytes]] = {}
        files: dict[str, list[HTTPFile]] = {}
        content_type = self.request.headers.get("Content-Type", "")
        if not content_type.startswith("multipart/form-data"):
            raise InvalidRequest("The request body must be multipart/form-data.", code="invalid_form")
        try:
            parse_body_arguments(content_type, self.request.body, fields, files, HTTPHeaders())
            if "file" in fields:
                raise InvalidRequest("Invalid 'file': its part of the form has no filename.", param="file")
            texts = {name: values[-1].decode() for name, values in fields.items()}
        except (HTTPInputError, UnicodeDecodeError) as error:
            raise InvalidRequest(f"The request body is no valid form: {error}.", code="invalid_form") from None
        if not (file := next(iter(files.get("file", ())), None)):
            raise InvalidRequest("Missing required parameter: 'file'.", param="file", code="missing_required_parameter")
        texts.setdefault("model", self.get_query_argument("model", ""))
        return read_upload(texts, file.filename, file.content_type, file.body)

    def _app(self, wanted: UploadRequest) -> App:
        registry = self.services.registry
        if wanted.model is not None:
            return registry.find(wanted.model)
        takers = [app for app in registry.snapshot.models.values() if app.takes_files]
        if len(takers) == 1:
            return takers[0]
        raise InvalidRequest(
            "Say which model the file is for, as Dify keeps it there: a form field 'model', or ?model=… in the URL.",
            param="model",
            code="missing_required_parameter",
        )


class FileHandler(ApiHandler):
    """GET and DELETE /v1/files/{id}."""

    endpoint_name = "files"

    def get(self, file_id: str) -> None:
        app, upload = self._find(file_id)
        name, size, created = upload.name, upload.size, upload.created
        self.write_json(file_document(file_id, name, size, created, upload.purpose, app.model_id))

    def delete(self, file_id: str) -> None:
        self._find(file_id)
        raise MethodNotAllowed("Dify's service API deletes no uploaded files.")

    def _find(self, file_id: str) -> tuple[App, StoredUpload]:
        tag = app_tag(file_id)
        for app in self.services.registry.snapshot.models.values() if tag else ():
            seal = FileSeal(app.key.key)
            if seal.tag == tag and (upload := seal.open(file_id)):
                return app, upload
        raise FileNotFound(f"No such File object: {file_id[:100]}", param="id")


class FileContentHandler(FileHandler):
    """GET /v1/files/{id}/content; OpenAI refuses it for the same purposes."""

    def get(self, file_id: str) -> None:
        _, upload = self._find(file_id)
        raise InvalidRequest(f"Not allowed to download files of purpose: {upload.purpose}", param="id")

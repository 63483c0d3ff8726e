"""Which files of a prompt an app gets, as what, and where: decided before anything is uploaded.

Everything that Dify would refuse, or drop without a word (0.15.3 and 1.12.1 do where an app takes no files), is
refused here first, with the path of the part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gateway.dify_api.app import App
from gateway.dify_api.file_ids import FileSeal
from gateway.dify_api.file_rules import SizeLimits
from gateway.dify_api.file_types import FileType, file_type
from gateway.errors import BodyTooLarge, GatewayError, InvalidRequest
from gateway.exchange.attachment import Attachment, FileKind, InlineFile, RemoteFile
from gateway.exchange.model import FileRules
from gateway.exchange.turn import JSONValue, Prompt
from gateway.frozen import frozen

_CUSTOM = "custom"
_ANY = 9  # more types than there are
_FILE_ERRORS = frozenset({"file_refused", "unsupported_file_type", "file_too_large"})


@frozen
class PlannedFile:
    """One file on its way to the app."""

    attachment: Attachment
    type: str  # Dify's word
    name: str
    media_type: str
    variable: str | None  # the input that takes it; None: it goes with the message
    upload_id: str | None = None  # once Dify has it

    def reference(self) -> JSONValue:
        """The file as Dify's requests name it."""
        if isinstance(self.attachment.content, RemoteFile):
            return {"type": self.type, "transfer_method": "remote_url", "url": self.attachment.content.url}
        return {"type": self.type, "transfer_method": "local_file", "upload_file_id": self.upload_id}


@frozen
class FilePlan:
    """All of them, in the order of the chat."""

    files: tuple[PlannedFile, ...] = ()
    lists: frozenset[str] = frozenset()  # the variables that take several

    def message_files(self) -> list[JSONValue]:
        """For the `files` of the request."""
        return [file.reference() for file in self.files if file.variable is None]

    def inputs(self) -> dict[str, JSONValue]:
        """For the `inputs` of the request."""
        if not self.files:
            return {}
        references: dict[str, list[JSONValue]] = {}
        for file in self.files:
            if file.variable is not None:
                references.setdefault(file.variable, []).append(file.reference())
        return {name: several if name in self.lists else several[0] for name, several in references.items()}

    def blame(self, error: GatewayError) -> bool:
        """Let the error that Dify gave name the part, if it can be told which. False: it is about no file."""
        if not self.files or error.code not in _FILE_ERRORS:
            return False
        suspects = [file for file in self.files if _is_named(file, error.message)] or self.files
        if len(suspects) == 1:
            error.param = suspects[0].attachment.param
        return True


NO_FILES = FilePlan()


def plan_files(app: App, user: str, prompt: Prompt, given: Mapping[str, JSONValue]) -> FilePlan:
    """Find a place for every file; of the history's those are left out, oldest first, that have none.

    `user`: whose files of /v1/files may be used: the person, although a chat may be another `user` to Dify.
    `given`: the client's own inputs, which are not overwritten. Raises InvalidRequest, BodyTooLarge.
    """
    if not prompt.attachments and not prompt.earlier:
        return NO_FILES
    places = _places(app, given)
    now = [_place(_look_at(attachment, app, user), places, app.sizes) for attachment in prompt.attachments]
    before: list[PlannedFile] = []
    for attachment in reversed(prompt.earlier):
        try:
            before.append(_place(_look_at(attachment, app, user), places, app.sizes))
        except (InvalidRequest, BodyTooLarge):
            continue
    lists = frozenset(field.variable for field in app.inputs if field.kind == "file-list")
    return FilePlan((*reversed(before), *now), lists)


# --- places -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Place:
    """Where files can go."""

    variable: str | None
    rules: FileRules
    taken: int = 0

    def problem(self, seen: _SeenFile) -> tuple[str, str]:
        """Why it takes this file not: words and a code; empty if it does."""
        rules = self.rules
        who = "The app" if self.variable is None else f"The app's input {self.variable!r}"
        if seen.type_for(rules) is None:
            words = f"{who} takes no {seen.type.kind} files{_named(seen.type.extension)}; it takes {_taken(rules)}."
            return words, "unsupported_file_type"
        methods = (rules.image_methods if seen.type.kind is FileKind.IMAGE else ()) or rules.methods
        if methods and seen.method not in methods:
            wanted = "as http(s) URLs only" if seen.method == "local_file" else "inline only, not as URLs"
            return f"{who} takes {seen.type.kind} files {wanted}.", "unsupported_file_source"
        if rules.number is not None and self.taken >= rules.number:
            files = "file" if rules.number == 1 else "files"
            return f"{who} takes at most {rules.number} {files} in one message.", "too_many_files"
        return "", ""


def _places(app: App, given: Mapping[str, JSONValue]) -> list[_Place]:
    """Required variables first, as the app cannot run without them; then the message, then the other variables.

    Of equals the one that takes the fewest types comes first, so that files that only the others take find room there.
    """
    variables = [
        (field.required, _Place(field.variable, field.files))
        for field in app.inputs
        if field.files and given.get(field.variable) is None
    ]
    variables.sort(key=lambda variable: len(variable[1].rules.types) or _ANY)
    required = [place for needed, place in variables if needed]
    optional = [place for needed, place in variables if not needed]
    return [*required, *([_Place(None, app.files)] if app.files else []), *optional]


def _place(seen: _SeenFile, places: list[_Place], sizes: SizeLimits) -> PlannedFile:
    if not places:
        raise InvalidRequest("This app takes no files.", param=seen.attachment.param, code="files_not_supported")
    _check_size(seen, sizes)
    problems = []
    for place in places:
        words, code = place.problem(seen)
        if not words:
            place.taken += 1
            dify_type = seen.type_for(place.rules) or _CUSTOM
            return PlannedFile(
                seen.attachment, dify_type, seen.type.name, seen.type.media_type, place.variable, seen.upload_id
            )
        problems.append((words, code))
    # Room that is missing is the last obstacle: it says more than another place's types.
    words, code = next((found for found in problems if found[1] == "too_many_files"), problems[0])
    raise InvalidRequest(words, param=seen.attachment.param, code=code)


def _check_size(seen: _SeenFile, sizes: SizeLimits) -> None:
    size_class = seen.type.size_class
    limit = {FileKind.IMAGE: sizes.image, FileKind.AUDIO: sizes.audio, FileKind.VIDEO: sizes.video}.get(
        size_class, sizes.other
    )
    if limit is not None and isinstance(content := seen.attachment.content, InlineFile) and content.size > limit:
        raise BodyTooLarge(
            f"The file {seen.type.name!r} has {content.size} bytes; Dify takes {size_class} files of at most {limit}.",
            param=seen.attachment.param,
            code="file_too_large",
        )


# --- files ------------------------------------------------------------------------------------------------------------


@frozen
class _SeenFile:
    """A file and what is known of it."""

    attachment: Attachment
    type: FileType
    upload_id: str | None = None

    @property
    def method(self) -> str:
        return "remote_url" if isinstance(self.attachment.content, RemoteFile) else "local_file"

    def type_for(self, rules: FileRules) -> str | None:
        """Dify's type under which a place takes it. None: under none."""
        is_listed = _CUSTOM in rules.types and self.type.extension in rules.extensions
        if is_listed and not self.type.is_common:
            return _CUSTOM
        if not rules.types or self.type.kind in rules.types:
            return self.type.kind.value
        return _CUSTOM if is_listed else None


def _look_at(attachment: Attachment, app: App, user: str) -> _SeenFile:
    if isinstance(attachment.content, InlineFile | RemoteFile):
        return _SeenFile(attachment, file_type(attachment))
    stored = FileSeal(app.key.key).open(attachment.content.file_id, user)
    if stored is None:
        raise InvalidRequest(
            "There is no such file for this model and user; a file can be used where it was uploaded for.",
            param=attachment.param,
            code="file_not_found",
        )
    known = replace(attachment, name=stored.name, media_type=stored.media_type)
    return _SeenFile(known, file_type(known), stored.upload_id)


def _is_named(file: PlannedFile, message: str) -> bool:
    content = file.attachment.content
    return (isinstance(content, RemoteFile) and content.url in message) or file.name in message


def _named(extension: str) -> str:
    return f" like {extension}" if extension else ""


def _taken(rules: FileRules) -> str:
    types = [word for word in rules.types if word != _CUSTOM]
    kinds = [f"{' and '.join(types)} files"] if types else []
    return " and ".join([*kinds, *([", ".join(rules.extensions)] if _CUSTOM in rules.types else [])])

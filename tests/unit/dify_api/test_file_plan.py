"""Where the files of a prompt go, and which are refused before anything is uploaded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.dify_api.app import App, AppKey, AppMode
from gateway.dify_api.file_ids import FileSeal, StoredUpload
from gateway.dify_api.file_plan import FilePlan, plan_files
from gateway.dify_api.file_rules import SizeLimits
from gateway.errors import BodyTooLarge, GatewayError, InvalidRequest
from gateway.exchange.attachment import Attachment, FileKind, InlineFile, RemoteFile, StoredFile
from gateway.exchange.model import FileRules, InputField
from gateway.exchange.turn import Prompt

KEY = "app-key"
IMAGES = FileRules(types=("image",), number=2)
APP = App(AppKey(KEY, "http://dify/v1"), "m", "m", AppMode.CHAT, files=IMAGES, sizes=SizeLimits(image=10))
PNG = Attachment("p0", InlineFile(b"png"), FileKind.IMAGE, media_type="image/png")
WEB = Attachment("p1", RemoteFile("https://x.example/cat.png"), FileKind.IMAGE)
PDF = Attachment("p2", InlineFile(b"pdf"), name="a.pdf", media_type="application/pdf")
ZIP = Attachment("p3", InlineFile(b"zip"), name="a.ZIP")
STORED = StoredUpload("0a1b2c3d-0000-4000-8000-000000000001", "cat.png", "image/png", 5, 1, "user_data")


def plan(app: App, *now: Attachment, earlier: tuple[Attachment, ...] = (), **given: Any) -> FilePlan:
    return plan_files(app, "ann", Prompt("q", None, now, earlier), given)


def refused(app: App, *now: Attachment, **given: Any) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        plan(app, *now, **given)
    return caught.value


def variable(name: str, kind: str, rules: FileRules, *, required: bool = False) -> InputField:
    return InputField(name, kind, required=required, files=rules)


def test_a_prompt_without_files_needs_no_plan() -> None:
    assert plan(APP) == FilePlan()


def test_files_go_with_the_message_in_their_order() -> None:
    planned = plan(APP, PNG, WEB)
    assert [file.name for file in planned.files] == ["image.png", "cat.png"]
    assert planned.inputs() == {}
    uploaded = replace(planned, files=(replace(planned.files[0], upload_id="up-1"), planned.files[1]))
    assert uploaded.message_files() == [
        {"type": "image", "transfer_method": "local_file", "upload_file_id": "up-1"},
        {"type": "image", "transfer_method": "remote_url", "url": "https://x.example/cat.png"},
    ]


def test_an_app_that_takes_no_files_says_so() -> None:
    error = refused(replace(APP, files=None), PNG)
    assert (error.status, error.param, error.code) == (400, "p0", "files_not_supported")


def test_a_type_that_the_app_does_not_take_is_refused() -> None:
    error = refused(APP, PDF)
    assert (error.param, error.code) == ("p2", "unsupported_file_type")
    assert error.message == "The app takes no document files like .pdf; it takes image files."


def test_the_first_file_that_is_too_many_is_named() -> None:
    error = refused(APP, PNG, WEB, replace(PNG, param="p9"))
    assert (error.param, error.code) == ("p9", "too_many_files")
    assert "at most 2 files" in error.message


def test_a_file_that_is_too_large_is_refused_by_its_size_class() -> None:
    large = replace(PNG, content=InlineFile(b"x" * 11))
    error = refused(APP, large)
    assert isinstance(error, BodyTooLarge)
    assert (error.param, error.code) == ("p0", "file_too_large")
    assert plan(replace(APP, sizes=SizeLimits(audio=10)), large).files


@pytest.mark.parametrize(
    ("rules", "attachment", "words"),
    [
        (FileRules(types=("image",), methods=("remote_url",)), PNG, "as http(s) URLs only"),
        (FileRules(types=("image",), methods=("local_file",)), WEB, "inline only"),
        (FileRules(types=("image",), methods=("local_file",), image_methods=("remote_url",)), PNG, "URLs only"),
    ],
)
def test_a_way_that_the_app_does_not_take_is_refused(rules: FileRules, attachment: Attachment, words: str) -> None:
    error = refused(replace(APP, files=rules), attachment)
    assert (error.param, error.code) == (attachment.param, "unsupported_file_source")
    assert words in error.message


def test_an_extension_that_the_app_lists_makes_a_custom_file() -> None:
    rules = FileRules(types=("image", "custom"), extensions=(".zip",))
    assert [file.type for file in plan(replace(APP, files=rules), ZIP).files] == ["custom"]
    assert refused(replace(APP, files=rules), PDF).message.endswith("it takes image files and .zip.")


def test_an_unknown_extension_is_custom_where_the_app_lists_it_and_a_document_elsewhere() -> None:
    rules = FileRules(types=("document", "custom"), extensions=(".zip", ".pdf"))
    assert [file.type for file in plan(replace(APP, files=rules), ZIP, PDF).files] == ["custom", "document"]
    assert [file.type for file in plan(replace(APP, files=replace(rules, extensions=())), ZIP).files] == ["document"]


def test_without_a_list_of_types_any_is_taken() -> None:
    assert [file.type for file in plan(replace(APP, files=FileRules()), PNG, PDF).files] == ["image", "document"]


# --- variables --------------------------------------------------------------------------------------------------------

DOC = variable("doc", "file", FileRules(types=("document",), number=1), required=True)
PICS = variable("pics", "file-list", FileRules(types=("image", "document"), number=2))
WORKFLOW = replace(APP, mode=AppMode.WORKFLOW, files=None, inputs=(PICS, DOC))


def test_a_workflows_files_go_into_its_variables() -> None:
    planned = plan(WORKFLOW, PNG, PDF)
    assert [file.variable for file in planned.files] == ["pics", "doc"]
    assert planned.message_files() == []
    assert planned.inputs() == {
        "pics": [{"type": "image", "transfer_method": "local_file", "upload_file_id": None}],
        "doc": {"type": "document", "transfer_method": "local_file", "upload_file_id": None},
    }


def test_a_required_variable_is_filled_first_and_the_rest_takes_what_is_left() -> None:
    assert [file.variable for file in plan(WORKFLOW, PDF, PDF, PDF).files] == ["doc", "pics", "pics"]
    assert refused(WORKFLOW, PDF, PDF, PDF, replace(PDF, param="p9")).param == "p9"


def test_what_the_client_gave_itself_is_not_overwritten() -> None:
    assert [file.variable for file in plan(WORKFLOW, PDF, doc={"type": "document"}).files] == ["pics"]


def test_a_chatflow_fills_its_message_before_its_optional_variables() -> None:
    chatflow = replace(APP, mode=AppMode.ADVANCED_CHAT, inputs=(PICS,))
    assert [file.variable for file in plan(chatflow, PNG, PNG, PNG).files] == [None, None, "pics"]
    with_required = replace(chatflow, inputs=(replace(PICS, required=True),))
    assert [file.variable for file in plan(with_required, PNG, PNG, PNG).files] == ["pics", "pics", None]


def test_the_narrower_of_two_variables_is_filled_first() -> None:
    anything = variable("anything", "file", FileRules(number=1))
    picture = variable("picture", "file", FileRules(types=("image",), number=1))
    app = replace(WORKFLOW, inputs=(anything, picture))
    assert [file.variable for file in plan(app, PNG, PDF).files] == ["picture", "anything"]


# --- the history's files ----------------------------------------------------------------------------------------------


def test_of_the_history_the_newest_that_fit_are_sent_again_in_their_order() -> None:
    earlier = tuple(replace(PNG, param=f"e{number}") for number in range(3))
    assert [file.attachment.param for file in plan(APP, earlier=earlier).files] == ["e1", "e2"]
    assert [file.attachment.param for file in plan(APP, PNG, earlier=earlier).files] == ["e2", "p0"]
    assert [file.attachment.param for file in plan(APP, PNG, PNG, earlier=earlier).files] == ["p0", "p0"]


def test_a_file_of_the_history_that_the_app_does_not_take_is_left_out() -> None:
    assert plan(APP, earlier=(PDF, PNG)).files[0].attachment == PNG
    assert plan(replace(APP, files=None), earlier=(PDF, PNG)).files == ()


# --- files of /v1/files -----------------------------------------------------------------------------------------------


def test_a_stored_file_is_used_as_what_it_was_uploaded() -> None:
    file_id = FileSeal(KEY).seal(STORED, "ann")
    (file,) = plan(APP, Attachment("p", StoredFile(file_id))).files
    assert file.reference() == {
        "type": "image",
        "transfer_method": "local_file",
        "upload_file_id": STORED.upload_id,
    }


@pytest.mark.parametrize(
    "file_id", ["file-1", FileSeal("app-other").seal(STORED, "ann"), FileSeal(KEY).seal(STORED, "bob")]
)
def test_another_apps_or_users_file_does_not_exist(file_id: str) -> None:
    error = refused(APP, Attachment("p", StoredFile(file_id)))
    assert (error.param, error.code) == ("p", "file_not_found")


# --- errors of Dify ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("Dify: File validation failed for file: image.png", "p0"),
        ("Dify: Reached maximum retries (3) for URL https://x.example/cat.png", "p1"),
        ("Dify: Invalid upload file", "messages"),
    ],
)
def test_an_error_of_dify_names_the_part_if_it_tells_which(message: str, param: str) -> None:
    error = InvalidRequest(message, param="messages", code="file_refused")
    assert plan(APP, PNG, WEB).blame(error)
    assert error.param == param


def test_the_only_file_is_the_one() -> None:
    error = InvalidRequest("Dify: Invalid upload file", param="messages", code="file_refused")
    assert plan(APP, PNG).blame(error)
    assert error.param == "p0"


def test_an_error_about_something_else_is_left_alone() -> None:
    error = InvalidRequest("The conversation is too long.", param="messages", code="context_length_exceeded")
    assert not plan(APP, PNG).blame(error)
    assert not plan(APP).blame(InvalidRequest("Dify refuses a file.", code="file_refused"))
    assert error.param == "messages"

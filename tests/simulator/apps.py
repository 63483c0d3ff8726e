"""The apps of the simulated workspace: their keys, forms and oddities."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from tests.simulator.versions import VersionProfile

FLOW_MODES = frozenset({"advanced-chat", "workflow"})
AGENT_MODES = frozenset({"agent-chat", "agent"})
CHAT_MODES = frozenset({"chat", "agent-chat", "advanced-chat", "agent"})


@dataclass(frozen=True, slots=True)
class FormField:
    """One entry of user_input_form."""

    kind: str  # text-input, paragraph, select, number, checkbox, file, file-list, json_object
    variable: str
    required: bool = False
    max_length: int | None = None
    options: tuple[str, ...] = ()
    default: str = ""
    file_types: tuple[str, ...] = ("image", "document", "audio", "video")  # of a file or file-list
    file_extensions: tuple[str, ...] = ()  # of its custom files


@dataclass(frozen=True, slots=True)
class App:
    """One Dify app; `key` opens it. Change one with `AppTable.change`."""

    key: str
    name: str
    mode: str
    description: str = ""
    tags: tuple[str, ...] = ()
    form: tuple[FormField, ...] = ()
    outputs: tuple[str, ...] = ("text",)  # of a workflow: "text" is the LLM's, any other repeats the first input
    has_llm: bool = True
    api_enabled: bool = True
    status_normal: bool = True
    file_upload: bool = False
    file_limit: int = 2
    file_types: tuple[str, ...] = ("image",)
    file_extensions: tuple[str, ...] = ()  # of custom files
    file_methods: tuple[str, ...] = ("local_file", "remote_url")
    moderation: bool = False
    speaks: bool = False  # TTS autoplay
    opening_statement: str = ""
    suggested_questions: tuple[str, ...] = ()
    suggests_after_answer: bool = False
    max_active_requests: int = 0  # 0 = no limit
    in_demo: bool = False


class AppTable(dict[str, App]):
    """Key to app. A plain dict, so a test may add, replace and delete; `change` keeps it to one line."""

    @classmethod
    def of(cls, apps: Iterable[App]) -> AppTable:
        return cls((app.key, app) for app in apps)

    def change(self, key: str, **fields: Any) -> App:
        """Replace fields of one app; a new `key` moves it."""
        app = replace(self.pop(key), **fields)
        self[app.key] = app
        return app

    def named(self, name: str) -> App:
        """The first app of that name."""
        return next(app for app in self.values() if app.name == name)


def _key(word: str, number: int = 1) -> str:
    """`app-` and 24 alphanumerics one can recognise in a log: app-demochat0000000000000001."""
    return f"app-{word}{number:0{24 - len(word)}d}"


DEMO_CHAT = App(
    _key("demochat"),
    "Demo Chatbot",
    "chat",
    "A friendly chatbot that answers anything.",
    ("demo",),
    opening_statement="Hi! Ask me anything.",
    suggested_questions=("What can you do?",),
    suggests_after_answer=True,
    in_demo=True,
)
DEMO_AGENT = App(_key("demoagent"), "Demo Agent", "agent-chat", "An agent with a clock.", ("demo",), in_demo=True)
DEMO_NEW_AGENT = App(_key("demonewagent"), "Demo New Agent", "agent", "The agent of 1.16.", ("demo",), in_demo=True)
DEMO_CHATFLOW = App(
    _key("demochatflow"), "Demo Chatflow", "advanced-chat", "A chatflow: start, LLM, answer.", ("demo",), in_demo=True
)
DEMO_COMPLETION = App(
    _key("democompletion"),
    "Demo Text Generator",
    "completion",
    "Writes a text about a query.",
    ("demo",),
    form=(FormField("paragraph", "query", required=True),),
    in_demo=True,
)
DEMO_WORKFLOW = App(
    _key("demoworkflow"),
    "Demo Workflow",
    "workflow",
    "Rewrites a text in a tone.",
    ("demo",),
    form=(
        FormField("paragraph", "text", required=True, max_length=100_000),
        FormField("select", "tone", options=("friendly", "formal")),
    ),
    in_demo=True,
)
FORM_CHAT = App(
    _key("testform"),
    "Form Chatbot",
    "chat",
    form=(
        FormField("text-input", "name", required=True, max_length=10),
        FormField("select", "tone", options=("kind", "rude"), default="kind"),
        FormField("number", "age"),
    ),
)
VISION_CHAT = App(_key("testvision"), "Vision Chatbot", "chat", "Looks at pictures.", file_upload=True)
VISION_CHATFLOW = App(_key("testvisionflow"), "Vision Chatflow", "advanced-chat", file_upload=True)
VISION_AGENT = App(_key("testvisionagent"), "Vision Agent", "agent-chat", file_upload=True)
VISION_COMPLETION = App(
    _key("testvisionwriter"),
    "Vision Text Generator",
    "completion",
    form=(FormField("paragraph", "query", required=True),),
    file_upload=True,
)
ANY_FILE_CHAT = App(
    _key("testanyfile"),
    "Any File Chatbot",
    "chat",
    file_upload=True,
    file_limit=6,
    file_types=("image", "document", "audio", "video", "custom"),
    file_extensions=(".zip", ".dat"),
)
FILE_WORKFLOW = App(
    _key("testfileflow"),
    "File Workflow",
    "workflow",
    form=(
        FormField("paragraph", "query", max_length=100_000),
        FormField("file", "doc", required=True, file_types=("document",)),
        FormField("file-list", "pics", max_length=3, file_types=("image", "custom"), file_extensions=(".dat",)),
    ),
)
FILE_VARIABLE_CHATFLOW = App(
    _key("testfilechatflow"),
    "File Variable Chatflow",
    "advanced-chat",
    form=(FormField("file", "doc", file_types=("document",)),),
    file_upload=True,
)
TWO_OUTPUTS_WORKFLOW = App(
    _key("testtwooutputs"),
    "Two Outputs",
    "workflow",
    form=(FormField("paragraph", "query", required=True, max_length=100_000),),
    outputs=("text", "q"),
)
NO_LLM_WORKFLOW = App(
    _key("testnollm"),
    "No Model",
    "workflow",
    form=(FormField("paragraph", "query", required=True, max_length=100_000),),
    outputs=("echo",),
    has_llm=False,
)
ODD_NAME_WORKFLOW = App(
    _key("testoddname"),
    "Odd Variable",
    "workflow",
    form=(FormField("paragraph", "Kunden_Anfrage_2", required=True, max_length=100_000),),
    outputs=("Ergebnis",),
)
MODERATED_CHAT = App(_key("testmoderated"), "Moderated Chatbot", "chat", moderation=True)
SPEAKING_CHAT = App(_key("testspeaking"), "Speaking Chatbot", "chat", speaks=True)
TWIN_CHAT = App(_key("testtwin"), DEMO_CHAT.name, "chat", "Another app of the same name.")

ALL_APPS: tuple[App, ...] = (
    DEMO_CHAT,
    DEMO_AGENT,
    DEMO_NEW_AGENT,
    DEMO_CHATFLOW,
    DEMO_COMPLETION,
    DEMO_WORKFLOW,
    FORM_CHAT,
    VISION_CHAT,
    VISION_CHATFLOW,
    VISION_AGENT,
    VISION_COMPLETION,
    ANY_FILE_CHAT,
    FILE_WORKFLOW,
    FILE_VARIABLE_CHATFLOW,
    TWO_OUTPUTS_WORKFLOW,
    NO_LLM_WORKFLOW,
    ODD_NAME_WORKFLOW,
    MODERATED_CHAT,
    SPEAKING_CHAT,
    TWIN_CHAT,
)


def apps_of(version: VersionProfile) -> tuple[App, ...]:
    """The apps this release can run."""
    return tuple(app for app in ALL_APPS if app.mode in version.modes)

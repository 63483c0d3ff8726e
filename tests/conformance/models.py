"""The models that the gateway under test serves."""

from __future__ import annotations

_MODES = ("chat", "agent-chat", "advanced-chat", "completion", "workflow")
MODES = {"0.15.3": _MODES, "1.12.1": _MODES, "1.16.0": (*_MODES, "agent")}  # by Dify release


def model(mode: str, version: str = "1.12.1") -> str:
    """The model id of the app of that mode in the Dify of that release."""
    return f"{mode} of {version}"


CHAT = model("chat")
LIMITED = "one at a time"  # Dify runs it once at any time
FORM = "Form Chatbot"  # wants an input `name`
FILES = {version: f"files of {version}" for version in MODES}  # chat apps that take files of any kind
FILE_WORKFLOW = "File Workflow"  # wants a document, and takes pictures

# What app names of real workspaces hold and a URL's path does not like.
ODD_NAMES = (
    "team/助手 v2 (beta)",
    "My Translation App",
    "a/b/c",
    "C++ helper",
    "100% sure",
    "50%25 off",
    "What? #1 & more; ok=yes",
    "Ünïcödé 🤖",
    "trailing/",
    "dots/../up",
    "+ plus +",
)

ALL_MODELS = [(mode, version) for version, modes in MODES.items() for mode in modes]

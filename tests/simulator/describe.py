"""What an app says about itself: /info, /parameters, /meta, /site."""

from __future__ import annotations

from typing import Any

from tests.simulator.apps import AGENT_MODES, FLOW_MODES, App
from tests.simulator.forms import describe_form
from tests.simulator.versions import VersionProfile

_LIMITS = {
    "image_file_size_limit": 10,
    "video_file_size_limit": 100,
    "audio_file_size_limit": 50,
    "file_size_limit": 15,
    "workflow_file_upload_limit": 10,
}


def info(app: App, profile: VersionProfile) -> dict[str, Any]:
    facts = {
        "name": app.name,
        "description": app.description,
        "tags": list(app.tags),
        "mode": app.mode,
        "author_name": "admin",
    }
    return {name: facts[name] for name in profile.info_fields}


def parameters(app: App, profile: VersionProfile) -> dict[str, Any]:
    in_flow = app.mode in FLOW_MODES
    moderation: dict[str, Any] = {"enabled": app.moderation}
    if not in_flow:
        moderation |= {"type": "keywords" if app.moderation else "", "configs": []}
    speech: dict[str, Any] = {"enabled": app.speaks, "voice": "", "language": ""}
    if app.speaks:
        speech |= {"autoPlay": "enabled"}
    return {
        "opening_statement": app.opening_statement,
        "suggested_questions": list(app.suggested_questions),
        "suggested_questions_after_answer": {"enabled": app.suggests_after_answer},
        "speech_to_text": {"enabled": False},
        "text_to_speech": speech,
        "retriever_resource": {"enabled": True},
        "annotation_reply": {"enabled": False},
        "more_like_this": {"enabled": False},
        "user_input_form": describe_form(app),
        "sensitive_word_avoidance": moderation,
        "file_upload": _flow_upload(app) if in_flow else _basic_upload(app, profile),
        "system_parameters": dict(_LIMITS),
    }


def meta(app: App, base_url: str) -> dict[str, Any]:
    icon = f"{base_url}/console/api/workspaces/current/tool-provider/builtin/time/icon"
    return {"tool_icons": {"current_time": icon} if app.mode in AGENT_MODES else {}}


def site(app: App) -> dict[str, Any]:
    return {
        "title": app.name,
        "chat_color_theme": None,
        "chat_color_theme_inverted": False,
        "icon_type": "emoji",
        "icon": "🤖",
        "icon_background": "#FFEAD5",
        "description": None,
        "copyright": None,
        "privacy_policy": None,
        "custom_disclaimer": "",
        "default_language": "en-US",
        "show_workflow_steps": True,
        "use_icon_as_answer_icon": False,
        "icon_url": None,
    }


def _basic_upload(app: App, profile: VersionProfile) -> dict[str, Any]:
    methods = [method for method in ("remote_url", "local_file") if method in app.file_methods]
    limit = app.file_limit if app.file_upload else 3
    image = {"enabled": app.file_upload, "number_limits": limit, "detail": "high", "transfer_methods": methods}
    upload: dict[str, Any] = {"image": image}
    if app.file_upload and (profile.strict_bodies or app.file_types != ("image",)):
        upload |= {"enabled": True, "allowed_file_types": list(app.file_types)}
        upload |= {"allowed_file_extensions": list(app.file_extensions)}
        upload |= {"allowed_file_upload_methods": methods, "number_limits": limit}
    return upload


def _flow_upload(app: App) -> dict[str, Any]:
    methods = list(app.file_methods)
    if app.file_upload:
        return {
            "enabled": True,
            "allowed_file_types": list(app.file_types),
            "allowed_file_extensions": list(app.file_extensions),
            "allowed_file_upload_methods": methods,
            "number_limits": app.file_limit,
        }
    return {
        "enabled": False,
        "allowed_file_types": ["image"],
        "allowed_file_extensions": [".JPG", ".PNG"],
        "allowed_file_upload_methods": methods,
        "number_limits": 3,
        "image": {"enabled": False, "number_limits": 3, "transfer_methods": methods},
    }

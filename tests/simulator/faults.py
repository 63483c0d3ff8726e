"""HTTP errors on demand: Dify's own, and those of proxies in front of it."""

from __future__ import annotations

from tests.simulator.replies import HTML, Reply, error, json_reply, unexpected_error
from tests.simulator.versions import VersionProfile


def http_fault(kind: str, app_id: str, profile: VersionProfile) -> Reply:
    """The reply of `[[http=...]]`."""
    if kind.endswith("html"):
        return _proxy_page(int(kind.removesuffix("html")))
    if kind == "500":
        return unexpected_error(profile).reply
    if kind == "401":
        challenge = (("WWW-Authenticate", 'Bearer realm="api"'),) if profile.www_authenticate else ()
        return error(401, "unauthorized", "Access token is invalid", challenge).reply
    if kind == "limit":
        return too_many_requests(app_id, 1, profile)
    status, code, message = _JSON_ERRORS[kind]
    return json_reply({"code": code, "message": message, "status": status}, status)


def too_many_requests(app_id: str, allowed: int, profile: VersionProfile) -> Reply:
    """Meant to be a 429; the handler for value errors gets it first."""
    text = "Too many requests. Please try again later. The current maximum concurrent requests allowed"
    whose = f" for {app_id}" if profile.strict_bodies else ""
    return error(400, "invalid_param", f"{text}{whose} is {allowed}.").reply


_JSON_ERRORS: dict[str, tuple[int, str, str]] = {
    "400": (400, "invalid_param", "Workflow not published"),
    "403": (403, "forbidden", "The app's API service has been disabled."),
    "404": (404, "not_found", "Conversation Not Exists."),
    "413": (413, "file_too_large", "File size exceeded."),
    "429": (429, "too_many_requests", "Too many requests. Please try again later."),
    "503": (503, "service_unavailable", "The server is temporarily unable to service your request."),
    "quota": (429, "rate_limit_error", "Workflow execution quota limit reached for tenant."),
}
_PHRASES = {
    502: "Bad Gateway",
    503: "Service Temporarily Unavailable",
    504: "Gateway Time-out",
    524: "A timeout occurred",
}


def _proxy_page(status: int) -> Reply:
    title = f"{status} {_PHRASES[status]}"
    page = (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
        "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    )
    return Reply(status, page.encode(), HTML.partition(";")[0], cors=False)

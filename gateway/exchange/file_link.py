"""A file that an app made for its answer."""

from __future__ import annotations

from gateway.frozen import frozen


@frozen
class FileLink:
    """Where the file is, for a while: Dify's links are signed and expire. What Dify did not tell is None."""

    url: str  # absolute
    type: str | None = None  # image, document, audio, video, custom
    name: str | None = None
    media_type: str | None = None
    size: int | None = None  # bytes

    @property
    def markdown(self) -> str:
        """The link as an answer's text shows it."""
        if self.type == "image":
            return f"![{self.name or 'image'}]({self.url})"
        return f"[{self.name or 'file'}]({self.url})"

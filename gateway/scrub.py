"""Takes what looks like a key out of a text before it reaches a client or a log."""

from __future__ import annotations

import re

# Dify's keys (app-, dataset-), OpenAI's and most others' (sk-, also masked by the provider: sk-ab***yz), Google's;
# `Bearer …`; a key in a query string or a header's name and value; a password in a URL.
_KEY = re.compile(
    r"""(?P<prefix>
        \b(?:sk|pk|rk|app|dataset)-(?=[\w*-]{6})
      | \bAIza(?=[\w-]{20})
      | \bBearer\s+(?=[\w.~+/=*-]{6})
      | \b(?:x-)?api[-_]?key["']?\s*[=:]\s*["']?(?=[\w.~+/*-]{6})
      | [?&](?:key|token|access_token)=(?=[\w.~+/%*-]{6})
      | ://[^\s/:@]{1,64}:(?=[^\s/:@]+@)
    )[^\s"'<>,;&@)\]}]+""",
    re.IGNORECASE | re.VERBOSE,
)

# What every match has in it, in small letters: nearly all texts have none, and to look for these costs a tenth.
_HINTS = ("sk-", "pk-", "rk-", "app-", "dataset-", "aiza", "bearer", "api", "key=", "token=", "://")


def scrub(text: str) -> str:
    """The text with every key cut to its kind: `sk-…`, `Bearer …`."""
    if text.isascii():  # of others some match a letter of ASCII without being one, as U+017F does an "s"
        small = text.lower()
        for hint in _HINTS:
            if hint in small:
                break
        else:
            return text
    return _KEY.sub(r"\g<prefix>…", text)

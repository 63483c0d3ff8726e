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


def scrub(text: str) -> str:
    """The text with every key cut to its kind: `sk-…`, `Bearer …`."""
    return _KEY.sub(r"\g<prefix>…", text)

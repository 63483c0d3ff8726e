"""python -m tests.operations.streams URL: workers on the gateway at URL until standard input ends; prints, as JSON, how
many answers they got and what became of the others. For a network namespace that the tests themselves are not in.
"""

from __future__ import annotations

import asyncio
import json
import sys

from tests.operations.workers import Workers


async def main(url: str) -> None:
    async with Workers(url, count=20) as workers:
        await asyncio.to_thread(sys.stdin.read)
    print(json.dumps({"answered": len(workers.answered), "lost": workers.lost}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

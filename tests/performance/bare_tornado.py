"""Tornado and its curl client as bare as they come: a handler that copies an OpenAI stream, for what the frame costs.

python -m tests.performance.bare_tornado PORT UPSTREAM_PORT
"""

from __future__ import annotations

import asyncio
import sys

from tornado.curl_httpclient import CurlAsyncHTTPClient
from tornado.httpclient import HTTPRequest
from tornado.web import Application, RequestHandler


class CopyingHandler(RequestHandler):
    """No keys, no checks, no memory, no metrics, no log, no back-pressure, no cancelling."""

    def initialize(self, client: CurlAsyncHTTPClient, upstream: str) -> None:
        self.client = client
        self.upstream = upstream

    def get(self) -> None:
        self.write("{}")

    async def post(self) -> None:
        streams = b'"stream":true' in self.request.body
        self.set_header("Content-Type", "text/event-stream" if streams else "application/json")
        self.request.connection.stream.set_nodelay(True)
        request = HTTPRequest(
            self.upstream,
            method="POST",
            body=self.request.body,
            headers={"Content-Type": "application/json"},
            streaming_callback=self.copy if streams else None,
            request_timeout=0,
        )
        answer = await self.client.fetch(request)
        if not streams:
            self.write(answer.body)

    def copy(self, data: bytes) -> None:
        self.write(data)
        self.flush()


async def serve(port: int, upstream_port: int) -> None:
    upstream = f"http://127.0.0.1:{upstream_port}/openai/v1/chat/completions"
    handed = {"client": CurlAsyncHTTPClient(max_clients=3000), "upstream": upstream}
    Application([(r"/.*", CopyingHandler, handed)], log_function=lambda _: None).listen(port, "127.0.0.1", backlog=1024)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))

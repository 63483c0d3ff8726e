"""How Dify is reached: own certificate authorities, HTTP/2, proxies."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.integration.conftest import Gateway, StartGateway
from tests.integration.edge_tools import send_request, until
from tests.integration.raw_dify import MODEL, RawDify, say, whole
from tests.simulator.server import Simulator

NGINX = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")


@dataclass
class Authority:
    """A certificate authority and a server certificate of it, for 127.0.0.1."""

    ca: Path
    certificate: Path
    key: Path

    @property
    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def context_for_elsewhere(self, directory: Path) -> ssl.SSLContext:
        """A certificate of the same authority and key, for another address."""
        directory.mkdir()
        (directory / "names").write_text("subjectAltName=IP:192.0.2.1\n")
        signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"]
        command = ["openssl", "x509", "-req", "-in", "server.csr", *signing, "-extfile", str(directory / "names")]
        certificate = directory / "server.pem"
        subprocess.run([*command, "-out", str(certificate)], cwd=self.ca.parent, check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, self.key)
        return context


def make_authority(directory: Path, address: str = "127.0.0.1") -> Authority:
    directory.mkdir()

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=Test CA")
    openssl("req", *new_key, "-keyout", "server.key", "-out", "server.csr", "-subj", f"/CN={address}")
    (directory / "names").write_text(f"subjectAltName=IP:{address}\n")
    signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names"]
    openssl("x509", "-req", "-in", "server.csr", *signing, "-out", "server.pem")
    return Authority(directory / "ca.pem", directory / "server.pem", directory / "server.key")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return make_authority(tmp_path / "ca")


async def test_an_own_certificate_authority_is_trusted(start_gateway: StartGateway, authority: Authority) -> None:
    async with RawDify(tls=authority.context) as dify:
        gateway = await start_gateway(**dify.environ(CA_FILE=str(authority.ca)))
        response = await gateway.chat(MODEL)
        assert response.json()["choices"][0]["message"]["content"] == "Hello world"


@pytest.mark.parametrize("wrong", ["another authority", "another address"])
async def test_a_dify_that_is_not_trusted_is_not_asked(
    start_gateway: StartGateway, authority: Authority, tmp_path: Path, wrong: str
) -> None:
    async with RawDify(tls=authority.context) as dify:
        gateway = await start_gateway(**dify.environ(CA_FILE=str(authority.ca)))
        if wrong == "another authority":
            dify.tls = make_authority(tmp_path / "other").context
        else:
            dify.tls = authority.context_for_elsewhere(tmp_path / "elsewhere")
        asked = len(dify.calls)
        await dify.listen_again()
        response = await gateway.chat(MODEL)
        assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_tls_failed")
        assert len(dify.calls) == asked
        assert dify.connections <= 1  # certificates do not mend themselves, so there is no second try
        assert gateway.services.dify.load() == {}


# --- proxies ----------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Proxy:
    """Forwards plain requests, tunnels CONNECT, and writes down what it was asked; or refuses."""

    refuses: bool = False
    asked: list[str] = field(default_factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            line = head.split(b"\r\n", 1)[0].decode()
            self.asked.append(line)
            method, target, _ = line.split(" ")
            if self.refuses:
                writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                return
            address = target if method == "CONNECT" else target.split("/")[2]
            host, port = address.rsplit(":", 1)
            there = await asyncio.open_connection(host, int(port))
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\nProxy-Agent: test\r\n\r\n")
            else:
                there[1].write(head)
            await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.fixture
async def proxy(opened: AsyncExitStack) -> AsyncIterator[Proxy]:
    proxy = Proxy()
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    yield proxy
    server.close()
    await opened.aclose()  # the gateway and its Dify first: their connections go through here
    await asyncio.sleep(0.05)


async def test_a_proxy_of_the_environment_is_ignored(
    start_gateway: StartGateway, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, proxy: Proxy
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    gateway = await start_gateway(simulator)
    assert (await gateway.chat("Demo Chatbot")).status_code == 200
    assert proxy.asked == []


async def test_the_configured_proxy_is_used(start_gateway: StartGateway, simulator: Simulator, proxy: Proxy) -> None:
    gateway = await start_gateway(simulator, UPSTREAM_PROXY=f"http://127.0.0.1:{proxy.port}")
    assert (await gateway.chat("Demo Chatbot")).status_code == 200
    assert f"POST {simulator.base_url}/chat-messages HTTP/1.1" in proxy.asked


async def test_the_configured_proxy_tunnels_tls(
    opened: AsyncExitStack, start_gateway: StartGateway, authority: Authority, proxy: Proxy
) -> None:
    dify = await opened.enter_async_context(RawDify(tls=authority.context))
    environ = dify.environ(CA_FILE=str(authority.ca), UPSTREAM_PROXY=f"http://127.0.0.1:{proxy.port}")
    gateway = await start_gateway(**environ)
    assert [state.error for state in gateway.services.registry.states] == [None]
    _, events = await gateway.stream(MODEL)
    assert events[-1] == "[DONE]"
    assert set(proxy.asked) == {f"CONNECT 127.0.0.1:{dify.port} HTTP/1.1"}


async def test_a_tunnel_that_the_proxy_refuses(
    opened: AsyncExitStack, start_gateway: StartGateway, authority: Authority, proxy: Proxy
) -> None:
    dify = await opened.enter_async_context(RawDify(tls=authority.context))
    environ = dify.environ(CA_FILE=str(authority.ca), UPSTREAM_PROXY=f"http://127.0.0.1:{proxy.port}")
    gateway = await start_gateway(**environ)
    proxy.refuses = True
    response = await gateway.chat(MODEL)
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_refused")
    assert dify.exchanges == []


async def test_a_proxy_that_is_not_there(start_gateway: StartGateway, simulator: Simulator, proxy: Proxy) -> None:
    gateway = await start_gateway(simulator)
    gateway.services.dify.use(replace(gateway.services.settings, upstream_proxy="http://127.0.0.1:1"))
    response = await gateway.chat("Demo Chatbot")
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_refused")
    assert simulator.runs == []


async def test_a_reload_changes_how_an_app_is_asked_and_no_answer_under_way(
    start_gateway: StartGateway, simulator: Simulator
) -> None:
    gateway = await start_gateway(simulator)
    flowing = asyncio.create_task(gateway.chat("Demo Chatbot", "[[n=20 delay=0.02]]", stream=True))
    await until(lambda: simulator.runs)
    gateway.services.dify.use(replace(gateway.services.settings, upstream_proxy="http://127.0.0.1:1"))
    gc.collect()
    assert (await flowing).text.endswith("data: [DONE]\n\n")
    assert (await gateway.chat("Demo Chatbot")).status_code == 502


async def test_each_question_is_sent_as_if_it_were_the_only_one(
    start_gateway: StartGateway, simulator: Simulator
) -> None:
    gateway = await start_gateway(simulator)
    texts = ["Hello", "Hello, and " + "much " * 20_000 + "more", "Bye"]
    for text in texts:
        for model in ("Demo Chatbot", "Demo Agent"):
            assert (await gateway.chat(model, text, stream=True)).status_code == 200
    asked = [request for request in simulator.requests if request.path.endswith("/chat-messages")]
    assert [(request.app, request.body["query"]) for request in asked] == [
        (model, text) for text in texts for model in ("Demo Chatbot", "Demo Agent")
    ]
    for request in asked:
        assert request.headers["authorization"] == f"Bearer {request.app}"
        assert request.headers["accept"] == "text/event-stream"
        assert request.headers["content-type"] == "application/json"
        assert "expect" not in request.headers


# --- HTTP/2 -----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def nginx(directory: Path, authority: Authority, upstream_port: int) -> AsyncIterator[int]:
    """A real nginx: TLS and HTTP/2 in front of a plain Dify, as production has it. Yields its port."""
    assert NGINX
    port = free_port()
    configuration = f"""
daemon off; worker_processes 1; pid {directory}/pid; error_log {directory}/error.log info;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/f;
  uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  server {{
    listen 127.0.0.1:{port} ssl http2;
    ssl_certificate {authority.certificate}; ssl_certificate_key {authority.key};
    location / {{
      proxy_pass http://127.0.0.1:{upstream_port}; proxy_buffering off; proxy_http_version 1.1;
      proxy_next_upstream off; add_header X-Connection $connection always;
    }}
  }}
}}
"""
    (directory / "nginx.conf").write_text(configuration)
    process = await asyncio.create_subprocess_exec(
        NGINX,
        "-c",
        str(directory / "nginx.conf"),
        "-p",
        str(directory),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(10):
            while True:
                with contextlib.suppress(OSError):
                    (await asyncio.open_connection("127.0.0.1", port))[1].close()
                    break
                assert process.returncode is None, (directory / "error.log").read_text()
                await asyncio.sleep(0.05)
        yield port
    finally:
        process.terminate()
        await process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def connections_to(port: int) -> int:
    """How many established connections of this machine lead there."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(remote.endswith(f":{port:04X}") and state == "01" for _, _, remote, state, *_ in rows)


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
async def test_answers_share_connections_over_http2(
    start_gateway: StartGateway, simulator: Simulator, authority: Authority, tmp_path: Path
) -> None:
    async with nginx(tmp_path, authority, simulator.port) as port:
        environ = {"DIFY_API_BASE": f"https://127.0.0.1:{port}/v1", "CA_FILE": str(authority.ca)}
        gateway = await start_gateway(simulator, UPSTREAM_HTTP2="true", **environ)
        answering = [
            asyncio.create_task(gateway.chat("Demo Chatbot", "[[n=5 delay=0.3]]", stream=index % 2 == 0))
            for index in range(50)
        ]
        await until(lambda: sum(run.tokens > 0 for run in simulator.runs) == 50, 20)
        shared = connections_to(port)
        responses = await asyncio.gather(*answering)
        assert [response.status_code for response in responses] == [200] * 50
        assert all("w5" in response.text for response in responses)
        assert len(simulator.runs) == 50
        assert shared <= 6


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
async def test_leaving_one_answer_of_a_shared_connection_leaves_the_others_alone(
    start_gateway: StartGateway, simulator: Simulator, authority: Authority, tmp_path: Path
) -> None:
    async with nginx(tmp_path, authority, simulator.port) as port:
        environ = {"DIFY_API_BASE": f"https://127.0.0.1:{port}/v1", "CA_FILE": str(authority.ca)}
        gateway = await start_gateway(simulator, UPSTREAM_HTTP2="true", **environ)
        staying = asyncio.create_task(gateway.chat("Demo Chatbot", "[[n=20 delay=0.05]]", stream=True))
        reader, writer = await send_request(gateway.port, "Demo Chatbot", "[[n=500 delay=0.05]]")
        await reader.readuntil(b"w3")
        writer.close()
        await until(lambda: any(run.state == "stopped" for run in simulator.runs))
        assert (await staying).text.endswith("data: [DONE]\n\n")
        assert gateway.services.dify.load() == {}


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
@pytest.mark.parametrize("how", ["close", "cut"])
async def test_a_stream_that_breaks_over_http2_is_not_sent_again(
    start_gateway: StartGateway, authority: Authority, tmp_path: Path, how: str
) -> None:
    async with RawDify() as dify, nginx(tmp_path, authority, dify.port) as port:
        environ = dify.environ(CA_FILE=str(authority.ca), UPSTREAM_HTTP2="true")
        gateway: Gateway = await start_gateway(**environ | {"DIFY_API_BASE": f"https://127.0.0.1:{port}/v1"})
        dify.script = say() if how == "close" else say(whole("one ", "two")[:-60], pause=0.1)
        response = await gateway.chat(MODEL, stream=True)
        if how == "close":  # nginx answers for Dify
            assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_protocol_error")
            assert response.headers["x-should-retry"] == "false"
        else:
            last = json.loads(response.text.split("\n\n")[-2].removeprefix("data: "))
            assert last["error"]["code"] == "upstream_truncated"
        await asyncio.sleep(0.3)
        assert len(dify.exchanges) == 1

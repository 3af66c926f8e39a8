"""What stands around exchanges: addresses and their guard, TLS, identity; and the real server that
Python SDKs run on.
"""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypercorn.asyncio import serve
from hypercorn.config import Config

from restate_node.runtime.real.service_connecting import allowed_addresses
from restate_node.runtime.real.service_stream import ServiceTransportOptions
from restate_node.runtime.real.service_transport import RealServiceTransport
from restate_node.runtime.services import (
    EndpointAddress,
    FailureCause,
    HttpVersion,
    RequestHead,
    ServiceUnreachable,
    fetch,
)
from tests.runtime.contracts.service_places import Services
from tests.runtime.service_servers import ServerPlan, http2_server, limited

POST = RequestHead("POST", "/whole")


@pytest.mark.parametrize(
    ("uri", "cause", "says"),
    [
        ("ftp://service", FailureCause.BAD_ADDRESS, "write http"),
        ("http://", FailureCause.BAD_ADDRESS, "write http"),
        ("http://service:99999", FailureCause.BAD_ADDRESS, "Port out of range"),
        ("http://service/a b", FailureCause.BAD_ADDRESS, "%XX"),
        ("http://service/?a=b", FailureCause.BAD_ADDRESS, "query"),
        ("http://user:secret@service", FailureCause.BAD_ADDRESS, "credentials"),
        ("http://a..b", FailureCause.NAME, "cannot resolve"),
        ("http://169.254.169.254", FailureCause.FORBIDDEN, "allow-link-local-addresses"),
        ("http://[fe80::1]:9080", FailureCause.FORBIDDEN, "allow-link-local-addresses"),
        ("http://[::ffff:169.254.169.254]", FailureCause.FORBIDDEN, "metadata"),
        ("http://100.100.100.200", FailureCause.FORBIDDEN, "metadata"),
        ("http://127.0.0.1:1", FailureCause.REFUSED, "refused"),
    ],
)
@limited
async def test_addresses_that_lead_nowhere(uri: str, cause: FailureCause, says: str) -> None:
    """Goal: one line that says what to change, nothing sent. Method: bad addresses."""
    client = RealServiceTransport()
    with pytest.raises(ServiceUnreachable, match=says) as caught:
        await client.open(EndpointAddress(uri), POST)
    assert caught.value.cause is cause
    assert str(caught.value).startswith(uri)
    assert "\n" not in str(caught.value)
    await client.close()


def test_guard_may_be_switched_off() -> None:
    """Goal: who has services at link-local addresses can reach them, others reach what is left.
    Method: a name with two addresses, with and without the option.
    """
    link_local, private = (2, "169.254.1.1"), (2, "10.0.0.1")
    guarded, open_to_all = (
        ServiceTransportOptions(allow_link_local=allowed) for allowed in (False, True)
    )
    assert allowed_addresses([link_local, private], guarded) == [private]
    assert allowed_addresses([link_local, private], open_to_all) == [link_local, private]


@limited
async def test_what_is_added_to_a_request() -> None:
    """Goal: prefix, identity and fixed headers arrive. Method: an address with a path; look at
    what the server saw.
    """
    plan = ServerPlan(Services().serve)
    options = ServiceTransportOptions(additional_headers=(("x-restate-cluster-name", "c"),))
    client = RealServiceTransport(options)
    async with http2_server(plan) as uri:
        await fetch(client, EndpointAddress(uri + "/prefix/"), POST, body_bytes_max=9)
        assert plan.paths == ["/prefix/whole"]
        seen = dict(plan.headers[0])
        assert seen["x-restate-signature-scheme"] == "unsigned"
        assert seen["x-restate-cluster-name"] == "c"
        await client.close()


# ---------------------------------------------------------------- TLS


def certificate(directory: Path) -> Path:
    """A self-signed one for 127.0.0.1, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    where = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(where, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = directory / "certificate.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(signed.public_bytes(Encoding.PEM) + private)
    return path


def trusting(path: Path) -> Callable[[], ssl.SSLContext]:
    return lambda: ssl.create_default_context(cafile=path)


@pytest.mark.parametrize("version", [HttpVersion.HTTP_2, HttpVersion.NEGOTIATED])
@limited
async def test_tls(tmp_path: Path, version: HttpVersion) -> None:
    """Goal: HTTP/2 by ALPN, and only with a certificate that is trusted. Method: a self-signed
    one, first unknown, then trusted.
    """
    path = certificate(tmp_path)
    security = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    security.load_cert_chain(path)
    security.set_alpn_protocols(["h2"])
    async with http2_server(ServerPlan(Services().serve), security) as uri:
        address = EndpointAddress(uri, version)
        stranger, friend = RealServiceTransport(), RealServiceTransport(security=trusting(path))
        with pytest.raises(ServiceUnreachable, match="TLS failed") as caught:
            await stranger.open(address, POST)
        assert caught.value.cause is FailureCause.TLS
        found = await fetch(friend, address, POST, b"12", body_bytes_max=9)
        assert (found.body, found.head.http_version) == (b"2", HttpVersion.HTTP_2)
        await friend.close()
        await stranger.close()


@limited
async def test_tls_may_agree_on_http_1_1(tmp_path: Path) -> None:
    """Goal: a server of today's web is spoken to as it wishes. Method: hypercorn offers HTTP/1.1
    alone.
    """
    path = certificate(tmp_path)
    config = Config()
    config.certfile = config.keyfile = str(path)
    config.alpn_protocols = ["http/1.1"]
    client = RealServiceTransport(security=trusting(path))
    async with asyncio.TaskGroup() as group:
        port, stop = served(group, config)
        address = EndpointAddress(f"https://127.0.0.1:{await port}")
        found = await fetch(client, address, POST, b"hello", body_bytes_max=9)
        assert (found.body, found.head.http_version) == (b"hello", HttpVersion.HTTP_1_1)
        await client.close()
        stop.set()


# ---------------------------------------------------------------- hypercorn


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Echo, as an ASGI application."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def served(group: asyncio.TaskGroup, config: Config) -> tuple[asyncio.Future[int], asyncio.Event]:
    """A running server: its port when it listens, and the event that ends it."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    config.bind = ["127.0.0.1:0"]
    config.graceful_timeout = 0
    config.accesslog = config.errorlog = None
    listening = config.create_sockets()
    sockets = listening.secure_sockets + listening.insecure_sockets
    config.create_sockets = lambda: listening  # type: ignore[method-assign]
    sockets[0].listen()
    port: asyncio.Future[int] = loop.create_future()
    port.set_result(sockets[0].getsockname()[1])
    group.create_task(serve(application, config, shutdown_trigger=stop.wait))  # type: ignore[arg-type]
    return port, stop


@pytest.mark.parametrize("version", [HttpVersion.HTTP_2, HttpVersion.HTTP_1_1])
@limited
async def test_server_of_python_sdks(version: HttpVersion) -> None:
    """Goal: no exchange fails because a server ends its connections after so many requests.
    Method: hypercorn does after 20, we leave after 15; 200 exchanges, 8 at a time.
    """
    config = Config()
    config.keep_alive_max_requests = 20
    client = RealServiceTransport(ServiceTransportOptions(exchanges_per_connection_max=15))
    async with asyncio.TaskGroup() as group:
        port, stop = served(group, config)
        address = EndpointAddress(f"http://127.0.0.1:{await port}", version)

        async def worker() -> None:
            for number in range(25):
                body = str(number).encode()
                found = await fetch(client, address, POST, body, body_bytes_max=9)
                assert (found.head.status, found.body) == (200, body)

        await asyncio.gather(*(worker() for _ in range(8)))
        await client.close()
        stop.set()

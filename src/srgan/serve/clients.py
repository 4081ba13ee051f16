"""Who sends a request: a client's address and name."""

from ipaddress import ip_address, ip_network
from typing import Any

from srgan.serve.options import is_loopback

FORWARDED = (b"forwarded", b"x-forwarded-for", b"via", b"x-real-ip")
IPV6_SITE = 64  # bits of an IPv6 address that one client usually has for itself


def header(scope: Any, name: bytes) -> bytes:
    """A request's header, given by its name in lower case; empty if it has none."""
    return next((value for key, value in scope["headers"] if key == name), b"")


def address_of(scope: Any) -> str:
    """The client's address; for IPv6 its network. uvicorn has believed trusted proxies already."""
    host = scope["client"][0] if scope.get("client") else ""
    try:
        address = ip_address(host)
    except ValueError:
        return "unknown"
    if address.version == 6 and not address.is_loopback:
        return str(ip_network((address, IPV6_SITE), strict=False))
    return str(address)


def client_of(scope: Any) -> str:
    """The client's name, for its share and its log lines: its token's number, or its address."""
    return scope.get("srgan_client") or address_of(scope)


def is_here(scope: Any) -> bool:
    """Whether the visitor sits at this machine, as far as the request shows."""
    forwarded = any(header(scope, name) for name in FORWARDED)
    name = host_name(header(scope, b"host").decode("latin-1"))
    return is_loopback(address_of(scope)) and is_loopback(name) and not forwarded


def host_name(host: str) -> str:
    """The name in a Host header or an Origin, without scheme and port, in lower case."""
    host = host.rpartition("//")[2]
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].rstrip(".").lower()


def route_path(scope: Any) -> str:
    """The path below --root-path."""
    return scope["path"].removeprefix(scope.get("root_path", "")) or "/"

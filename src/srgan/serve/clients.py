"""Who sends a request: a client's address and name."""

from ipaddress import ip_address, ip_network
from typing import Any

from starlette.datastructures import Headers

from srgan.serve.options import is_loopback

FORWARDED = ("forwarded", "x-forwarded-for", "via", "x-real-ip")
IPV6_SITE = 64  # bits of an IPv6 address that one client usually has for itself


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
    headers = Headers(scope=scope)
    is_named_so = is_loopback(host_name(headers.get("host", "")))
    return is_loopback(address_of(scope)) and is_named_so and not any(map(headers.get, FORWARDED))


def host_name(host: str) -> str:
    """The name in a Host header or an Origin, without scheme and port, in lower case."""
    host = host.rpartition("//")[2]
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].rstrip(".").lower()


def route_path(scope: Any) -> str:
    """The path below --root-path."""
    return scope["path"].removeprefix(scope.get("root_path", "")) or "/"

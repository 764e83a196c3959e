"""Where the bridge listens, under which path it lives, and how a client's address is written."""

import ipaddress
import re
import socket
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

# What a proxy may say: names between single slashes, none of them `.` or `..`.
_PREFIX = re.compile(r"(/(?!\.{1,2}(/|\Z))[A-Za-z0-9._~-]{1,64}){1,8}")
# The paths that the bridge has. Without this, `/pgyer` could not be the path that it lives at.
_OWN = re.compile(r"/?\Z|/(pgyer|console|healthz|readyz|metrics)(/|\Z)")


def any_host() -> str:
    """Return `[::]` where a socket there takes IPv4 connections as well, else `0.0.0.0`."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::", 0))
            is_alone = probe.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    except OSError:  # there is no IPv6
        return "0.0.0.0"
    return "0.0.0.0" if is_alone else "[::]"


def listen_anywhere(port: int) -> socket.socket:
    """Return a socket that listens there; a port that is taken raises OSError."""
    host = any_host().strip("[]")
    has_both = host == "::"
    family = socket.AF_INET6 if has_both else socket.AF_INET
    return socket.create_server((host, port), family=family, dualstack_ipv6=has_both)


def plain(address: str) -> str:
    """Return an address; an IPv4 one that is written as IPv6 (RFC 4291, 2.5.5.2) as IPv4."""
    if not address.lower().startswith("::ffff:"):
        return address
    try:
        return str(ipaddress.IPv6Address(address).ipv4_mapped or address)
    except ValueError:
        return address


def path_of(public_url: str) -> str:
    """Return the path in BRIDGE_PUBLIC_URL as WSGI has it, '' for none."""
    path = unquote_to_bytes(urlsplit(public_url).path).decode("latin-1")
    return re.sub("//+", "/", path).rstrip("/")


def set_path(environ: dict[str, Any], own: str) -> None:
    """Take the path that the bridge lives at from PATH_INFO, if it is there, to SCRIPT_NAME.

    It is `own`, that of BRIDGE_PUBLIC_URL, else what the proxy says in X-Forwarded-Prefix. Some
    proxies leave it out of the path that they ask for, others do not. Doubled slashes are one.
    """
    said = environ.get("HTTP_X_FORWARDED_PREFIX", "").rpartition(",")[2].strip().rstrip("/")
    prefixes = [own, said if _PREFIX.fullmatch(said) else ""]
    path = re.sub("//+", "/", environ.get("PATH_INFO", ""))
    for prefix in filter(None, prefixes):
        inside = path.removeprefix(prefix)
        if inside != path and _OWN.match(inside):
            path = inside or "/"
            break
    environ["PATH_INFO"] = path
    if live_at := next(filter(None, prefixes), ""):
        environ["SCRIPT_NAME"] = live_at

"""An HTTP client that connects to the public internet alone.

A program that fetches URLs which others choose could be made to read pages of this computer or of its private network:
by an address such as `http://127.0.0.1/`, by a name that leads there, or by a redirect. Every connection is checked
where its socket is made, after names have been resolved.
"""

import ipaddress
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiohttp import ClientSession

NAT64 = ipaddress.ip_network("64:ff9b::/96")  # its last four bytes are an IPv4 address


class PrivateAddressError(PermissionError):
    """An address that is not on the public internet."""


def is_public(address: str) -> bool:
    """Return whether an IP address is on the public internet.

    >>> [is_public(address) for address in ("93.184.216.34", "127.0.0.1", "192.168.1.1", "::1", "::ffff:10.0.0.1")]
    [True, False, False, False, False]
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inside = (
            ip.ipv4_mapped or ip.sixtofour or (ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in NAT64 else None)
        )
        ip = inside or ip
    return ip.is_global and not ip.is_multicast


async def public_client(**settings: Any) -> "ClientSession":
    """Return a session whose connections to other addresses are refused. fsspec takes it as `get_client`."""
    import aiohttp

    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(socket_factory=_public_socket), **settings)


def _public_socket(target: tuple[Any, ...]) -> socket.socket:
    """Return a socket for a target (family, type, protocol, name, address)."""
    family, kind, protocol, _, address = target
    if not is_public(str(address[0])):
        raise PrivateAddressError(f"{address[0]} is not an address of the public internet")
    return socket.socket(family, kind, protocol)

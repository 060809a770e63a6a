"""Which addresses may be connected to."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Collection
from urllib.parse import urlsplit

from mlops_nb.errors import InvalidInput
from mlops_nb.outgoing.errors import AddressRefused

ENV_ALLOWED_HOSTS = "MLOPS_NB_ALLOWED_HOSTS"

_TRIED_ADDRESSES = 4  # of one name; whoever owns it could list hundreds
_METADATA_NAMES = {"metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"}
_METADATA = [ipaddress.ip_network(text) for text in ("169.254.0.0/16", "fd00:ec2::/32", "100.100.100.200/32", "168.63.129.16/32")]
_INSIDE_IPV6 = [ipaddress.IPv6Network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "::/96")]  # IPv4 in the last 32 bits

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Guard:
    """Decides which addresses may be connected to."""

    def __init__(self, *, allow_private: bool = False, allowed_hosts: Collection[str] = ()) -> None:
        self._allow_private = allow_private
        self._hosts: set[tuple[str, int | None]] = set()
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for entry in [*allowed_hosts, *os.environ.get(ENV_ALLOWED_HOSTS, "").split(",")]:
            if entry.strip():
                self._add(entry.strip())

    def _add(self, entry: str) -> None:
        try:
            self._networks.append(ipaddress.ip_network(entry.strip("[]"), strict=False))
        except ValueError:  # a name, or with a port
            try:
                parts = urlsplit(f"//{entry}")
                host, port = parts.hostname, parts.port
            except ValueError:
                host = port = None
            if not host or parts.path:
                hint = "Write `host`, `host:port`, an address, or a network such as 10.1.0.0/16."
                raise InvalidInput(f"'{entry}' is not a host that can be allowed.", hint=hint) from None
            self._hosts.add((_plain(host), port))

    def addresses(self, host: str, port: int) -> list[str]:
        """Return the addresses of a host that may be connected to; at least one.

        Raises:
            AddressRefused: If none may.
            socket.gaierror: If the name has no address.
        """
        self.check_name(host, port)
        try:
            found = socket.getaddrinfo(host.strip("[]"), port, socket.AF_UNSPEC, socket.SOCK_STREAM)
        except UnicodeError:
            raise InvalidInput(f"'{host[:100]}' is not the name of a host.") from None
        allowed, why = [], ""
        for address in dict.fromkeys(str(entry[4][0]) for entry in found):
            reason = self.reason(address, host, port)
            if reason is None:
                allowed.append(address)
            why = why or reason or ""
        if not allowed:
            raise _refusal(host, why)
        return allowed[:_TRIED_ADDRESSES]

    def check_name(self, host: str, port: int) -> None:
        """Refuse the names of metadata services, whatever their address is, unless they are allowed by name."""
        if _plain(host) in _METADATA_NAMES and not self._named(host, port):
            raise _refusal(host, "is a metadata service")

    def reason(self, address: str, host: str, port: int) -> str | None:
        """Return why an address may not be connected to, or None if it may."""
        try:
            whole = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return f"has an address that is none ('{address[:60]}')"
        for each in (whole, *_inside(whole)):
            if any(each.version == network.version and each in network for network in self._networks):
                continue
            if any(each.version == network.version and each in network for network in _METADATA):
                return f"is at {address}, where metadata services are"
            if each.is_multicast or each.is_unspecified or each.is_link_local or getattr(each, "is_site_local", False):
                return f"is at {address}, where services of the network itself are"
            if not each.is_global and not (self._allow_private or self._named(host, port)):
                return f"is at {address}, which is {'this machine' if each.is_loopback else 'in a private or reserved network'}"
        return None

    def _named(self, host: str, port: int) -> bool:
        name = _plain(host)
        return (name, None) in self._hosts or (name, port) in self._hosts


def _plain(host: str) -> str:
    host = host.strip("[]").rstrip(".").lower()
    try:
        return host.encode("idna").decode("ascii") if not host.isascii() else host
    except UnicodeError:
        return host


def _inside(address: Address) -> list[ipaddress.IPv4Address]:
    """Return the IPv4 addresses that an IPv6 address carries, and that a gateway would go to."""
    if not isinstance(address, ipaddress.IPv6Address):
        return []
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if any(address in network for network in _INSIDE_IPV6) and int(address) > 1:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [each for each in found if each is not None]


def _refusal(host: str, why: str) -> AddressRefused:
    hint = f"If it shall be reached, name it in the environment of whoever connects: {ENV_ALLOWED_HOSTS}={host}"
    if "private" not in why and "this machine" not in why:
        hint = "Such services give out the credentials of a machine, so a name is not enough: only the very address can be allowed."
    return AddressRefused(f"'{host[:200]}' {why}: nothing is sent there.", hint=hint)

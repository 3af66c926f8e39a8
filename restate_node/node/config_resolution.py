"""Fills in what follows from other options: addresses, the node's name, where metadata is.

    bind-address        given, else bind-ip:bind-port (admin and ingress inherit the node's bind-ip)
    advertised-address  given, else http://<advertised-host | bind ip | 127.0.0.1>:<port>/
    node-name           given, else the host's name
    metadata-client     given, else this node itself

Invariants: afterwards none of these is unset, bind-ip, bind-port and bind-address agree, and
resolving twice changes nothing. Pure: the host's name is an argument.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TypeVar

from restate_node.node.config_errors import ConfigError
from restate_node.node.config_values import join_address, split_address
from restate_node.types.nodes import Role
from restate_node.types.options import AdminOptions, IngressOptions, NodeOptions

_ANY_ADDRESS = ("0.0.0.0", "::", "")
Listener = TypeVar("Listener", AdminOptions, IngressOptions)


def resolve(options: NodeOptions, hostname: str) -> NodeOptions:
    """The same options with nothing left open; ConfigError when that cannot be done."""
    named = replace(options, node_name=options.node_name or hostname)
    if not named.node_name:
        raise ConfigError("node-name is not set and this host has no name: set node-name")
    placed = _place_node(named)
    complete = replace(
        placed,
        admin=_place(placed.admin, placed),
        ingress=_place(placed.ingress, placed),
        metadata_client=replace(
            placed.metadata_client,
            addresses=placed.metadata_client.addresses or (str(placed.advertised_address),),
        ),
    )
    _check_ports(complete)
    return complete


def _place_node(options: NodeOptions) -> NodeOptions:
    address = options.bind_address or join_address(options.bind_ip, options.bind_port)
    host, port = split_address(address)
    advertised = options.advertised_address or _url(options.advertised_host, host, port)
    return replace(
        options,
        bind_ip=host,
        bind_port=port,
        bind_address=address,
        advertised_address=advertised,
    )


def _place(listener: Listener, node: NodeOptions) -> Listener:
    ip = listener.bind_ip or node.bind_ip
    address = listener.bind_address or join_address(ip, listener.bind_port)
    host, port = split_address(address)
    advertised = listener.advertised_address or _url(node.advertised_host, host, port)
    return replace(
        listener,
        bind_ip=host,
        bind_port=port,
        bind_address=address,
        advertised_address=advertised,
    )


def _url(advertised_host: str | None, host: str, port: int) -> str:
    reachable = "127.0.0.1" if host in _ANY_ADDRESS else host
    return f"http://{join_address(advertised_host or reachable, port)}/"


def _check_ports(options: NodeOptions) -> None:
    listeners = [("bind-port", options.bind_ip, options.bind_port)]
    if Role.ADMIN in options.roles:
        admin = options.admin
        listeners.append(("admin.bind-port", str(admin.bind_ip), admin.bind_port))
    if Role.HTTP_INGRESS in options.roles:
        ingress = options.ingress
        listeners.append(("ingress.bind-port", str(ingress.bind_ip), ingress.bind_port))
    for (one, host, port), (other, second_host, second_port) in combinations(listeners, 2):
        overlap = host == second_host or host in _ANY_ADDRESS or second_host in _ANY_ADDRESS
        if port and port == second_port and overlap:
            raise ConfigError(f"{one} and {other} are both {port}: give each a port of its own")

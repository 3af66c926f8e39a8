"""The `/metrics` page: a Prometheus registry in its text format."""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from restate_node.runtime.real.control_plane_methods import Page, PageHandler


def metrics_page(registry: CollectorRegistry) -> PageHandler:
    """A page that reads the registry anew for each request."""

    async def render() -> Page:
        return Page(200, CONTENT_TYPE_PLAIN_0_0_4, generate_latest(registry))

    return render

"""The metrics page."""

from prometheus_client import CollectorRegistry, Counter

from restate_node.runtime.real.control_plane_metrics import metrics_page


async def test_the_page_shows_the_registry_as_it_is_now() -> None:
    """Goal: Prometheus reads current values. Method: change a counter between two requests."""
    registry = CollectorRegistry()
    counter = Counter("appends", "Appends so far.", registry=registry)
    page = metrics_page(registry)
    assert b"appends_total 0.0" in (await page()).body
    counter.inc()
    answer = await page()
    assert b"appends_total 1.0" in answer.body
    assert (answer.status, answer.content_type.split(";")[0]) == (200, "text/plain")

"""The fixture `restate`: handlers called on clusters of one and of three nodes, no socket."""

from __future__ import annotations

import pytest

from restate_node.testing import (
    Cluster,
    HandlerFailed,
    NotEnded,
    NotFound,
    NotPossible,
    NotRegistered,
    Stuck,
)
from tests.testing.applications import Seen, app, counter, greeter, signup


async def test_a_call(restate: Cluster) -> None:
    """Goal: three lines are a test. How: register, call, look at the result."""
    await restate.register(app(greeter()))
    assert await restate.call("Greeter/greet", "Ada") == "Hello Ada"


@pytest.mark.restate(app=app(greeter()), nodes=3)
async def test_on_three_nodes(restate: Cluster) -> None:
    """Goal: the marker chooses the cluster. How: three nodes, an application in the marker."""
    assert restate.running == restate.nodes == ("n1", "n2", "n3")
    assert await restate.call("Greeter/greet", "Ada") == "Hello Ada"


async def test_state_of_an_object(restate: Cluster) -> None:
    """Goal: state can be looked at. How: a virtual object, called twice."""
    seen = Seen()
    await restate.register(app(counter(seen)))
    await restate.call("Counter/ann/add", 2)
    assert await restate.call("Counter/ann/add", 3) == 5
    assert await restate.state("Counter", "ann") == {"total": 5}
    assert await restate.state("Counter", "bob") == {}
    assert await restate.call("Counter/bob/total") == 0
    assert seen.count("charged ann") == 2


@pytest.mark.restate(app=app(greeter()))
async def test_errors_are_told(restate: Cluster) -> None:
    """Goal: a test says what was wrong. How: a terminal error, and targets that do not exist."""
    with pytest.raises(HandlerFailed, match="not Ada") as failed:
        await restate.call("Greeter/refuse", "Ada")
    assert failed.value.code == 409
    with pytest.raises(NotRegistered, match="Registered services: Greeter"):
        await restate.call("Greeter/nothing")
    with pytest.raises(NotRegistered):
        await restate.call("Greeter/key/greet")
    with pytest.raises(NotPossible, match="n1"):
        restate.kill("n7")
    with pytest.raises(NotPossible, match="real"):
        restate.ingress_url  # noqa: B018 - asking is what fails


async def test_a_workflow(restate: Cluster) -> None:
    """Goal: promises and awakeables from a test. How: a workflow that waits for one of each."""
    awakeables: list[str] = []
    await restate.register(app(signup(awakeables.append)))
    running = await restate.send("Signup/ann/run", "ann@example.com")
    await restate.time.idle()
    assert await restate.state("Signup", "ann") == {"stage": "waiting for the click"}
    with pytest.raises(NotEnded):
        await running.output()
    await restate.call("Signup/ann/click", "s3cret")
    await restate.time.idle()
    await restate.resolve_awakeable(awakeables[0], "10 EUR")
    expected = {"mail": "ann@example.com", "secret": "s3cret", "paid": "10 EUR"}
    assert await running.attach() == expected
    with pytest.raises(HandlerFailed, match="already invoked"):
        await restate.call("Signup/ann/run", "again")


@pytest.mark.restate(app=app(greeter()))
async def test_following_an_invocation(restate: Cluster) -> None:
    """Goal: what became of a call. How: status and journal while it sleeps, then cancelled."""
    sent = await restate.send("Greeter/greet_in_a_month", "Ada", idempotency_key="once")
    again = await restate.send("Greeter/greet_in_a_month", "Ada", idempotency_key="once")
    assert sent.id == again.id
    status = await restate.invocation(sent.id).status()
    assert status.target == "Greeter/greet_in_a_month"
    assert status.status != "completed"
    await sent.cancel()
    with pytest.raises(HandlerFailed, match="cancel"):
        await sent.attach()
    assert (await sent.status()).status == "completed"
    assert "Sleep" in str([entry["entry_type"] for entry in await sent.journal()])
    await sent.purge()
    with pytest.raises(NotFound):
        await sent.status()


@pytest.mark.restate(app=app(greeter()))
async def test_a_handler_with_a_bug(restate: Cluster) -> None:
    """Goal: a bug in a handler is told, not tried for ever. How: a handler that always raises is
    tried until the policy pauses it.
    """
    with (
        pytest.raises(Stuck, match=r"Greeter/stumble paused .*no such thing"),
        restate.waited_for(),
    ):
        await restate.call("Greeter/stumble", "Ada")


async def test_waiting_for_ever_is_an_error(restate: Cluster) -> None:
    """Goal: a test that cannot end says why. How: a workflow that nobody clicks."""

    def nobody(_: str) -> None:
        raise AssertionError("it does not get so far")

    await restate.register(app(signup(nobody)))
    with pytest.raises(Stuck, match="Signup/ann/run running"), restate.waited_for():
        await restate.call("Signup/ann/run", "ann@example.com")

"""The ambush: whom it strikes, when, and that it lets go again."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from restate_node.protocol.leadership import Leadership
from restate_node.sim.ambush import AMBUSHES_MAX, FROZEN_SECONDS, Ambush
from restate_node.sim.hosts import current_incarnation
from restate_node.sim.loop import SimLoop, simulate
from restate_node.sim.objects import SimObjects
from restate_node.sim.recorder import Recorder
from restate_node.sim.timeline import Timeline


class Hosts:
    """Remembers what was done to them."""

    def __init__(self) -> None:
        self.deeds: list[str] = []

    def pause(self, host: str) -> None:
        self.deeds.append(f"pause {host}")

    def resume(self, host: str) -> None:
        self.deeds.append(f"resume {host}")


class AlwaysLow(Random):
    """Every chance comes true."""

    def random(self) -> float:
        return 0.0


def test_claim_is_struck_while_armed_a_few_times_and_let_go() -> None:
    """Goal: only claims under trouble are struck, no more often than allowed, and each host is
    resumed in time. How: claims of a host with dice that always hit, unarmed and then armed.
    """

    async def main(loop: SimLoop) -> None:
        hosts, releases = Hosts(), list[tuple[float, Callable[[], None]]]()
        recorder = Recorder(loop, Timeline(loop.trace, None))
        ambush = Ambush(
            hosts, recorder, AlwaysLow(0), lambda seconds, act: releases.append((seconds, act))
        )
        substitution = ambush.substitutions()[0]
        assert (substitution.owner, substitution.name) == (Leadership, "claimed")
        claim = substitution.make(lambda leadership, epoch: epoch)
        token = current_incarnation.set(loop.boot("n1"))
        try:
            assert claim(None, 4) == 4
            assert hosts.deeds == []
            ambush.armed = True
            for epoch in range(AMBUSHES_MAX + 2):
                assert claim(None, epoch) == epoch
        finally:
            current_incarnation.reset(token)
        assert hosts.deeds == ["pause n1"] * AMBUSHES_MAX
        assert all(FROZEN_SECONDS[0] <= seconds <= FROZEN_SECONDS[1] for seconds, _ in releases)
        for _, release in releases:
            release()
        assert hosts.deeds[AMBUSHES_MAX:] == ["resume n1"] * AMBUSHES_MAX

    simulate(1, main)


def test_who_makes_a_snapshot_known_is_struck_too() -> None:
    """Goal: publishers are frozen before their put arrives, whatever claims were struck. Method:
    puts of several objects, with dice that always hit.
    """

    async def main(loop: SimLoop) -> None:
        hosts = Hosts()
        recorder = Recorder(loop, Timeline(loop.trace, None))
        ambush = Ambush(hosts, recorder, AlwaysLow(0), lambda seconds, act: None)
        substitution = ambush.substitutions()[2]
        assert (substitution.owner, substitution.name) == (SimObjects, "put")

        async def stored(objects: object, key: str, content: bytes, condition: object) -> str:
            return key

        put = substitution.make(stored)
        ambush.armed = True
        token = current_incarnation.set(loop.boot("n2"))
        try:
            assert await put(None, "backup/0/a/metadata.json", b"", None) != ""
            assert hosts.deeds == []
            for _ in range(AMBUSHES_MAX + 2):
                assert await put(None, "backup/0/latest.json", b"", None) == "backup/0/latest.json"
        finally:
            current_incarnation.reset(token)
        assert hosts.deeds == ["pause n2"] * AMBUSHES_MAX

    simulate(1, main)

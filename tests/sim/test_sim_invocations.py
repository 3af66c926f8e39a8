"""Simulated clusters that run invocations: that they do, that all of it ends, and what clients and
services are like."""

from __future__ import annotations

import random

import pytest

from restate_node.sim.__main__ import failure_text
from restate_node.sim.budget import Budget
from restate_node.sim.load import Kind, Load, choose_load
from restate_node.sim.run import RunOptions, run_seed
from restate_node.sim.scenario import Scenario
from restate_node.sim.services import SimServiceOptions
from restate_node.sim.streams import Streams
from restate_node.sim.workloads.book import Book, Wish
from restate_node.sim.workloads.registration import schema
from restate_node.sim.workloads.tiny_sdk import VERSIONS
from restate_node.sim.workloads.wishes import Wishes
from restate_node.sim.world import WorldOptions

ALL = tuple(Kind)
SHORT = Budget(seconds=4.0, faults_min=2, faults_max=4, down_seconds_max=2.0)
CALM = Budget(2.0, 0, 0, down_seconds_max=1.0)
ROUGH = SimServiceOptions(
    window_bytes=128,
    backlog_bytes_low=64,
    refuse_probability=0.1,
    refuse_stream_probability=0.1,
    cut_probability=0.1,
)


def world(load: Load) -> WorldOptions:
    return WorldOptions(scenario=Scenario(load=load))


def test_all_kinds_of_invocations_end_on_a_calm_day() -> None:
    """Goal: without faults all is answered, and nothing complains. Method: all kinds at once."""
    report = run_seed(RunOptions(1, budget=CALM, world=world(Load(ALL, pause_seconds=0.08))))
    assert report.is_green, failure_text(report)
    assert report.answered > 30


@pytest.mark.parametrize("seed", [1, 2])
def test_invocations_survive_troubles(seed: int) -> None:
    """Goal: all invariants hold while nodes and services come and go. Method: a short run."""
    load = Load(ALL, pause_seconds=0.08, services=ROUGH, outages_max=2)
    report = run_seed(RunOptions(seed, budget=SHORT, world=world(load)))
    assert report.is_green, failure_text(report)
    assert report.answered > 20


@pytest.mark.parametrize("versions", [(5, 6), (6, 5), (7, 7)])
def test_all_versions_of_the_service_protocol_work(versions: tuple[int, int]) -> None:
    """Goal: each version, negotiated by deployment, with lazy state. Method: a short calm run."""
    kinds = (Kind.PROGRAM, Kind.COUNTER, Kind.WORKFLOW)
    load = Load(kinds, pause_seconds=0.15, under_way_max=4, versions=versions, is_lazy=True)
    report = run_seed(RunOptions(1, budget=CALM, world=world(load)))
    assert report.is_green, failure_text(report)
    assert report.answered > 10


def test_operators_may_do_anything_to_invocations() -> None:
    """Goal: who is cancelled, killed, paused, resumed or purged stays so, and all others end; what
    has ended is made again.
    Method: operators at every turn of every client.
    """
    load = Load(ALL, pause_seconds=0.1, meddling_probability=0.7, outages_max=1)
    report = run_seed(RunOptions(1, budget=SHORT, world=world(load)))
    assert report.is_green, failure_text(report)
    assert report.answered > 20


@pytest.mark.slow
@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("seed", range(300, 306))
def test_one_kind_alone(seed: int, kind: Kind) -> None:
    """Goal: no kind hides the mistakes of another. Method: one kind, many calls."""
    load = Load((kind,), pause_seconds=0.05, services=ROUGH, outages_max=2)
    report = run_seed(RunOptions(seed, world=world(load)))
    assert report.is_green, failure_text(report)


def test_loads_differ() -> None:
    """Goal: each kind comes up, and runs without invocations, too. Method: many choices."""
    loads = [choose_load(Streams(seed).stream("load")) for seed in range(1, 60)]
    assert None in loads
    some = [load for load in loads if load is not None]
    assert {kind for load in some for kind in load.kinds} == set(ALL)
    assert {version for load in some for version in load.versions} == set(VERSIONS)
    assert {load.is_lazy for load in some} == {True, False}
    assert {load.meddling_probability > 0 for load in some} == {True, False}


def test_all_that_is_wished_is_registered() -> None:
    """Goal: no call fails because nobody has such a handler. Method: many wishes of each kind."""
    book = Book()
    registered = schema(Load(ALL))
    for kind in ALL:
        wishes = Wishes(Load((kind,)), book, random.Random(7), "n1#1")
        made = [wish for _ in range(50) if (wish := wishes.next()) is not None]
        assert len(made) == 50
        assert all(registered.handler(wish.service, wish.handler) for wish in made)
    assert book.workflows and book.counters
    assert {wish.handler for wish in book.wishes} == {"confirm"}


def test_single_results_are_named_by_what_makes_them_single() -> None:
    """Goal: two calls that mean one invocation are compared. Method: wishes of both kinds."""
    made: list[Wish] = []
    for kind in (Kind.WORKFLOW, Kind.ONCE):
        wishes = Wishes(Load((kind,), keys_max=1), Book(), random.Random(7), "n1#1")
        made += [wish for _ in range(40) if (wish := wishes.next()) is not None]
    singles = [(wish.single, wish.key, wish.idempotency_key) for wish in made if wish.single]
    assert len(set(singles)) < len(singles)
    assert len({single for single, _, _ in singles}) == len(set(singles))

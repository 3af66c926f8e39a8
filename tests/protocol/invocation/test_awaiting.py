"""Which await points can go on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restate_node.protocol.invocation.awaiting import (
    Arrival,
    is_hopeless,
    is_runnable,
    notifications,
    wakes,
)
from restate_node.types.journal import (
    AwaitPoint,
    Combinator,
    CompletionId,
    NotificationId,
    SignalIndex,
    SignalName,
)

FIRST = Combinator.FIRST_COMPLETED
EACH = Combinator.ALL_COMPLETED
ANY = Combinator.FIRST_SUCCEEDED_OR_ALL_FAILED
ALL = Combinator.ALL_SUCCEEDED_OR_FIRST_FAILED
RACE = AwaitPoint((3, 4), combinator=FIRST)
CANCEL = SignalIndex(1)


def known(arrived: str) -> dict[int, Arrival]:
    """`1+ 2-`: completion 1 is there, 2 is a failure."""
    signs = {"+": Arrival.SUCCESS, "-": Arrival.FAILURE}
    return {int(word[:-1]): signs[word[-1]] for word in arrived.split()}


def runnable(point: AwaitPoint, arrived: str) -> bool:
    """With these completions."""
    there = known(arrived)

    def look_up(identity: NotificationId) -> Arrival:
        if not isinstance(identity, CompletionId):
            return Arrival.PENDING
        return there.get(identity.number, Arrival.PENDING)

    return is_runnable(point, look_up)


FLAT: list[tuple[Combinator, str, bool]] = [
    (FIRST, "", False),
    (FIRST, "1+", True),
    (FIRST, "2-", True),
    (FIRST, "9+", False),
    (EACH, "1+", False),
    (EACH, "1-", False),
    (EACH, "1- 2+", True),
    (ANY, "1+", True),
    (ANY, "1-", False),
    (ANY, "1- 2-", True),
    (ALL, "1+", False),
    (ALL, "2-", True),
    (ALL, "1+ 2+", True),
]


@pytest.mark.parametrize(("combinator", "arrived", "expected"), FLAT)
def test_combinators(combinator: Combinator, arrived: str, expected: bool) -> None:
    """Goal: those of promises in JavaScript. How: two completions, what arrived, the answer."""
    assert runnable(AwaitPoint((1, 2), combinator=combinator), arrived) is expected


NESTED: list[tuple[AwaitPoint, str, bool]] = [
    (AwaitPoint((1,), nested=(RACE,), combinator=EACH), "1+", False),
    (AwaitPoint((1,), nested=(RACE,), combinator=EACH), "3+", True),
    (AwaitPoint((1,), nested=(RACE,), combinator=ALL), "4-", True),
    (AwaitPoint(nested=(AwaitPoint((1, 2), combinator=EACH),)), "1+", False),
    (AwaitPoint(nested=(AwaitPoint((1, 2), combinator=EACH),)), "1+ 2-", True),
    (AwaitPoint((3,), nested=(AwaitPoint((1, 2), combinator=ALL),), combinator=EACH), "1+", False),
    (AwaitPoint((3,), nested=(AwaitPoint((1,), combinator=ALL),), combinator=EACH), "1+", False),
    (AwaitPoint((3,), nested=(AwaitPoint((1,), combinator=ALL),), combinator=EACH), "1-", True),
    (AwaitPoint((3,), nested=(AwaitPoint((1,), combinator=ANY),), combinator=ALL), "1-", True),
    (AwaitPoint((3,), nested=(AwaitPoint((1,), combinator=EACH),), combinator=ALL), "1-", False),
    (AwaitPoint((3,), nested=(AwaitPoint((1,), combinator=EACH),), combinator=ANY), "1-", True),
]


@pytest.mark.parametrize(("point", "arrived", "expected"), NESTED)
def test_trees(point: AwaitPoint, arrived: str, expected: bool) -> None:
    """Goal: a decided race anywhere wakes, what is merely complete counts in its parent only. How:
    trees of two levels.
    """
    assert runnable(point, arrived) is expected


POINTS = st.recursive(
    st.builds(
        AwaitPoint, st.lists(st.integers(1, 9)).map(tuple), combinator=st.sampled_from(Combinator)
    ),
    lambda points: st.builds(
        AwaitPoint,
        st.lists(st.integers(1, 9)).map(tuple),
        nested=st.lists(points, max_size=3).map(tuple),
        combinator=st.sampled_from(Combinator),
    ),
    max_leaves=6,
)
ARRIVED = st.dictionaries(st.integers(1, 9), st.sampled_from("+-"))


@given(POINTS, ARRIVED, ARRIVED)
def test_news_never_puts_to_sleep(
    point: AwaitPoint, before: dict[int, str], after: dict[int, str]
) -> None:
    """Goal: who can go on still can later. How: any tree, more arrivals."""
    if runnable(point, " ".join(f"{number}{sign}" for number, sign in before.items())):
        more = {**after, **before}
        assert runnable(point, " ".join(f"{number}{sign}" for number, sign in more.items()))


def has_empty_race(point: AwaitPoint) -> bool:
    """A race without runners, anywhere in the tree."""
    runners = (*notifications(point), *point.nested)
    is_empty = point.combinator is Combinator.FIRST_COMPLETED and not runners
    return is_empty or any(has_empty_race(nested) for nested in point.nested)


@given(POINTS)
def test_everything_there_wakes_unless_nothing_is_awaited(point: AwaitPoint) -> None:
    """Goal: nobody hangs. How: any tree that waits for something, all of it arrived."""
    if any(notifications(point)) and not has_empty_race(point):
        assert is_runnable(point, lambda _: Arrival.SUCCESS)
        assert not is_hopeless(point)


def test_a_race_without_runners_is_found_out() -> None:
    """Goal: a handler that nothing can wake is told so at once. How: all of a completion and an
    empty race.
    """
    point = AwaitPoint((1,), nested=(AwaitPoint(),), combinator=Combinator.ALL_COMPLETED)
    assert is_hopeless(point)


def test_signals_are_looked_up_by_what_they_are() -> None:
    """Goal: signal 3 is not completion 3. How: list what a tree waits for."""
    point = AwaitPoint((3,), (3,), ("s",), (AwaitPoint((4,)),))
    assert list(notifications(point)) == [
        CompletionId(3),
        SignalIndex(3),
        SignalName("s"),
        CompletionId(4),
    ]


def test_a_cancellation_wakes_when_it_arrives() -> None:
    """Goal: SDKs that list it wake, and so does everyone once; who has acted on it sleeps. How: a
    point that lists it, one that does not, as something known and as something new.
    """

    def look_up(identity: NotificationId) -> Arrival:
        return Arrival.SUCCESS if identity == CANCEL else Arrival.PENDING

    assert is_runnable(AwaitPoint((3,), (1,)), look_up)
    assert not is_runnable(AwaitPoint((3,)), look_up)
    assert wakes(AwaitPoint((3,)), CANCEL, look_up)
    assert not wakes(AwaitPoint((3,)), CompletionId(4), look_up)


def test_who_waits_for_nothing_is_found_out() -> None:
    """Goal: an invocation that nothing can wake is not put to sleep. How: empty trees."""
    assert is_hopeless(AwaitPoint(nested=(AwaitPoint(combinator=EACH),)))
    assert not is_hopeless(AwaitPoint(nested=(AwaitPoint(named_signals=("s",)),)))

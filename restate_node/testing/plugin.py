"""The plugin of pytest: the fixture `restate`, and tests that run in its time.

    async def test_x(restate): …                          one node, virtual time, seed 0
    @pytest.mark.restate(app=app, nodes=3, seed=7)        what the cluster is like
    @pytest.mark.restate(app=app, seeds=range(20))        the same test in twenty runs
    @pytest.mark.restate(app=app, time="real")            real time and real ports

An `async def` test that uses the fixture, directly or through another one, runs on the loop of its
cluster, whatever other plugins for asynchronous tests are there. Fixtures beside it have to be
plain functions.

pytest loads this in every run of everybody who has installed the package: nothing else is imported
before a test asks for the fixture, and no other test is touched.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from restate_node.testing.embedded import Cluster
    from restate_node.testing.pytest_runs import TestRun

FIXTURE: Final = "restate"
SEED_FIXTURE: Final = "restate_seed"
FOREIGN_MARKERS: Final = ("asyncio", "anyio", "trio")
LOG_LINES_SHOWN: Final = 100

_RUN: Final[pytest.StashKey[TestRun]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """`--restate-seed`, to repeat a run."""
    _keep_as_it_is(pluginmanager)
    group = parser.getgroup("restate")
    group.addoption(
        "--restate-seed",
        type=int,
        default=None,
        help="seed of all tests that use the fixture restate, whatever their markers say",
    )


def _keep_as_it_is(pluginmanager: pytest.PytestPluginManager) -> None:
    """pytest rewrites the assertions of every package that comes with a plugin. Here that would be
    all of a server: two seconds for importing it, and slower asserts, to no end.
    """
    hook: Any = getattr(pluginmanager, "rewrite_hook", None)
    marked: Any = getattr(hook, "_must_rewrite", None)
    if isinstance(marked, set):
        marked.discard("restate_node")  # pyright: ignore[reportUnknownMemberType]
        getattr(hook, "_marked_for_rewrite_cache", {}).clear()


def pytest_configure(config: pytest.Config) -> None:
    """The marker is known, also to --strict-markers."""
    config.addinivalue_line(
        "markers",
        "restate(app=None, nodes=1, partitions=2, seed=0, seeds=None, time='virtual', "
        "options=None): "
        "what the cluster of the fixture restate is like",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each of `seeds`."""
    if FIXTURE not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker(FIXTURE)
    seeds: Iterable[int] | None = None if marker is None else marker.kwargs.get("seeds")
    if seeds is not None and metafunc.config.getoption("--restate-seed") is None:
        metafunc.parametrize(SEED_FIXTURE, list(seeds), ids=lambda seed: f"seed{seed}")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pycollect_makeitem() -> Generator[None, Any, Any]:
    """Take over the tests that use the fixture, from whoever else would run them."""
    made = yield
    if isinstance(made, list):
        return [_taken_over(item) for item in made]  # pyright: ignore
    return made if made is None else _taken_over(made)


def _taken_over(item: Any) -> Any:
    if not isinstance(item, pytest.Function) or FIXTURE not in item.fixturenames:
        return item
    if not inspect.iscoroutinefunction(item.obj):
        return item
    make: Callable[..., RestateFunction] = RestateFunction.from_parent  # pyright: ignore
    taken = make(
        item.parent,
        name=item.name,
        callspec=getattr(item, "callspec", None),
        callobj=item.obj,
        fixtureinfo=item._fixtureinfo,  # pyright: ignore[reportPrivateUsage]
        keywords=item.keywords,
        originalname=item.originalname,
    )
    taken.own_markers = [mark for mark in item.own_markers if mark.name not in FOREIGN_MARKERS]
    return taken


class RestateFunction(pytest.Function):
    """A test that runs on the loop of its cluster."""

    def runtest(self) -> None:
        test = self.obj
        given = {
            name: self.funcargs[name]
            for name in inspect.signature(test).parameters
            if name in self.funcargs
        }
        self.stash[_RUN].run(lambda: test(**given))


@pytest.fixture
def restate_seed(request: pytest.FixtureRequest) -> int:
    """Decides everything in a run: order, delays, identifiers, faults."""
    marker = request.node.get_closest_marker(FIXTURE)
    chosen = request.config.getoption("--restate-seed")
    if chosen is not None:
        return chosen
    return 0 if marker is None else marker.kwargs.get("seed", 0)


@pytest.fixture
def restate(request: pytest.FixtureRequest, restate_seed: int) -> Generator[Cluster]:
    """A cluster in this process; see `restate_node.testing`."""
    from restate_node.testing.pytest_runs import begin

    if not isinstance(request.node, RestateFunction):
        pytest.fail(f"{request.node.name} uses the fixture restate: make it `async def`", False)
    marker = request.node.get_closest_marker(FIXTURE)
    if marker is not None and marker.args:
        pytest.fail("the marker restate takes keywords only, as in app=app, nodes=3", False)
    wanted: dict[str, Any] = {} if marker is None else dict(marker.kwargs)
    for name in ("seed", "seeds"):
        wanted.pop(name, None)
    with begin(wanted, restate_seed) as run:
        request.node.stash[_RUN] = run
        yield run.cluster


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows the seed, and what the nodes said."""
    report = yield
    run = item.stash.get(_RUN, None)
    if run is not None and call.when == "call" and report.failed:
        lines = "\n".join(run.cluster.log[-LOG_LINES_SHOWN:])
        title = f"restate, seed {run.seed} (repeat with --restate-seed {run.seed})"
        report.sections.append((title, lines or "no log lines"))
    return report

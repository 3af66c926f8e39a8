"""The plugin of pytest, as users get it: beside other plugins, silent, and clear about mistakes."""

from __future__ import annotations

import pytest

from restate_node.testing import pytest_runs
from tests.testing import applications

LOADED = (applications, pytest_runs)
"""Loaded once, here: runs in this process forget what they have imported."""

pytest_plugins = ("pytester",)

TEST = """
    import pytest
    import restate as sdk

    greeter = sdk.Service("Greeter")

    @greeter.handler()
    async def greet(ctx, name: str) -> str:
        return f"Hello {name}"

    async def test_greeting(restate):
        await restate.register(sdk.app([greeter]))
        assert await restate.call("Greeter/greet", "Ada") == "Hello Ada"

    class TestMore:
        @pytest.mark.asyncio
        @pytest.mark.parametrize("name", ["Ada", "Bob"])
        async def test_greetings(self, restate, name, tmp_path):
            await restate.register(sdk.app([greeter]))
            assert await restate.call("Greeter/greet", name) == f"Hello {name}"
"""
ALONE = ("-p", "no:hypothesispytest")
"""It would be imported in every run anew."""
STRICT_WARNINGS = ("-W", "error", "-W", "ignore::pytest.PytestAssertRewriteWarning")
"""The latter is about running in this process."""
MISTAKES = """
    import asyncio
    import pytest

    @pytest.mark.restate(nodes=2)
    async def test_1(restate): ...

    @pytest.mark.restate(size=3)
    async def test_2(restate): ...

    @pytest.mark.restate(time="fast")
    async def test_3(restate): ...

    @pytest.mark.restate(3)
    async def test_4(restate): ...

    def test_5(restate): ...

    async def test_6(restate):
        await asyncio.open_connection("127.0.0.1", 1)
"""
TOLD = (
    "*nodes=2: use one of (1, 3, 5)*",
    "*the marker restate does not take that*size*",
    "*time='fast': use one of virtual, real*",
    "*the marker restate takes keywords only*",
    "*uses the fixture restate: make it `async def`*",
    "*there are no sockets in simulated time*",
)


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_beside_another_plugin(pytester: pytest.Pytester, mode: str) -> None:
    """Goal: no configuration is needed. How: tests as users write them, in both modes of the
    plugin that would run them otherwise; a warning of any kind fails.
    """
    pytester.makepyfile(TEST)
    scope = "asyncio_default_fixture_loop_scope=function"
    outcome = pytester.runpytest_inprocess(
        *ALONE, *STRICT_WARNINGS, f"--asyncio-mode={mode}", "-o", scope, "--strict-markers"
    )
    outcome.assert_outcomes(passed=3)


def test_whoever_does_not_use_it_is_left_alone(pytester: pytest.Pytester) -> None:
    """Goal: installing the package costs other tests nothing. How: look at what was imported."""
    pytester.makepyfile(
        """
        import sys

        def test_nothing_is_loaded():
            loaded = {name for name in sys.modules if name.startswith("restate_node")}
            assert loaded == {
                "restate_node", "restate_node.testing", "restate_node.testing.plugin"
            }
            assert "msgspec" not in sys.modules and "structlog" not in sys.modules
        """
    )
    pytester.runpytest_subprocess("-p", "no:asyncio").assert_outcomes(passed=1)


def test_a_failure_tells_its_seed(pytester: pytest.Pytester) -> None:
    """Goal: a failure can be repeated. How: one of five seeds fails; then only that one."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.restate(seeds=range(5))
        async def test_some(restate, restate_seed):
            assert restate_seed != 3
        """
    )
    outcome = pytester.runpytest_inprocess(*ALONE, "-p", "no:asyncio")
    outcome.assert_outcomes(passed=4, failed=1)
    outcome.stdout.fnmatch_lines(["*repeat with --restate-seed 3*", "n1#1 info *"])
    again = (*ALONE, "-p", "no:asyncio", "--restate-seed")
    pytester.runpytest_inprocess(*again, "3").assert_outcomes(failed=1)
    pytester.runpytest_inprocess(*again, "2").assert_outcomes(passed=1)


def test_mistakes_are_told(pytester: pytest.Pytester) -> None:
    """Goal: one line says what to change. How: wrong markers, a test that is not async, a socket
    in virtual time.
    """
    pytester.makepyfile(MISTAKES)
    outcome = pytester.runpytest_inprocess(*ALONE, "-p", "no:asyncio")
    outcome.assert_outcomes(errors=5, failed=1)
    for line in TOLD:
        outcome.stdout.fnmatch_lines([line])

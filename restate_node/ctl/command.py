"""How a command is declared: a coroutine that gets a session and returns a report.

    @command(app, "list")
    async def list_nodes(session: Session, extra: Annotated[bool, …] = False) -> Report: …

The options of `settings` are added to its own, on the command and on every level above, so that
`restatectl -s X nodes list` and `restatectl nodes list -s X` are the same. The report is printed
as text or JSON, its problems on stderr, and any problem makes the exit code 1.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec, get_type_hints

import typer

from restate_node.ctl import settings as settings_module
from restate_node.ctl.errors import CtlError, ReaderLeft, one_line
from restate_node.ctl.groups import prefix_group
from restate_node.ctl.render import Block, Report, render, render_json
from restate_node.ctl.settings import TIMEOUT_MS_MAX, GivenOptions, Settings, given_options
from restate_node.ctl.times import TimeFormat, TimeStyle

if TYPE_CHECKING:
    from restate_node.ctl.connection import Cluster

Arguments = ParamSpec("Arguments")
Body = Callable[Concatenate["Session", Arguments], Awaitable[Report]]


def _common_options(
    *,
    address: Annotated[
        list[str] | None,
        typer.Option(
            "--address",
            "-s",
            "--addresses",
            "--server",
            metavar="LIST",
            help="Addresses of nodes, by commas: host:port, http://host:port/ or unix:/path. One "
            "that answers is enough; the others are found. "
            f"[env: {settings_module.ADDRESS_VARIABLE}; default: http://localhost:5122/]",
        ),
    ] = None,
    single_address: Annotated[
        str | None,
        typer.Option(
            "--single-address", "-S", metavar="ADDRESS", help="Ask this node only; find no others."
        ),
    ] = None,
    yes: Annotated[
        bool,
        typer.Option("--yes", "-y", help="Answer yes to every question. [env: CI]"),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    connect_timeout: Annotated[
        int | None,
        typer.Option(
            "--connect-timeout", min=1, max=TIMEOUT_MS_MAX, metavar="MS", help="[default: 3000]"
        ),
    ] = None,
    request_timeout: Annotated[
        int | None,
        typer.Option(
            "--request-timeout", min=1, max=TIMEOUT_MS_MAX, metavar="MS", help="[default: 13000]"
        ),
    ] = None,
    time_format: Annotated[
        TimeFormat | None,
        typer.Option("--time-format", help="How moments are printed. [default: human]"),
    ] = None,
) -> None:
    """Never called: its parameters are added to every command."""


_COMMON = inspect.signature(_common_options, eval_str=True).parameters


@dataclass(frozen=True, slots=True)
class Session:
    """What a command works with."""

    settings: Settings
    cluster: Cluster
    times: TimeStyle

    def show(self, *blocks: Block) -> None:
        """Print in the middle of a command; with --json on stderr, for stdout has one document."""
        emit(render(blocks), to_stderr=self.settings.json)

    def require(self, question: str) -> None:
        """Go on only after a yes; CtlError after anything else."""
        if not self.confirm(question):
            raise CtlError("aborted: nothing was changed")

    def confirm(self, question: str) -> bool:
        """Ask on the terminal, or take --yes for the answer; CtlError if nobody answers."""
        prompt = f"? {question} (y/n) › "
        if self.settings.yes:
            emit(f"{prompt}yes (--yes)\n", to_stderr=self.settings.json)
            return True
        emit(prompt, to_stderr=self.settings.json)
        answer = sys.stdin.readline()
        if not answer.endswith("\n"):
            emit("\n", to_stderr=self.settings.json)
        if not answer:
            raise CtlError("aborted: nobody answers; use --yes to confirm. Nothing was changed")
        return answer.strip().lower() in ("y", "yes")


def command(app: typer.Typer, name: str) -> Callable[[Body[Arguments]], Body[Arguments]]:
    """Declare a command of `app`. Its docstring is its help page."""

    def register(body: Body[Arguments]) -> Body[Arguments]:
        def run(ctx: typer.Context, **values: Any) -> None:
            common = {key: values.pop(key) for key in _COMMON}
            given = _outer_options(ctx).then(given_options(common))
            settings = Settings.of(given, os.environ)
            report = asyncio.run(unless_interrupted(_drive(body, settings, values)))
            deliver(report, settings)

        _sign(run, body)
        app.command(name, help=inspect.getdoc(body))(run)
        return body

    return register


def noun(help_text: str, aliases: Mapping[str, str] | None = None) -> typer.Typer:
    """The application of one noun, to be filled with commands."""
    app = typer.Typer(
        cls=prefix_group(aliases or {}),
        help=help_text,
        add_completion=False,
        rich_markup_mode=None,
    )
    accept_common_options(app)
    return app


def single(help_text: str | None = None) -> typer.Typer:
    """The application of a noun that is a command itself."""
    return typer.Typer(help=help_text, add_completion=False, rich_markup_mode=None)


def accept_common_options(app: typer.Typer, *more: inspect.Parameter) -> None:
    """Lets a group take the common options and pass them on. `more` do their work by themselves."""

    def callback(ctx: typer.Context, **values: Any) -> None:
        common = {name: values[name] for name in _COMMON}
        ctx.obj = _outer_options(ctx).then(given_options(common))

    _sign(callback, None, more)
    app.callback()(callback)


def deliver(report: Report, settings: Settings) -> None:
    """Print a report; typer.Exit(1) if it has problems."""
    if settings.json:
        emit(render_json(report.document))
    else:
        emit(render(report.blocks, colour=_colours()))
    for problem in report.problems:
        sys.stderr.write(f"Error: {one_line(problem)}\n")
    if report.problems:
        raise typer.Exit(1)


def emit(text: str, *, to_stderr: bool = False) -> None:
    """Write and flush, so that questions appear and closed pipes are noticed: ReaderLeft."""
    stream = sys.stderr if to_stderr else sys.stdout
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        raise ReaderLeft from None


async def unless_interrupted(driven: Awaitable[Report]) -> Report:
    """Ctrl-C cancels this task. A call that it meets in the middle may end as one that failed, and
    whoever interrupted knows why.
    """
    try:
        return await driven
    except CtlError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError from None
        raise


async def _drive(
    body: Callable[..., Awaitable[Report]], settings: Settings, values: Mapping[str, Any]
) -> Report:
    from restate_node.ctl.connection import Cluster  # gRPC: not before it is needed
    from restate_node.ctl.link import Timeouts

    timeouts = Timeouts(settings.connect_timeout_ms, settings.request_timeout_ms)
    async with Cluster(settings.addresses, timeouts, single=settings.single) as cluster:
        now = TimeStyle(settings.time_format, time.time_ns() // 1_000_000)
        return await body(Session(settings, cluster, now), **values)


def _outer_options(ctx: typer.Context) -> GivenOptions:
    return ctx.obj if isinstance(ctx.obj, GivenOptions) else GivenOptions()


def _sign(
    run: Callable[..., None],
    body: Callable[..., Any] | None,
    more: Sequence[inspect.Parameter] = (),
) -> None:
    """Give `run` the parameters of `body` without its session, the common ones, and more."""
    own: list[inspect.Parameter] = []
    if body is not None:
        hints = get_type_hints(body, include_extras=True)
        _, *parameters = inspect.signature(body).parameters.values()
        own = [
            p.replace(annotation=hints[p.name], kind=inspect.Parameter.KEYWORD_ONLY)
            for p in parameters
        ]
    context = inspect.Parameter(
        "ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
    )
    parameters = [context, *own, *_COMMON.values(), *more]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}


def _colours() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")

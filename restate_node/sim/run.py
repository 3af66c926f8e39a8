"""One run: a cluster comes up, trouble comes and goes, and what was seen is held against every
invariant.

    boot ─▶ trouble (nemesis and clients) ─▶ heal ─▶ V1, V2 ─▶ writers stop ─▶ read it all ─▶ check

A run is a function of its options: same options, same trace hash, in any process.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, Final

from restate_node.sim.ambush import Ambush
from restate_node.sim.budget import Budget
from restate_node.sim.checkers.applied_reaches_tail import CAUGHT_UP_SECONDS_MAX
from restate_node.sim.checkers.catalog import CHECKERS, CONTROL_CHECKERS, TRUTH_CHECKERS
from restate_node.sim.checkers.checker import violations
from restate_node.sim.checkers.invocations_end import SECONDS_MAX as END_SECONDS_MAX
from restate_node.sim.history import (
    Acknowledged,
    CommandApplied,
    DurabilityRule,
    Healed,
    Observed,
    RegisterUsed,
)
from restate_node.sim.history_cluster import QuietBegan, QuietEnded
from restate_node.sim.history_invocations import InvocationAnswered
from restate_node.sim.hosts import SimClock
from restate_node.sim.injection import carry_out
from restate_node.sim.load import choose_load
from restate_node.sim.loop import LoopOptions, SimLoop, SimulationFailed, simulate
from restate_node.sim.nemesis import Fault, plan_all
from restate_node.sim.node_logs import NodeLogs
from restate_node.sim.operating.console import Console
from restate_node.sim.operating.operator import Operator
from restate_node.sim.operating.survey import say_status, survey
from restate_node.sim.plants import PLANTS
from restate_node.sim.probes import dump_state, probes
from restate_node.sim.probes_invocations import JournalProbe
from restate_node.sim.recorder import Recorder
from restate_node.sim.scenario import Losses, Scenario, choose
from restate_node.sim.service_trouble import ServicePark
from restate_node.sim.settling import Settling
from restate_node.sim.streams import Streams
from restate_node.sim.substitution import Substitution, substituted
from restate_node.sim.timeline import Sink, Timeline
from restate_node.sim.workloads.catalog import CLIENTS, INVOKING
from restate_node.sim.workloads.handlers import Handlers
from restate_node.sim.workloads.log_reads import read_all
from restate_node.sim.workloads.registration import ADDRESSES
from restate_node.sim.workloads.workload import Stage
from restate_node.sim.world import CLOCK_SKEW_MS_MAX, NodeLife, World, WorldOptions
from restate_node.types.options import DurabilityMode
from restate_node.types.processor_messages import ReplayStatus, RunMode

BOOT_SECONDS_MAX: Final = 30.0
LOOK_SECONDS: Final = 0.25
STATUS_SECONDS: Final = 1.0
SURVEY_SECONDS: Final = 3.0
CALM_LOOKS: Final = 4
"""So many looks in a row must find everything well before the watching ends early."""
READ_SECONDS_MAX: Final = 30.0
WRITERS_STOP_SECONDS: Final = 1.0
LEVELS_FATAL: Final = ("error", "critical", "exception")
FINDINGS_MAX: Final = 20
STORY_LINES_MAX: Final = 60


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What makes a run what it is."""

    seed: int
    plant: str | None = None
    world: WorldOptions | None = None
    """None: a cluster of three, and the scenario of the seed."""
    budget: Budget = field(default_factory=Budget)
    steps_max: int = 20_000_000


@dataclass(frozen=True, slots=True)
class Report:
    """What a run came to. No findings: all invariants hold."""

    seed: int
    findings: tuple[str, ...]
    faults: tuple[Fault, ...]
    story: tuple[str, ...]
    trace_hash: str
    steps: int
    seconds: float
    acknowledged: int
    patched: int
    swapped: int
    answered: int
    """Calls of services whose clients were told how they ended."""

    @property
    def is_green(self) -> bool:
        return not self.findings


class Run:
    """The parts of a run, while it lasts."""

    def __init__(self, loop: SimLoop, options: RunOptions, sink: Sink | None) -> None:
        self.findings: list[str] = []
        self.timeline = Timeline(loop.trace, sink)
        self.recorder = Recorder(loop, self.timeline)
        self.stage = Stage()
        self.loop = loop
        self.options = options
        self._clients: list[asyncio.Task[None]] = []
        setting = options.world or _setting(_scenario(loop.streams))
        self.scenario = setting.scenario
        self.faults = plan_all(loop.streams, setting.hosts, options.budget, setting.scenario)
        self.world = World(loop, setting, self.recorder, self.found, self._serve)
        self.stage.load = setting.scenario.load
        self.services = ServicePark(self.world.services, self._handlers().service(), ADDRESSES)
        self.ambush = Ambush(
            self.world, self.recorder, loop.streams.stream("ambush"), self.world.later
        )
        rng = loop.streams.stream("operator")
        self.operator = Operator(self.world, rng, self.found, self.scenario.losses)
        self.eyes = Console(self.world, loop.streams.stream("survey"), self.found)

    def found(self, text: str) -> None:
        """Something that no invariant of the history tells."""
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(text)

    def logged(self, who: str, level: str, text: str) -> None:
        """A log line of a node."""
        self.timeline.add(self.recorder.now(), who, level, text)
        if level in LEVELS_FATAL and not self.world.is_excused(who):
            self.found(f"{who} logged an ERROR at {self.recorder.now():.3f}s: {text}")

    def _serve(self, life: NodeLife) -> None:
        """Clients for a node that became ready; they live and die with it."""
        if self.stage.writing:
            for client in (*CLIENTS, *(INVOKING if self.stage.load is not None else ())):
                self._spawn(life, client.run(life, self.stage), client.name)

    def _handlers(self) -> Handlers:
        """Of users' services; they know the time of the world."""
        now_ms, skew_seconds = SimClock(self.loop).unix_ms, CLOCK_SKEW_MS_MAX / 1000
        rng, load = self.loop.streams.stream("handlers"), self.stage.load
        may_pause = load is not None and load.meddling_probability > 0
        book = self.stage.book
        return Handlers(self.recorder, book, rng, now_ms, skew_seconds, may_pause=may_pause)

    def substitutions(self) -> list[Substitution]:
        """What has to be in place for this run."""
        pace = self.scenario.pace.substitutions()
        journals = JournalProbe(self.recorder).substitutions() if self.stage.load else []
        return [*probes(self.recorder), *journals, *self.ambush.substitutions(), *pace]

    async def main(self) -> None:
        self._tell_rule()
        if not await self._boot():
            return
        looking = asyncio.ensure_future(self._look())
        await self._trouble()
        await self._heal()
        await self._watch()
        self.stage.writing = False
        await asyncio.sleep(WRITERS_STOP_SECONDS)
        await self._settle()
        await self._read_all()
        self._dump_states()
        await self._be_quiet()
        looking.cancel()
        self._judge()

    def failed(self, error: SimulationFailed) -> None:
        """The program itself broke off; the history may tell why."""
        self.found(f"{type(error).__name__}: {error}")
        self._judge()

    def _judge(self) -> None:
        """A cluster that lost what nobody can give back owes the truth, and nothing else."""
        checkers = TRUTH_CHECKERS if self._is_beyond else CHECKERS
        self.findings.extend(map(str, violations(checkers, self.recorder.history)))

    @property
    def _is_beyond(self) -> bool:
        return self.scenario.losses is Losses.BEYOND

    async def _boot(self) -> bool:
        rng = self.loop.streams.stream("boot")
        for host in self.world.hosts:
            await asyncio.sleep(rng.uniform(0, 0.3))
            self.world.start(host)
        if await self._until(lambda: self.world.all_ready, BOOT_SECONDS_MAX):
            return True
        self.found(f"the cluster is not up after {BOOT_SECONDS_MAX:.0f}s without any fault")
        return False

    async def _trouble(self) -> None:
        """As long as the budget says, however few the faults."""
        deadline = self.recorder.now() + self.options.budget.seconds
        self.ambush.armed = self.options.budget.faults_max > 0
        working = asyncio.ensure_future(self._operate())
        leaving = asyncio.ensure_future(self._trouble_services())
        await carry_out(self.faults, self.world, self.recorder)
        await asyncio.sleep(max(0.0, deadline - self.recorder.now()))
        working.cancel()
        leaving.cancel()
        self.ambush.armed = False

    async def _operate(self) -> None:
        if self.scenario.has_operator:
            await self.operator.work()

    async def _trouble_services(self) -> None:
        load, budget = self.stage.load, self.options.budget
        if load is not None and budget.faults_max > 0:
            rng = self.loop.streams.stream("service trouble")
            await self.services.trouble(load.outages_max, budget.seconds, rng, self.recorder)

    async def _settle(self) -> None:
        healed = self.recorder.history.last(Healed)
        if self.stage.load is not None and healed is not None and not self._is_beyond:
            deadline = max(healed.at + END_SECONDS_MAX, self.recorder.now())
            rng = self.loop.streams.stream("settling")
            await Settling(self.world, self.stage.book, deadline, rng).settle()

    async def _look(self) -> None:
        """Ask for the status, again and again, until cancelled."""
        while True:
            await asyncio.sleep(STATUS_SECONDS)
            await say_status(self.eyes)

    async def _heal(self) -> None:
        self.world.heal()
        self.services.heal()
        if self.scenario.has_operator:
            await self.operator.restore()
            await self.operator.leave_out()
        if not await self._until(lambda: self.world.all_ready, BOOT_SECONDS_MAX):
            self.found(f"not all nodes are ready {BOOT_SECONDS_MAX:.0f}s after healing")
        self.recorder.add(Healed(self.recorder.now()))

    async def _watch(self) -> None:
        """Until everything was well for a while, or the time of V2 is over."""
        deadline = self.recorder.now() + CAUGHT_UP_SECONDS_MAX
        calm = 0
        while calm < CALM_LOOKS and self.recorder.now() < deadline:
            await asyncio.sleep(LOOK_SECONDS)
            calm = calm + 1 if self._is_well() and await self._is_in_order() else 0
        await asyncio.sleep(LOOK_SECONDS)
        self.recorder.add(Observed(self.recorder.now()))

    def _is_well(self) -> bool:
        led: set[int] = set()
        for life in self.world.lives:
            for status in life.node.worker.statuses() if life.node.worker else []:
                if status.replay_status is not ReplayStatus.ACTIVE:
                    return False
                if status.effective_mode is RunMode.LEADER:
                    led.add(status.partition)
        return self.world.all_ready and len(led) == self.world.options.partitions

    async def _is_in_order(self) -> bool:
        """The control plane has nothing left to do."""
        await survey(self.eyes)
        return not violations(CONTROL_CHECKERS, self.recorder.history)

    async def _be_quiet(self) -> None:
        """Nothing happens, and that for long enough to see whether anything changes."""
        if not self.scenario.quiet_seconds:
            return
        end = self.recorder.now() + self.scenario.quiet_seconds
        self.recorder.add(QuietBegan(self.recorder.now()))
        while self.recorder.now() < end:
            await asyncio.sleep(SURVEY_SECONDS)
            await survey(self.eyes)
        self.recorder.add(QuietEnded(self.recorder.now()))

    async def _read_all(self) -> None:
        lives = self.world.lives
        done: set[str] = set()

        async def read(life: NodeLife) -> None:
            await read_all(life)
            done.add(life.name)

        for life in lives:
            self._spawn(life, read(life), "last reader")
        await self._until(lambda: len(done) == len(lives), READ_SECONDS_MAX)
        for life in lives if not self._is_beyond else ():
            if life.name not in done:
                self.found(
                    f"{life.name} could not read its log to the tail within "
                    f"{READ_SECONDS_MAX:.0f}s, although there are no faults any more"
                )

    def _tell_rule(self) -> None:
        """By default a cluster trims what is in a snapshot and on some disk."""
        mode = self.scenario.durability or DurabilityMode.BALANCED
        rule = DurabilityRule(self.recorder.now(), mode.value, self.world.options.replication)
        self.recorder.add(rule)

    def _dump_states(self) -> None:
        for life in self.world.lives:
            for _, store in sorted(life.node.worker.stores().items() if life.node.worker else []):
                dump_state(self.recorder, life.name, store)

    def _spawn(self, life: NodeLife, client: Coroutine[Any, Any, None], name: str) -> None:
        """The loop itself would let a task go that nobody holds."""
        self._clients.append(self.loop.spawn(life.incarnation, client, name))

    async def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait for it; False when the time is over."""
        deadline = self.recorder.now() + seconds
        while not condition():
            if self.recorder.now() >= deadline:
                return False
            await asyncio.sleep(LOOK_SECONDS)
        return True


def _scenario(streams: Streams) -> Scenario:
    scenario = choose(streams.stream("scenario"))
    return replace(scenario, load=choose_load(streams.stream("load")))


def _setting(scenario: Scenario) -> WorldOptions:
    hosts = tuple(f"n{number}" for number in range(1, scenario.hosts + 1))
    return WorldOptions(hosts, partitions=scenario.partitions, scenario=scenario)


def run_seed(options: RunOptions, sink: Sink | None = None) -> Report:
    """A whole run."""
    gc.collect()  # the world before refers to itself: hundreds would wait for the collector
    runs: list[Run] = []
    logs = NodeLogs()

    async def main(loop: SimLoop) -> None:
        run = Run(loop, options, sink)
        runs.append(run)
        logs.listener = run.logged
        try:
            with substituted(run.substitutions()):
                await run.main()
        finally:
            logs.listener = None

    plant = PLANTS[options.plant].substitutions if options.plant is not None else ()
    with logs.captured(), substituted(plant):
        try:
            simulate(options.seed, main, LoopOptions(steps_max=options.steps_max))
        except SimulationFailed as error:
            runs[0].failed(error)
    return _report(options, runs[0])


def _report(options: RunOptions, run: Run) -> Report:
    history = run.recorder.history
    return Report(
        options.seed,
        tuple(run.findings),
        run.faults,
        tuple(run.timeline.tail(STORY_LINES_MAX)),
        run.loop.log.digest(),
        run.loop.steps,
        run.loop.time(),
        acknowledged=sum(1 for _ in history.of(Acknowledged)),
        patched=len({(e.partition, e.command) for e in history.of(CommandApplied)}),
        swapped=sum(1 for used in history.of(RegisterUsed) if _swapped(used)),
        answered=sum(1 for _ in history.of(InvocationAnswered)),
    )


def _swapped(used: RegisterUsed) -> bool:
    return used.operation is not None and used.operation.result is True

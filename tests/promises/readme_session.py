"""A session of the README, typed as a reader would: commands behind `$`, further lines of one
behind `>`, and below what is printed.

    $ restatectl logs list
    …                                          lines that are left out
    0     3         Replicated  …              the rest of a line that is left out

What is printed must be what the README shows, except for counts, versions and positions. A command
that only looks is typed again until it shows that, as the text around it says; one that changes
something is typed once. Ports are exchanged for free ones.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from tests.process.node_processes import HOST, PROGRAMS, eventually

SHOWN_WITHIN_S: Final = 60.0
LOOKING: Final = re.compile(r"restatectl (status|\S+ (list|servers|list-servers))\b")
ANSWER: Final = re.compile(r"\(y/n\) › (\w+)$", re.MULTILINE)
LITERAL: Final = r"(\{node: \d+\}|\bN\d+\b(?!:)|node-\d+|(?<!\S)0(?!\S))"
DONE: Final = "@done"


@dataclass(frozen=True, slots=True)
class Step:
    """One command, and the lines below it."""

    command: str
    shown: str

    @property
    def answer(self) -> str:
        """What the reader types when asked; nothing if `--yes` does it."""
        found = ANSWER.search(self.shown)
        return found[1] if found else ""

    def matches(self, printed: str) -> bool:
        """Whether this is what the README shows."""
        lines = (_line_pattern(line) for line in self.shown.splitlines())
        return re.fullmatch("".join(lines) + r"\s*", printed) is not None


def steps(document: str, title: str) -> list[Step]:
    """Every step of the blocks under a title."""
    section = document.split(f"\n## {title}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```console\n(.*?)```", section, re.DOTALL)
    made: list[Step] = []
    for block in blocks:
        for text in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            first, *rest = text.splitlines()
            more = [line[2:] for line in rest if line.startswith("> ") or line == ">"]
            shown = [line for line in rest if not (line.startswith("> ") or line == ">")]
            made.append(Step("\n".join([first, *more]), "\n".join(shown)))
    return made


def _line_pattern(line: str) -> str:
    if line.strip() == "…":
        return r"(?:.*\n)*?"
    return "".join(_part_pattern(part) for part in re.split(LITERAL, line)) + r" *\n"


def _part_pattern(part: str) -> str:
    if re.fullmatch(LITERAL, part):
        return re.escape(part)
    text = re.escape(part).replace(r"\ ", " ")
    text = re.sub(r"\d+", r"\\d+", text)
    text = re.sub(r" *… *", ".*", text)
    return re.sub(r"(?<=\S)? {2,}", " +", text)


class Shell:
    """One bash that keeps its variables, functions and background jobs."""

    def __init__(self, directory: Path, variables: Mapping[str, str]) -> None:
        self._answers = directory / "answers"
        self.process = subprocess.Popen(
            ["bash", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=directory,
            env={**os.environ, **variables},
            start_new_session=True,
        )

    def type(self, command: str, answer: str = "") -> str:
        """What the command prints; an answer is echoed as a terminal would."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._answers.write_text(f"{answer}\n" if answer else "")
        self.process.stdin.write(f"{{ {command}\n}} < {self._answers} 2>&1\necho {DONE}\n")
        self.process.stdin.flush()
        printed = ""
        for line in self.process.stdout:
            if line == f"{DONE}\n":
                break
            printed += line
        echoed = f"(y/n) › {answer}\n" if answer else "(y/n) › "
        return printed.replace("(y/n) › ", echoed)

    def end(self) -> None:
        """The shell and all its jobs."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


@contextmanager
def session(directory: Path) -> Iterator[Shell]:
    """A shell with the programs of this installation, in a directory of its own."""
    path = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
    shell = Shell(directory, {"PATH": path, "NO_COLOR": "1", "CI": ""})
    try:
        yield shell
    finally:
        shell.end()


def perform(shell: Shell, step: Step) -> None:
    """Type one step; AssertionError with what it printed instead."""
    printed = shell.type(step.command, step.answer)
    if step.matches(printed) or not step.shown:
        return
    if not LOOKING.match(step.command):
        raise AssertionError(f"$ {step.command}\n{printed}\ninstead of\n{step.shown}")

    def again() -> bool:
        nonlocal printed
        printed = shell.type(step.command)
        return step.matches(printed)

    try:
        eventually(again, SHOWN_WITHIN_S, step.command)
    except AssertionError:
        raise AssertionError(f"$ {step.command}\n{printed}\ninstead of\n{step.shown}") from None


def free_base(rng: Random, distance: int, count: int) -> int:
    """A port after which `count` ports, so far from each other, are free right now."""
    while True:
        base = rng.randrange(20_000, 30_000)
        if all(_is_free(base + distance * number) for number in range(1, count + 1)):
            return base


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True

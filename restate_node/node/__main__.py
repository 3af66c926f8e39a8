"""`restate-node`: reads the configuration and runs one node."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from restate_node.node.config import LoadedConfig


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script; returns the exit code."""
    from restate_node.node.config import ConfigError, load_config

    argv = list(sys.argv[1:] if arguments is None else arguments)
    try:
        loaded = load_config(argv, os.environ, _read_file)
    except ConfigError as error:
        return _fail(str(error))
    if loaded.output is not None:
        return _print(loaded.output, loaded.warnings)
    return _run(loaded)


def _print(output: str, warnings: Sequence[str]) -> int:
    """Text that was asked for instead of a node; what is wrong with it goes beside it."""
    for line in warnings:
        print(f"restate-node: warning: {line}", file=sys.stderr)
    try:
        print(output.rstrip("\n"), flush=True)
    except BrokenPipeError:  # `| head` has seen enough; the interpreter must not flush again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _run(loaded: LoadedConfig) -> int:
    gc.disable()  # imports make much and drop little: a tenth of the start; the loop enables it
    import structlog

    from restate_node.node.process import StartError, run_process
    from restate_node.runtime.real.loop import run
    from restate_node.runtime.telemetry import LineFormat, configure, level_of

    options = loaded.options
    colours = sys.stdout.isatty() and not options.log_disable_ansi_codes
    line_format = LineFormat(options.log_format.value)
    configure(line_format, level_of(options.log_filter), colours=colours)
    logger = structlog.get_logger("restate_node")
    for line in loaded.notices:
        logger.info(line)
    for line in loaded.warnings:
        logger.warning(line)
    try:
        return run(run_process(options))
    except StartError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return 130


def _read_file(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def _fail(message: str) -> int:
    print(f"restate-node: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())

"""One process of the bare log plane: a log server on a real disk behind a real port, and nothing
else.

Started by `benchmarks.bare`; prints one line when it listens, ends with its parent's pipe.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path
from random import Random

from benchmarks.bare_plane import BarePlane
from restate_node.runtime.real.loop import run


async def serve(node: int, directory: Path, ports: list[int]) -> None:
    """Serve until standard input ends."""
    plane = BarePlane(node, directory, ports, Random(os.urandom(8)))
    await plane.start()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.buffer.read)
    await plane.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--node", type=int, required=True)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--ports", type=int, nargs="+", required=True)
    arguments = parser.parse_args()
    run(serve(arguments.node, arguments.directory, arguments.ports))


if __name__ == "__main__":
    main()

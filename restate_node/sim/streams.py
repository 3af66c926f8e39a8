"""Independent random numbers for every purpose of a run, all derived from one seed.

If network, disks and nemesis drew from one generator, one more disk write would change every
later fault, and a failing seed could not be narrowed down: remove one workload and the whole
world is a different one. So each purpose has a generator of its own, seeded by a hash of the
run's seed and the purpose's name. `hash(str)` would not do, it differs between processes.
"""

from __future__ import annotations

import random
from hashlib import blake2b


class Streams:
    """Hands out one `random.Random` per name; the same name always gets the same generator."""

    __slots__ = ("_streams", "seed")

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._streams: dict[str, random.Random] = {}

    def stream(self, name: str) -> random.Random:
        """The generator of a purpose ("network", "node-1"), created when first asked for."""
        stream = self._streams.get(name)
        if stream is None:
            stream = self._streams[name] = random.Random(self._seed_of(name))
        return stream

    def _seed_of(self, name: str) -> int:
        digest = blake2b(f"{self.seed}/{name}".encode(), digest_size=16).digest()
        return int.from_bytes(digest, "big")

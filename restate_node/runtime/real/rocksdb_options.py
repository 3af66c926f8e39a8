"""How the stores of one process are tuned, and the memory that they share.

A node opens one store for its log server, one for the metadata server and one per partition: two
dozen databases in a budget of about 100 MB for the whole process. Three choices make that possible.

    one block cache, one write-buffer manager   the sum over all stores is bounded
    small arena blocks                          a memtable takes memory in steps, 1 MiB by default
    two background threads                      RocksDB shares its pools between databases anyway

Measured: a store costs about 0.4 MB when it is open and idle.

What the two kinds of store need differs:

    with a write-ahead log     appended to and trimmed (logs): not compressed, since what comes in
                               bulk goes in bulk, and the fsync is the price; strict recovery
    without                    overwritten in place (partition state): LZ4, flushed rarely
"""

from __future__ import annotations

from dataclasses import dataclass, field

from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    DBRecoveryMode,
    Options,
    WriteBufferManager,
    WriteOptions,
)

from restate_node.runtime.ports import StoreOptions

__all__ = ["StoreMemory", "rocksdb_options", "write_options"]

ARENA_BLOCK_BYTES_MAX = 256 * 1024
ARENA_BLOCKS_PER_BUFFER = 64
WRITE_BUFFERS_MAX = 4
WAL_BUFFERS_MAX = 4
"""A log file lives as long as its least flushed family; above this, RocksDB flushes that one."""
OPEN_FILES_MAX = 128
LOG_FILES_BEFORE_COMPACTION = 12
MANIFEST_PREALLOCATION_BYTES = 64 * 1024
INFO_LOG_FILES_MAX = 2
INFO_LOG_BYTES_MAX = 1024 * 1024
BLOOM_BITS_PER_KEY = 10


@dataclass(frozen=True, slots=True)
class StoreMemory:
    """What all stores of a process share."""

    block_cache_bytes_max: int = 8 * 1024 * 1024
    write_buffers_bytes_max: int = 64 * 1024 * 1024
    """Above it stores flush early; they never wait for each other."""
    block_cache: Cache = field(init=False)
    write_buffers: WriteBufferManager = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "block_cache", Cache(self.block_cache_bytes_max))
        object.__setattr__(
            self, "write_buffers", WriteBufferManager(self.write_buffers_bytes_max, False)
        )


def rocksdb_options(options: StoreOptions, memory: StoreMemory) -> Options:
    """Options of a database and of each of its column families."""
    # Raw mode: bytes in, bytes out. The default pickles values, and pickle runs what it reads.
    tuned = Options(raw_mode=True)
    tuned.create_if_missing(True)
    tuned.create_missing_column_families(True)
    _bound_memory(tuned, options, memory)
    _bound_files(tuned, options)
    _be_quiet(tuned)
    if options.write_ahead_log:
        tuned.set_compression_type(DBCompressionType.none())
        _compact_seldom(tuned)
        # A half-written last record is what a crash leaves. Damage before it is loss of
        # acknowledged data: refuse to open, where RocksDB's default would drop everything behind
        # the damage without a word.
        tuned.set_wal_recovery_mode(DBRecoveryMode.tolerate_corrupted_tail_records())
    else:
        tuned.set_compression_type(DBCompressionType.lz4())
    return tuned


def write_options(options: StoreOptions) -> WriteOptions:
    """Never wait: neither for the disk nor for a compaction, because the loop would wait too."""
    without_waiting = WriteOptions()
    without_waiting.sync = False
    without_waiting.no_slowdown = True
    # An attribute, whatever the type stub says: calling it raises.
    setattr(without_waiting, "disable_wal", not options.write_ahead_log)  # noqa: B010
    return without_waiting


def _bound_memory(tuned: Options, options: StoreOptions, memory: StoreMemory) -> None:
    buffer_bytes = options.write_buffer_bytes
    tuned.set_write_buffer_size(buffer_bytes)
    tuned.set_arena_block_size(min(buffer_bytes // ARENA_BLOCKS_PER_BUFFER, ARENA_BLOCK_BYTES_MAX))
    tuned.set_max_write_buffer_number(WRITE_BUFFERS_MAX)
    tuned.set_write_buffer_manager(memory.write_buffers)
    tables = BlockBasedOptions()
    tables.set_block_cache(memory.block_cache)
    # Index and filter blocks count against the cache; outside of it they would grow with the data,
    # unseen.
    tables.set_cache_index_and_filter_blocks(True)
    tables.set_pin_l0_filter_and_index_blocks_in_cache(True)
    tables.set_bloom_filter(BLOOM_BITS_PER_KEY, False)
    tuned.set_block_based_table_factory(tables)


def _bound_files(tuned: Options, options: StoreOptions) -> None:
    tuned.set_max_total_wal_size(WAL_BUFFERS_MAX * options.write_buffer_bytes)
    tuned.set_max_open_files(OPEN_FILES_MAX)
    tuned.set_max_background_jobs(2)
    tuned.set_max_subcompactions(1)
    # Preallocation of 4 MiB per manifest would be 100 MiB of disk for two dozen empty stores.
    tuned.set_manifest_preallocation_size(MANIFEST_PREALLOCATION_BYTES)
    tuned.set_level_compaction_dynamic_level_bytes(True)
    # Written back little by little, so that no fsync of ours waits behind a whole table.
    tuned.set_bytes_per_sync(1024 * 1024)


def _compact_seldom(tuned: Options) -> None:
    """What is appended is mostly trimmed before it would be worth sorting: merging it at once would
    write everything twice, on the disk that appends are waiting for.
    """
    tuned.set_level_zero_file_num_compaction_trigger(LOG_FILES_BEFORE_COMPACTION)
    tuned.set_level_zero_slowdown_writes_trigger(LOG_FILES_BEFORE_COMPACTION * 3)
    tuned.set_level_zero_stop_writes_trigger(LOG_FILES_BEFORE_COMPACTION * 4)


def _be_quiet(tuned: Options) -> None:
    # The binding has no setter for the level of RocksDB's info log: bound its size instead.
    tuned.set_keep_log_file_num(INFO_LOG_FILES_MAX)
    tuned.set_max_log_file_size(INFO_LOG_BYTES_MAX)
    # Periodic statistics wake the process for nothing that we read.
    tuned.set_stats_dump_period_sec(0)
    tuned.set_stats_persist_period_sec(0)

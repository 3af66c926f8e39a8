"""Names of the objects in the metadata store. They are contract: operators' tools read and write
by them."""

from __future__ import annotations

from restate_node.types.ids import PartitionId

NODES_CONFIGURATION_KEY = "nodes_config"
LOGS_KEY = "bifrost_config"
PARTITION_TABLE_KEY = "partition_table"
SCHEMA_KEY = "schema_registry"
RULE_BOOK_KEY = "rule_book"

_EPOCH_METADATA_PREFIX = "pp_epoch_"


def epoch_metadata_key(partition: PartitionId) -> str:
    """`pp_epoch_3`."""
    return f"{_EPOCH_METADATA_PREFIX}{partition}"


def partition_of_key(key: str) -> PartitionId | None:
    """The partition whose epoch metadata stands under that key; None for other keys."""
    number = key.removeprefix(_EPOCH_METADATA_PREFIX)
    if number == key or not (number.isascii() and number.isdecimal() and len(number) <= 5):
        return None
    return PartitionId(int(number))

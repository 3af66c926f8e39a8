"""The configuration of the nodes that the append benchmark starts."""

from __future__ import annotations

from pathlib import Path

from benchmarks.cluster_files import places, write_configuration
from restate_node.node.config import load_config
from restate_node.types.nodes import Role


def test_nodes_understand_their_files(tmp_path: Path) -> None:
    """Goal: no key is unknown to a node, and the three form one cluster with all roles.

    Method: write the files, load them as a node does.
    """
    everybody = places(list(range(7000, 7009)))
    assert [place.fabric_port for place in everybody] == [7000, 7003, 7006]
    for place in everybody:
        path = write_configuration(tmp_path, place, everybody, 2)
        loaded = load_config(["--config", str(path)], {}, lambda name: Path(name).read_text())
        options = loaded.options
        assert loaded.warnings == ()
        assert options.node_name == place.name
        assert options.bind_port == place.fabric_port
        assert options.admin.bind_port == place.admin_port
        assert options.auto_provision == (place.number == 1)
        assert set(options.roles) >= {
            Role.ADMIN,
            Role.WORKER,
            Role.LOG_SERVER,
            Role.METADATA_SERVER,
        }
        assert options.metadata_client.addresses == tuple(other.address for other in everybody)

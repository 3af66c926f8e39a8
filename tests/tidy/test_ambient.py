"""Who may start tasks, read clocks, throw dice, and touch the machine.

Every exception is written down with its reason; one that is no longer needed fails the test too.
"""

from __future__ import annotations

import ast
import re

from tests.tidy.sources import dotted, imported, of_package

TASK_STARTERS = re.compile(r"(^|\.)(create_task|ensure_future|run_in_executor|to_thread)$")
TASK_EXCEPTIONS = {
    "restate_node/runtime/tasks.py": "the task center itself",
    "restate_node/runtime/real/unix_http_server.py": "one task per connection, owned by the server",
    "restate_node/runtime/real/front_splice.py": "one task per spliced connection, owned by it",
    "restate_node/runtime/real/http_server.py": "the server itself, shielded until it has drained",
    "restate_node/runtime/real/ingress_server.py": "its three servers, which it ends together",
    "restate_node/runtime/real/threads.py": "a turn of a thread, which its caller waits for",
    "restate_node/runtime/real/rocksdb.py": "a thread for what blocks; close must not be cut short",
    "restate_node/bifrost/reader.py": "two waits raced in one function that ends both",
    "restate_node/bifrost/auto_improvement.py": "waits raced in one function that ends them all",
    "restate_node/roles/http_ingress/requests.py": "a call and its connection, raced in a function",
    "restate_node/testing/machines.py": "the lives of nodes themselves, on an ordinary loop",
    "restate_node/ctl/connection.py": "a command asks all nodes at once and ends with the answers",
}

AMBIENT = re.compile(
    r"^(time\.(time|time_ns|monotonic|monotonic_ns|perf_counter|perf_counter_ns|sleep)"
    r"|random\.\w+|Random|SystemRandom|uuid\.uuid\d|os\.urandom|secrets\.\w+"
    r"|(datetime\.)?datetime\.(now|utcnow|today))$"
)
AMBIENT_EXCEPTIONS = {
    "restate_node/ctl/command.py": "a program for people: its now is the machine's",
    "restate_node/ctl/connection.py": "a program for people: it shuffles addresses",
    "restate_node/sim/__main__.py": "tells people how long the runs took, outside of them",
    "restate_node/testing/sdk_clock.py": "what SDKs read from the machine's clock is taken out",
    "restate_node/node/process.py": "the one seed of a real node comes from the machine",
}

OWNERS = {
    "aiobotocore": ("runtime/real",),
    "connectrpc": ("runtime/real",),
    "cryptography": ("runtime/real",),
    "datafusion": ("roles/admin/sql",),
    "grpc": ("ctl",),
    "grpc_tools": (),
    "httptools": ("runtime/real",),
    "hypercorn": ("runtime/real",),
    "jh2": ("runtime/real",),
    "prometheus_client": ("runtime/real", "node"),
    "pyarrow": ("roles/admin/sql", "ctl"),
    "rich": ("ctl",),
    "rocksdict": ("runtime/real",),
    "socket": ("runtime/real",),
    "ssl": ("runtime/real",),
    "starlette": ("runtime/real", "roles/admin"),
    "typer": ("ctl",),
    "uvicorn": ("runtime/real",),
    "uvloop": ("runtime/real",),
    "zstandard": ("runtime/real",),
}
"""Which directories may import what reaches out of the process or belongs to one program."""


def offences(pattern: re.Pattern[str], within_real: bool) -> dict[str, list[str]]:
    """Calls that match, by file; those of the real ports only when asked for."""
    found: dict[str, list[str]] = {}
    for source in of_package():
        if source.path.startswith("restate_node/runtime/real/") and not within_real:
            continue
        in_order = _in_order(source.tree)
        for node in ast.walk(source.tree):
            if not isinstance(node, ast.Call) or not pattern.search(dotted(node.func)):
                continue
            if dotted(node.func).split(".")[0] not in in_order and not _is_seeded(node):
                found.setdefault(source.path, []).append(f"{source.at(node)} {dotted(node.func)}")
    return found


def _in_order(tree: ast.AST) -> set[str]:
    """Names that may: parameters, as a `random` that was handed in; groups that end their tasks."""
    arguments = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    return arguments | {
        ast.unparse(node.optional_vars)
        for node in ast.walk(tree)
        if isinstance(node, ast.withitem) and node.optional_vars is not None
        if ast.unparse(node.context_expr) == "asyncio.TaskGroup()"
    }


def _is_seeded(call: ast.Call) -> bool:
    """`Random(seed)` repeats itself; `Random()` asks the machine."""
    return dotted(call.func).endswith("Random") and bool(call.args)


def test_tasks_start_in_the_task_center() -> None:
    """Goal: no task is lost, none outlives the node. How: calls that start tasks, outside `sim`."""
    calls = offences(TASK_STARTERS, within_real=True)
    found = {path: where for path, where in calls.items() if "/sim/" not in path}
    assert {path: where for path, where in found.items() if path not in TASK_EXCEPTIONS} == {}
    assert sorted(TASK_EXCEPTIONS.keys() - found.keys()) == [], "exceptions nobody needs"


def test_clock_and_dice_are_arguments() -> None:
    """Goal: one seed, one run. How: calls of the machine's clocks and random numbers."""
    found = offences(AMBIENT, within_real=False)
    assert {path: where for path, where in found.items() if path not in AMBIENT_EXCEPTIONS} == {}
    assert sorted(AMBIENT_EXCEPTIONS.keys() - found.keys()) == [], "exceptions nobody needs"


def test_libraries_stay_with_their_owners() -> None:
    """Goal: a library can be replaced in one directory. How: imports against the table above."""
    strays = [
        f"{source.at(node)} imports {name}"
        for source in of_package()
        for node, name in imported(source.tree)
        if (library := name.split(".")[0]) in OWNERS
        and not any(source.path.startswith(f"restate_node/{home}/") for home in OWNERS[library])
    ]
    assert strays == []

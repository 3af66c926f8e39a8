"""Regenerates `restate_node/wire/pb` from `protos/restate`: `python protos/generate.py [target]`.

protoc writes modules that import each other as `restate.common_pb2`; the package in this project
is `restate_node.wire.pb`, so the imports are rewritten here. The descriptors keep the file names
`restate/<name>.proto`, which no other library registers.
"""

import re
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

PROTOS = Path(__file__).resolve().parent
TARGET = PROTOS.parent / "restate_node" / "wire" / "pb"
PACKAGE = "restate_node.wire.pb"
SUFFIXES = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py")


def main(arguments: list[str]) -> int:
    """Writes the generated modules to the target directory, by default into the package."""
    generate(Path(arguments[0]) if arguments else TARGET)
    return 0


def generate(target: Path) -> None:
    """Replaces every generated module in `target`; other files there are left alone."""
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        compile_protos(Path(scratch))
        remove_generated(target)
        for module in sorted((Path(scratch) / "restate").iterdir()):
            (target / module.name).write_text(mend(module.name, module.read_text()))


def compile_protos(scratch: Path) -> None:
    """Runs protoc over all our files; raises SystemExit with protoc's own complaint above it."""
    well_known = files("grpc_tools") / "_proto"
    sources = sorted(str(path) for path in (PROTOS / "restate").glob("*.proto"))
    outputs = [f"--{kind}_out={scratch}" for kind in ("python", "pyi", "grpc_python")]
    if protoc.main(["protoc", f"-I{PROTOS}", f"-I{well_known}", *outputs, *sources]):
        raise SystemExit("protoc failed: mend the .proto file named above and run this again")


def remove_generated(target: Path) -> None:
    """Deletes modules of earlier runs, so that a renamed .proto leaves nothing behind."""
    for path in target.iterdir():
        if path.name.endswith(SUFFIXES):
            path.unlink()


def mend(name: str, text: str) -> str:
    """Rewrites imports to our package and, in stubs, `bytes` that a field of that name hides."""
    text = re.sub(r"^from restate import ", f"from {PACKAGE} import ", text, flags=re.MULTILINE)
    if name.endswith(".pyi") and re.search(r"^    bytes: bytes$", text, flags=re.MULTILINE):
        text = re.sub(r"(?<=: )bytes\b", "builtins.bytes", text)
        text = re.sub(r"(?<=\[)bytes\b", "builtins.bytes", text)
        text = "import builtins\n" + text
    return text


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

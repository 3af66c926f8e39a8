"""Entry of `restatectl`: runs the command and turns every ending into an exit code.

0 done · 1 failed, one line on stderr says why · 2 wrong command line · 130 interrupted
"""

from __future__ import annotations

import os
import sys

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130


def main() -> None:
    """The console script."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its log lines would stand between ours
    try:
        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """One invocation; returns its exit code."""
    import typer

    from restate_node.ctl.app import build_app
    from restate_node.ctl.completion import prepare_completion
    from restate_node.ctl.errors import CtlError, ReaderLeft, UsageError, one_line

    prepare_completion(os.environ)
    try:
        result = build_app()(arguments, prog_name="restatectl", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except UsageError as error:
        code, message = 2, str(error)
    except CtlError as error:
        code, message = EXIT_FAILED, str(error)
    except ReaderLeft:
        # The interpreter flushes once more at its end: let that have nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except typer.TyperException as error:
        code, message = error.exit_code, error.format_message()
    except typer.Abort:
        code, message = EXIT_FAILED, "aborted"
    if message:
        sys.stderr.write(f"Error: {one_line(message)}\n")
    return code


if __name__ == "__main__":
    main()

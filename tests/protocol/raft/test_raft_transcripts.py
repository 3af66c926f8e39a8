"""The transcripts in `transcripts/`: what a small cluster does, step by step, as text."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from transcript import Transcript

FILES = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))


def replayed(text: str) -> str:
    """The same file with the answers that the code gives now."""
    transcript, lines = Transcript(), list[str]()
    is_answer = False
    for line in text.splitlines():
        if is_answer:
            is_answer = bool(line.strip())
            if is_answer:
                continue
        elif line == "----":
            is_answer = True
            continue
        lines.append(line)
        if line and not line.startswith("#"):
            lines += ["----", *transcript.run(line)]
    return "\n".join(lines).rstrip("\n") + "\n"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_transcript(path: Path) -> None:
    """Goal: the cluster answers as the file says. Method: run each command, compare all."""
    text = path.read_text()
    now = replayed(text)
    if os.environ.get("REWRITE_TRANSCRIPTS"):
        path.write_text(now)
    assert now == text


def test_there_are_transcripts() -> None:
    """Goal: the test above is not empty. Method: count."""
    assert len(FILES) >= 9

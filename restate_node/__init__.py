"""The server of a Restate cluster in Python: durable execution on a replicated log."""

__version__ = "0.1.0"

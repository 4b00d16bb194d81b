"""What a user names a running tunnel by."""

from pathlib import Path


def interface_of(argument: str) -> str:
    """Return the interface that is meant: itself, or by its file."""
    return Path(argument).stem if argument.endswith(".conf") else argument

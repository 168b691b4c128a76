"""The faults of one configuration. They are collected while it is read, so that all of them are reported at once."""

import re

PLACE = re.compile(r":(\d{1,9}):(\d{1,9}): ")


class Faults:
    """Collect one message per mistake, and the paths of the keys in which the mistakes lie."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.invalid_paths: set[str] = set()

    def __len__(self) -> int:
        return len(self.messages)

    def add(self, where: str, path: str, what: str) -> None:
        """Add a fault at a place (`FILE:LINE:COLUMN`) in the key with this path; '' is the file as a whole."""
        self.messages.append(f"{where}: {path}: {what}" if path else f"{where}: {what}")
        self.invalid_paths.add(path)

    def is_valid(self, *paths: str) -> bool:
        """Return whether no fault lies at or below these paths, so that a check across keys sees what was written."""
        return not any(
            invalid == path or invalid.startswith((f"{path}.", f"{path}["))
            for path in paths
            for invalid in self.invalid_paths
        )

    def in_file_order(self) -> list[str]:
        """Return the messages by line and column; those without a place, such as overrides, come first."""

        def place(message: str) -> tuple[int, int]:
            match = PLACE.search(message)
            return (int(match[1]), int(match[2])) if match else (0, 0)

        return sorted(self.messages, key=place)

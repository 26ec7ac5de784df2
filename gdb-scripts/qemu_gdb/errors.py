# SPDX-License-Identifier: MIT
"""What the user is told when something cannot be done: always one line, and what to type next."""


class QemuError(Exception):
    """Ends a command; its text is the one line that is shown."""


class Unreadable(QemuError):
    """Memory that the inferior does not have."""

    def __init__(self, addr: int) -> None:
        super().__init__(f"the memory at {addr:#x} cannot be read")
        self.addr = addr


class Damaged(QemuError):
    """A list that breaks: at which element, and why."""

    def __init__(self, addr: int, why: str) -> None:
        super().__init__(f"the list breaks at {addr:#x}, which {why}")
        self.addr = addr
        self.why = why

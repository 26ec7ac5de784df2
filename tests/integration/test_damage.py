"""No offset is written down: break one invariant in a running QEMU, and its layout is refused.

The QEMU is stopped (SIGSTOP), one word of its memory is changed, loopscope has to refuse it in one
line that says what does not hold; the word is restored, and the same command succeeds. So it is
also shown that a cache of the good layout does not hide the damage.
"""

import struct
from dataclasses import dataclass
from typing import Callable, Dict, Iterator, List, Tuple

import pytest
from process_memory import Memory, exe, load_base
from tracer_run import Row, run
from tracer_targets import Demo, Qemu


@dataclass
class Scene:
    """A stopped QEMU, and where its structures lie, taken while all was well."""

    pid: int
    memory: Memory
    base: int
    offsets: Dict[str, int]
    globals: Dict[str, int]
    contexts: Dict[str, int]
    handlers: List[Row]

    def field(self, context: str, name: str) -> int:
        return self.contexts[context] + self.offsets["AioContext." + name]

    def first_node(self, context: str) -> int:
        return self.memory.u64(self.field(context, "aio_handlers.lh_first"))

    def node(self, context: str, name: str) -> int:
        return self.first_node(context) + self.offsets["AioHandler." + name]

    def timer_list(self, context: str, clock: int) -> int:
        return self.memory.u64(self.field(context, "tlg.tl") + 8 * clock)


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with Qemu() as target:
        (layout,) = run("layout", "-p", target.pid, "--json").fine().rows
        result = run("handlers", "-p", target.pid, "--json").fine()
        target.stop()
        memory = Memory(target.pid)
        yield Scene(
            target.pid,
            memory,
            load_base(target.pid, exe(target.pid)),
            {
                f"{f['struct']}.{f['field']}": f["offset"]
                for f in layout["fields"]
                if f["offset"] is not None
            },
            layout["globals"],
            {row["ctx"]: int(row["ctx_addr"], 16) for row in result.of_type("context")},
            result.of_type("handler"),
        )
        memory.close()


Damage = Tuple[int, bytes]  # where, and what it becomes


def word(value: int) -> bytes:
    return struct.pack("<Q", value)


def half(value: int) -> bytes:
    return struct.pack("<I", value)


def le_prev(s: Scene) -> Damage:
    at = s.node("qemu_aio_context", "node.le_prev")
    return at, word(s.memory.u64(at) + 8)


def le_prev_of_second_context(s: Scene) -> Damage:
    at = s.node("iohandler_ctx", "node.le_prev")
    return at, word(s.memory.u64(at) + 8)


def le_prev_of_iothread(s: Scene) -> Damage:
    at = s.node("io0", "node.le_prev")
    return at, word(0)


def le_next_into_nowhere(s: Scene) -> Damage:
    return s.node("iohandler_ctx", "node.le_next"), word(0x10)


def notifier_is_a_socket(s: Scene) -> Damage:
    (fd,) = [h["fd"] for h in s.handlers if h["fd_kind"] == "signalfd"]
    at = s.field("qemu_aio_context", "notifier.rfd")
    return at, half(fd) + half(fd)


def notifier_is_closed(s: Scene) -> Damage:
    return s.field("io0", "notifier.rfd"), half(999) + half(999)


def callback_inside_a_function(s: Scene) -> Damage:
    at = s.node("qemu_aio_context", "io_read")
    return at, word(s.memory.u64(at) + 1)


def callback_in_data(s: Scene) -> Damage:
    return s.node("iohandler_ctx", "io_read"), word(s.contexts["iohandler_ctx"])


def handler_of_a_closed_fd(s: Scene) -> Damage:
    return s.node("iohandler_ctx", "pfd.fd"), half(999)


def events_without_callback(s: Scene) -> Damage:
    return s.node("iohandler_ctx", "pfd.events"), struct.pack("<H", 4)


def notifier_of_another_context(s: Scene) -> Damage:
    at = s.node("io0", "opaque")
    return at, word(s.memory.u64(at) + 8)


def source_funcs(s: Scene) -> Damage:
    at = s.contexts["qemu_aio_context"] + 16  # GSource is public: third pointer
    return at, word(s.memory.u64(at) + 8)


def source_funcs_of_second_context(s: Scene) -> Damage:
    at = s.contexts["iohandler_ctx"] + 16
    return at, word(s.memory.u64(at) + 8)


def timer_list_opaque(s: Scene) -> Damage:
    at = s.timer_list("qemu_aio_context", 1) + s.offsets["QEMUTimerList.notify_opaque"]
    return at, word(s.contexts["iohandler_ctx"])


def timer_list_of_second_context(s: Scene) -> Damage:
    at = s.timer_list("iohandler_ctx", 0) + s.offsets["QEMUTimerList.notify_opaque"]
    return at, word(0)


def clock_type(s: Scene) -> Damage:
    clock = s.memory.u64(s.timer_list("qemu_aio_context", 2))
    return clock + s.offsets["QEMUClock.type"], half(7)


def notified(s: Scene) -> Damage:
    return s.field("iohandler_ctx", "notified"), b"\x07"


def notify_me(s: Scene) -> Damage:
    return s.field("qemu_aio_context", "notify_me"), half(0x12345678)


def no_main_context(s: Scene) -> Damage:
    return s.base + s.globals["qemu_aio_context"], word(0)


def main_context_is_no_pointer(s: Scene) -> Damage:
    return s.base + s.globals["qemu_aio_context"], word(0x1234567)


# What is damaged, and the words that have to tell.
CASES: List[Tuple[Callable[[Scene], Damage], Tuple[str, ...]]] = [
    (le_prev, ("point back",)),
    (le_prev_of_second_context, ("point back",)),
    (le_prev_of_iothread, ("point back",)),
    (le_next_into_nowhere, ("point back",)),
    (notifier_is_a_socket, ("notifier", "eventfd")),
    (notifier_is_closed, ("notifier",)),
    (callback_inside_a_function, ("handler", "not where a function starts")),
    (callback_in_data, ("handler", "not where a function starts")),
    (events_without_callback, ("polls for 0x4", "callbacks")),
    (notifier_of_another_context, ("notifier",)),
    (source_funcs, ("source_funcs",)),
    (source_funcs_of_second_context, ("GSource",)),
    (timer_list_opaque, ("timer list",)),
    (timer_list_of_second_context, ("timer list",)),
    (clock_type, ("clock",)),
    (notified, ("notified",)),
    (notify_me, ("notify_me",)),
    (no_main_context, ("qemu_aio_context",)),
    (main_context_is_no_pointer, ("context", "0x1234567")),
]


@pytest.mark.parametrize("damage, words", CASES, ids=[c[0].__name__ for c in CASES])
def test_damaged_invariant_is_refused_and_named(
    scene: Scene, damage: Callable[[Scene], Damage], words: Tuple[str, ...]
) -> None:
    at, broken = damage(scene)
    whole = scene.memory.read(at, len(broken))
    assert whole != broken
    try:
        scene.memory.write(at, broken)
        lines = [
            run("handlers", "-p", scene.pid).refused(),
            run("fds", "-p", scene.pid, "--via", "mem", "--json").refused(),
            run("layout", "-p", scene.pid, "--json").refused(),
        ]
    finally:
        scene.memory.write(at, whole)
    for line in lines:
        assert "qemu-system-x86_64" in line
        assert [w for w in words if w not in line] == [], line
    again = run("handlers", "-p", scene.pid, "--json").fine()
    assert again.of_type("handler") == scene.handlers


def test_one_handler_of_a_closed_fd_damages_nothing(scene: Scene) -> None:
    """A device forgot to remove it: it is shown, and what else there is stands."""
    at, closed = handler_of_a_closed_fd(scene)
    whole = scene.memory.read(at, len(closed))
    try:
        scene.memory.write(at, closed)
        rows = run("handlers", "-p", scene.pid, "--json").fine().of_type("handler")
    finally:
        scene.memory.write(at, whole)
    assert len(rows) == len(scene.handlers)
    (odd,) = [row for row in rows if row not in scene.handlers]
    assert odd["fd"] == 999 and odd["ctx"] == "iohandler_ctx"


def test_a_stopped_qemu_is_read_as_a_sleeping_one(scene: Scene, way: str) -> None:
    result = run("fds", "-p", scene.pid, "--via", way, "--json").fine()
    assert result.total["loops"] == 3 and result.total["unknown"] == 0


def test_a_poll_that_a_stop_interrupted_is_still_a_poll(way: str) -> None:
    """The kernel goes on with it as restart_syscall()."""
    with Qemu() as target:
        before = run("fds", "-p", target.pid, "--via", way, "--json").fine()
        target.stop()
        target.cont()
        after = run("fds", "-p", target.pid, "--via", way, "--json").fine()
        assert after.rows == before.rows


# --- with debug information there is nothing to infer: damage is shown where it is ----------------


@pytest.fixture
def stopped() -> Iterator[Scene]:
    """20 handlers in one list, with the layout from debug information."""
    with Demo("many-fds", "--fds", "20") as target:
        target.wait_asleep()
        (layout,) = run("layout", "-p", target.pid, "--json").fine().rows
        result = run("handlers", "-p", target.pid, "--all", "--json").fine()
        target.stop()
        memory = Memory(target.pid)
        yield Scene(
            target.pid,
            memory,
            0,
            {f"{f['struct']}.{f['field']}": f["offset"] for f in layout["fields"]},
            {},
            {row["ctx"]: int(row["ctx_addr"], 16) for row in result.of_type("context")},
            result.of_type("handler"),
        )
        memory.close()


def nodes(s: Scene) -> List[int]:
    found, at = [], s.first_node("iohandler_ctx")
    while at:
        found.append(at)
        at = s.memory.u64(at + s.offsets["AioHandler.node.le_next"])
    return found


def shown_as_damaged(s: Scene, way: str) -> str:
    result = run("handlers", "-p", s.pid, "--via", way, "--json").fine()
    assert result.total["damaged"] == 1
    return run("handlers", "-p", s.pid, "--via", way).fine().out


def test_a_list_that_breaks_says_where(stopped: Scene, way: str) -> None:
    victim = nodes(stopped)[10]
    at = victim + stopped.offsets["AioHandler.node.le_prev"]
    stopped.memory.write_u64(at, stopped.memory.u64(at) + 8)
    text = shown_as_damaged(stopped, way)
    assert f"0x{victim:x}" in text
    # What lies before the break is still shown.
    rows = run("handlers", "-p", stopped.pid, "iohandler_ctx", "--all", "--json").fine()
    assert len(rows.of_type("handler")) >= 10


def test_a_list_that_leads_nowhere_says_where(stopped: Scene, way: str) -> None:
    victim = nodes(stopped)[10]
    stopped.memory.write_u64(victim + stopped.offsets["AioHandler.node.le_next"], 0x10)
    assert "DAMAGED" in shown_as_damaged(stopped, way)


def test_a_list_that_ends_in_itself_ends(stopped: Scene, way: str) -> None:
    """A cycle that points back properly but for its last link; it is not walked for ever."""
    chain = nodes(stopped)
    stopped.memory.write_u64(
        chain[15] + stopped.offsets["AioHandler.node.le_next"], chain[5]
    )
    text = shown_as_damaged(stopped, way)
    assert "DAMAGED" in text
    assert len(text.splitlines()) < 100

# SPDX-License-Identifier: MIT
"""The gdb commands are guests: registers, memory, settings and selection stay as they were."""
import hashlib

from gdb_run import LOOKS, SCRIPTS, Core, Gdb, What
from tracer_run import DEMO
from tracer_targets import Demo, Qemu, summary

# Runs in gdb: everything that could change, before and after all commands.
WATCH = """
import gdb, hashlib

def state():
    inferior, found = gdb.selected_inferior(), {}
    selected = gdb.selected_thread().num, gdb.selected_frame().level()
    for line in gdb.execute("info proc mappings", to_string=True).splitlines():
        words = line.split()
        if len(words) >= 5 and words[4].startswith("rw"):
            start, end = int(words[0], 16), int(words[1], 16)
            for at in range(start, end, 1 << 20):
                data = inferior.read_memory(at, min(1 << 20, end - at))
                found[hex(at)] = hashlib.sha256(data).hexdigest()
    found["registers"] = gdb.execute("thread apply all info registers", to_string=True)
    gdb.execute("thread %d" % selected[0], to_string=True)
    gdb.execute("frame %d" % selected[1], to_string=True)
    # Leaves out where gdb keeps its history, which it numbers anew; values have to be the same.
    found["settings"] = gdb.execute("show", to_string=True)
    found["signals"] = gdb.execute("info signals", to_string=True)
    found["selected"] = selected
    return found

gdb.execute("thread 1", to_string=True)
gdb.execute("frame 1", to_string=True)
before = state()
for command in COMMANDS:
    try:
        gdb.execute(command, to_string=True)
    except gdb.error:
        pass
now = (gdb.selected_thread().num, gdb.selected_frame().level())
after = state()
changed = sorted(key for key in before if before[key] != after.get(key))
print("selected", now == before["selected"], "changed", changed, "of", len(before) > 8)
"""
COMMANDS = [
    *(f"qemu {look}" for look in LOOKS),
    *(f"qemu {look} --json" for look in LOOKS),
    *("qemu handlers --all", "qemu where --all", "qemu where nonsense"),
    *("qemu coroutine *(void **)&qmp_dispatcher_co", "qemu coroutine 0x10"),
    *("qemu coroutine qemu_aio_context", "qemu tail /nonexistent"),
    *("qemu break-callback 99999", "qemu break-register x"),
    *(
        "qemu handlers io0",
        "qemu handlers nonsense",
        "qemu handlers qemu_get_aio_context()",
    ),
    "qemu handlers *qemu_aio_context",
]


def watch(gdb: Gdb, what: What) -> str:
    script = gdb.directory / "watch.py"
    script.write_text(f"COMMANDS = {COMMANDS!r}\n{WATCH}")
    return gdb.out(what, f"source {script}").strip().splitlines()[-1]


def test_a_demo_is_left_as_it_was(demo: Demo, gdb: Gdb) -> None:
    assert watch(gdb, demo) == "selected True changed [] of True"


def test_a_qemu_is_left_as_it_was(qemu: Qemu, gdb: Gdb) -> None:
    assert watch(gdb, qemu) == "selected True changed [] of True"


def test_a_core_file_is_left_as_it_was(demo_core: Core, gdb: Gdb) -> None:
    def digest() -> str:
        return hashlib.sha256(demo_core.path.read_bytes()).hexdigest()

    before = digest()
    gdb.answers(demo_core, *COMMANDS)
    assert digest() == before


def test_no_type_is_looked_up_before_a_command_runs(demo: Demo, gdb: Gdb) -> None:
    """Loading counts the look-ups: there are none, and no setting changes."""
    script = gdb.directory / "count.py"
    script.write_text(
        "import gdb\n"
        "calls = []\n"
        "names = ['lookup_type', 'lookup_symbol', 'lookup_static_symbol']\n"
        "names += ['lookup_global_symbol', 'parse_and_eval']\n"
        "for name in names:\n"
        "    def spy(*words, _real=getattr(gdb, name), _name=name, **more):\n"
        "        calls.append(_name)\n"
        "        return _real(*words, **more)\n"
        "    setattr(gdb, name, spy)\n"
        "before = gdb.execute('info signals', to_string=True)\n"
    )
    done = gdb.start(
        *("-x", script, "-ex", f"source {SCRIPTS}/qemu-gdb.py"),
        *("-ex", "python print('calls', calls)"),
        *("-ex", "python print(before == gdb.execute('info signals', to_string=True))"),
    )
    assert done.stdout.decode().splitlines() == ["calls []", "True"], done.stderr


def test_a_program_stopped_twenty_times_computes_the_same(gdb: Gdb) -> None:
    """Anywhere in the loop, with lists half changed: all commands at every stop."""
    words = ["five-sources", "--iterations", "23", "--seed", "7"]
    with Demo(*words) as demo:
        truth = summary(demo.result())
    result = gdb.directory / "result"
    start = [f"file {DEMO}", f"set args --scenario {' '.join(words)} > {result}"]
    start += ["starti", *(f"qemu {look}" for look in LOOKS)]
    start += [f"break {at}" for at in ("aio_bh_poll", "aio_set_fd_handler")]
    stop = ["continue", *(f"qemu {look}" for look in LOOKS), "qemu handlers --all"]
    stop += ["stepi 7", *(f"qemu {look} --json" for look in LOOKS)]
    answers = gdb.answers(None, *start, *stop * 20, "delete", "continue")
    for answer in answers:
        failed = answer["error"]
        early = ("no main loop", "no loop waits", "no thread is seen to run")
        assert failed is None or failed.startswith(early)
        assert "DAMAGED" not in answer["out"] and '"damage"' not in answer["out"]
    assert summary(result.read_text()) == truth

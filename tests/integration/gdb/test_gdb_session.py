# SPDX-License-Identifier: MIT
"""Using the commands: loading them, help, choosing a context, and what errors say."""
import shutil
from pathlib import Path

import pytest
from gdb_run import LOOKS, SCRIPTS, Core, Gdb, gdb_rows, gdb_words, names
from tracer_targets import Demo, Qemu, stranger

TABLES = ["handlers", "bh", "timers", "contexts", "iothreads", "sources", "gpollfds"]
TABLES += ["layout"]
STATES = ["where", "bql", "bt", "coroutine", "doctor", "diff", "tail"]
STATES += ["break-callback", "break-register"]
ROWS = ("context", "iothread", "source")


def test_loading_twice_is_harmless(demo: Demo, gdb: Gdb) -> None:
    again = f"source {SCRIPTS}/qemu-gdb.py"
    once = gdb.out(demo, "qemu handlers")
    assert gdb.out(demo, again, again, "qemu handlers") == once
    assert gdb.out(demo, again) == ""


def test_it_loads_from_a_directory_with_spaces(
    demo: Demo, gdb: Gdb, tmp_path: Path
) -> None:
    place = tmp_path / "a directory with spaces"
    shutil.copytree(SCRIPTS, place)
    assert names(gdb.out(demo, "qemu contexts --json", scripts=place))[-1] == "io0"


def test_it_keeps_the_commands_of_another_qemu_prefix(gdb: Gdb) -> None:
    """QEMU's own scripts define "qemu mtree" and others: they stay."""
    theirs = gdb.directory / "theirs.py"
    theirs.write_text(
        "import gdb\n"
        "class Qemu(gdb.Command):\n"
        "    def __init__(self):\n"
        "        super().__init__('qemu', gdb.COMMAND_DATA, gdb.COMPLETE_NONE, True)\n"
        "class Mtree(gdb.Command):\n"
        "    def __init__(self):\n"
        "        super().__init__('qemu mtree', gdb.COMMAND_DATA)\n"
        "    def invoke(self, arg, from_tty):\n"
        "        print('theirs')\n"
        "Qemu(); Mtree()\n"
    )
    ours = f"source {SCRIPTS}/qemu-gdb.py"
    done = gdb.start(
        "-x", theirs, "-ex", ours, "-ex", "qemu mtree", "-ex", "qemu contexts"
    )
    assert done.stdout == b"theirs\n"
    assert done.stderr.startswith(b"nothing to look at: attach to a process")


def test_help_teaches(gdb: Gdb) -> None:
    done = gdb.start("-ex", f"source {SCRIPTS}/qemu-gdb.py", "-ex", "help qemu")
    text = done.stdout.decode()
    for word in ("prepares", "queries", "polls", "checks", "dispatches"):
        assert f"*{word}*" in text
    for command in [*TABLES, *STATES]:
        assert f"qemu {command} -- " in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("locale", ["C", "POSIX", "en_US.ISO-8859-1"])
def test_another_locale_does_not_hurt(qemu: Qemu, gdb: Gdb, locale: str) -> None:
    usual = gdb.out(qemu, "qemu handlers --json --all")
    env = {"LC_ALL": locale, "PYTHONUTF8": "0"}
    there = gdb.out(qemu, "qemu handlers --json --all", env=env)
    assert gdb_rows(there, "handler") == gdb_rows(usual, "handler")
    assert "qemu_aio_context" in gdb.out(qemu, "qemu gpollfds", env=env)
    for look in LOOKS:
        gdb.out(qemu, f"qemu {look}", env=env)


def test_text_of_the_target_is_made_printable(gdb: Gdb) -> None:
    """A name that clears a terminal, is no UTF-8, or runs from right to left."""
    with Demo("five-sources") as demo:
        demo.wait_asleep()
        hostile = "\\033[2J\\376\\302\\233\\342\\200\\256\\303\\244x"
        spoil = [
            f'set var $name = "{hostile}"',
            "set var $id = iothreads.lh_first->id",
            "python i = gdb.selected_inferior()",
            "python i.write_memory(int(gdb.parse_and_eval('$id')), b'\\x1b[2')",
        ]
        text = gdb.out(demo, *spoil, "qemu contexts")
        assert "\x1b" not in text and "?[2" in text
        plain = gdb.out(demo, "qemu contexts", env={"LC_ALL": "C"})
        assert plain.isascii()


def test_contexts_are_chosen_by_name_address_and_expression(
    demo: Demo, gdb: Gdb
) -> None:
    everything = gdb_rows(gdb.out(demo, "qemu handlers --json"), "context")
    addresses = {row["ctx"]: row["ctx_addr"] for row in everything}
    iothread = "iothreads.lh_first"
    for text, name in [
        ("iohandler_ctx", "iohandler_ctx"),
        ("io0", "io0"),
        (addresses["io0"], "io0"),
        (str(int(addresses["io0"], 16)), "io0"),
        (f"{iothread}->ctx", "io0"),
        (f"((IOThread*){iothread})->ctx", "io0"),
        ("*qemu_aio_context", "qemu_aio_context"),
        ("&iohandler_ctx->source", "iohandler_ctx"),
        ("--verbose iohandler_ctx", "iohandler_ctx"),
    ]:
        out = gdb.out(demo, f"qemu handlers {text} --json")
        assert names(out) == [name], text


def test_a_stripped_qemu_takes_names_and_addresses(qemu: Qemu, gdb: Gdb) -> None:
    rows = gdb_rows(gdb.out(qemu, "qemu contexts --json"), "context")
    for row in rows:
        for text in (row["ctx"], row["ctx_addr"], f"(void *) {row['ctx_addr']}"):
            out = gdb.out(qemu, f"qemu handlers {text} --json")
            assert names(out) == [row["ctx"]]


@pytest.mark.parametrize(
    "command, said",
    [
        ("handlers nonsense", "there are qemu_aio_context, iohandler_ctx, io0"),
        ("handlers 0x1234", 'no AioContext is at 0x1234 ("0x1234"); there are'),
        ("handlers ((IOThread*)0)->ctx", "Cannot access memory at address"),
        ("handlers qemu_get_aio_context()", "functions of the program are not called"),
        ("handlers iohandler_ctx->notifier.", "A syntax error in expression"),
        ("handlers --bogus", "has no --bogus; it has --all, --json, --verbose"),
        ("bh nonsense", "io0: type one of these, or an address"),
        ("timers nonsense", "io0: type one of these, or an address"),
        (
            "timers main",
            '"main" is neither an AioContext nor an address: qemu contexts',
        ),
        (
            "iothreads io0",
            '"io0" is too much: type qemu iothreads, or qemu handlers io0',
        ),
        ("sources nonsense", "type an address, or qemu sources alone"),
        ("contexts io0", '"io0" is too much: type qemu contexts, or qemu handlers io0'),
        ("gpollfds io0", '"io0" is too much'),
        ("layout /nonexistent", "cannot read /nonexistent: No such file"),
        ("layout /nonexistent", "; make one by: loopscope layout -p PID --json > "),
        ("layout /etc/passwd", "/etc/passwd is no layout"),
    ],
)
def test_errors_say_what_is_wrong(
    demo: Demo, gdb: Gdb, command: str, said: str
) -> None:
    assert said in gdb.error(demo, f"qemu {command}")


def test_without_a_program_it_says_what_to_type(gdb: Gdb) -> None:
    for command in TABLES:
        load = f"source {SCRIPTS}/qemu-gdb.py"
        done = gdb.start("-ex", load, "-ex", f"qemu {command}")
        assert done.stderr.startswith(
            b"nothing to look at: attach to a process (attach"
        )
        assert done.returncode == 1 and done.stderr.count(b"\n") == 1


def test_a_program_without_a_loop_is_refused_in_one_line(
    gdb: Gdb, tmp_path: Path
) -> None:
    load = f"source {SCRIPTS}/qemu-gdb.py"
    with stranger() as pid:
        done = gdb.start("-p", pid, "-ex", load, "-ex", "qemu handlers")
    (line,) = [x for x in done.stderr.decode().splitlines() if "layout" in x]
    assert line.startswith("no debug information, and no layout: loopscope: ")
    assert line.endswith("and here: qemu layout layout.json")


def test_a_gdb_without_python_says_so(gdb: Gdb) -> None:
    """Such a gdb runs the loader as commands of its own: its first line has to be the end."""
    lines = (SCRIPTS / "qemu-gdb.py").read_text().splitlines()
    assert len(lines) <= 50
    first = next(line for line in lines if line and not line.startswith("#"))
    # "python ..." is what fails there, with "Python scripting is not supported".
    assert first.split()[0] == "python"
    compile("\n".join(lines), "qemu-gdb.py", "exec")


@pytest.mark.parametrize("live", [True, False], ids=["live", "core"])
def test_threads_are_known_without_libthread_db(
    demo: Demo, demo_core: Core, gdb: Gdb, live: bool
) -> None:
    """As where the target's C library has another version than gdb's."""
    what = demo if live else demo_core
    commands = ["contexts", "iothreads", "sources"]
    usual = {c: gdb_rows(gdb.out(what, f"qemu {c} --json"), *ROWS) for c in commands}
    for command in commands:
        done = gdb.start(
            *("-iex", "set libthread-db-search-path /nonexistent", *gdb_words(what)),
            *("-ex", f"source {SCRIPTS}/qemu-gdb.py"),
            *("-ex", f"qemu {command} --json"),
        )
        assert b"Thread debugging using libthread_db" not in done.stdout
        rows = [x for x in done.stdout.decode().splitlines() if x.startswith("{")]
        assert gdb_rows("\n".join(rows), *ROWS) == usual[command] != []

# SPDX-License-Identifier: MIT
"""What the generated probes are made into: their notes, their cost, and what listens inside."""

import re
import subprocess

import pytest

REGISTERS = {
    8: ["rdi", "rsi", "rdx", "rcx", "r8", "r9"],
    4: ["edi", "esi", "edx", "ecx", "r8d", "r9d"],
}
X86 = (
    subprocess.run(["uname", "-m"], capture_output=True, text=True).stdout.strip()
    == "x86_64"
)
x86_only = pytest.mark.skipif(not X86, reason="knows the registers of x86-64 only")


def notes_of(path):
    """{name: [(provider, semaphore, arguments)]} as readelf tells them."""
    text = subprocess.run(
        ["readelf", "-n", str(path)], capture_output=True, text=True
    ).stdout
    found = {}
    for note in re.finditer(
        r"Provider: (\S+)\s+Name: (\S+)\s+Location: \S+ Base: \S+ Semaphore: (\S+)\s+"
        r"Arguments: (.*)",
        text,
    ):
        provider, name, semaphore, arguments = note.groups()
        found.setdefault(name, []).append(
            (provider, int(semaphore, 0), arguments.split())
        )
    return found


def expected_notes(build):
    lines = (build / "trace" / "loop_probes.notes").read_text().splitlines()[1:]
    return {
        name: (provider, [int(s) for s in sizes])
        for provider, name, *sizes in map(str.split, lines)
    }


PROGRAM = '#include "trace/loop_probes.h"\nint main(void) { return 0; }\n'
FLAGS = [
    ["-O0"],
    ["-O1"],
    ["-O2"],
    ["-O3", "-fno-omit-frame-pointer"],
    ["-O0", "-fsanitize=address,undefined"],
    ["-O2", "-fsanitize=thread"],
]


@x86_only
@pytest.mark.parametrize("flags", FLAGS, ids=" ".join)
def test_each_probe_has_one_note_with_its_arguments_in_the_abi_registers(
    build, compile_c, flags
):
    sites = str(build / "trace" / "loop_probes.c")
    program = compile_c(PROGRAM, *flags, sites, name="program", link=True)
    found, expected = notes_of(program), expected_notes(build)
    assert set(found) == set(expected)
    semaphores = set()
    for name, notes in found.items():
        assert len(notes) == 1, f"{name} has more than one site"
        provider, semaphore, arguments = notes[0]
        sizes = expected[name][1]
        wanted = [f"{size}@%{REGISTERS[abs(size)][i]}" for i, size in enumerate(sizes)]
        assert (provider, arguments) == (expected[name][0], wanted), name
        assert semaphore
        semaphores.add(semaphore)
    assert len(semaphores) == len(expected)


def functions(path):
    """{function: [instruction...]} of an object, without addresses and bytes."""
    text = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", str(path)],
        capture_output=True,
        text=True,
    ).stdout
    found, current = {}, None
    for line in text.splitlines():
        head = re.match(r"[0-9a-f]+ <(.*)>:", line)
        if head:
            current = found.setdefault(head[1], [])
        elif current is not None and "\t" in line:
            current.append(line.split("\t", 1)[1].split("#")[0].strip())
    return found


@x86_only
@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_each_site_is_a_nop_of_one_byte(build, compile_c, level):
    text = subprocess.run(
        [
            "objdump",
            "-d",
            compile_c(build / "trace" / "loop_probes.c", level, "-fno-pie"),
        ],
        capture_output=True,
        text=True,
    ).stdout
    for name in expected_notes(build):
        body = text.split(f"<probe_fire_{name}>:\n")[1].split("\n\n")[0]
        nops = [
            line for line in body.splitlines() if "nop" in line and "endbr" not in line
        ]
        assert re.match(r"\s*[0-9a-f]+:\t90 +\tnop$", nops[0]), nops[0]


USERS = """
#include "trace/loop_probes.h"
int expensive(void);
void leaf(void *ctx)
{
	probe_poll_exit(ctx, expensive());
}
void guarded(void *ctx)
{
	if (probe_enabled(bh_end))
		probe_bh_end(ctx, ctx, (void *)(long)expensive());
}
int between(void *ctx, int (*cb)(void *))
{
	int ret = cb(ctx);

	probe_poll_exit(ctx, ret);
	ret += cb(ctx);
	return ret;
}
int loop(const volatile int *go, void *ctx)
{
	int n = 0;

	while (*go) {
		probe_dispatch_begin(ctx);
		n++;
	}
	return n;
}
"""


def hot_path(instructions):
    """What runs while no probe does: everything up to the first return."""
    words = [text.split()[0] for text in instructions]
    return words[: words.index("ret") + 1]


@x86_only
def test_an_idle_probe_is_a_compare_and_a_jump(compile_c):
    flags = ["-O2", "-fcf-protection=none"]
    idle = functions(compile_c(USERS, *flags))
    none = functions(compile_c(USERS, *flags, "-DNO_PROBES"))
    for name in ("leaf", "guarded"):
        assert hot_path(idle[name]) == ["cmpw", "jne", "ret"]
        assert hot_path(none[name]) == ["ret"]
    added = hot_path(idle["between"])
    for word in hot_path(none["between"]):
        added.remove(word)
    assert added == ["cmpw", "jne"]


@x86_only
def test_an_idle_probe_in_a_loop_is_read_each_time(compile_c):
    body = functions(compile_c(USERS, "-O3", "-fcf-protection=none"))["loop"]
    compare = next(i for i, text in enumerate(body) if text.startswith("cmpw"))
    assert any(text.startswith("j") for text in body[compare + 2 :])


@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_without_probes_nothing_is_left(build, compile_c, level):
    flags = [level, "-Wno-unused-parameter"]
    with_none = compile_c(USERS, *flags, "-DNO_PROBES", name="none.o")
    plain = USERS.replace("probe_poll_exit(ctx, expensive());", "")
    plain = re.sub(r"(?m)^.*probe_[^\n]*$", "", plain)
    assert functions(with_none) == functions(compile_c(plain, *flags, name="plain.o"))
    sites = compile_c(
        build / "trace" / "loop_probes.c", level, "-DNO_PROBES", name="sites.o"
    )
    assert functions(sites) == {} and notes_of(sites) == {}
    program = PROGRAM.replace("return 0", "probe_set_sink((void *)0); return 0")
    compile_c(program, level, "-DNO_PROBES", name="program", link=True)


def test_without_probes_arguments_are_still_checked(compile_c):
    wrong = '#include "trace/loop_probes.h"\nvoid f(void) { probe_poll_exit(1); }\n'
    with pytest.raises(AssertionError, match="too few arguments"):
        compile_c(wrong, "-DNO_PROBES")


HEADER = '#include <linux/types.h>\n#include "trace/loop_events.h"\nint x;\n'


def test_structs_have_no_hidden_padding(compile_c):
    compile_c(HEADER, "-Wpadded")


def test_structs_suit_bpf_programs(build, tmp_path):
    """With the types of vmlinux.h in place of <linux/types.h>, for the bpf target."""
    source = tmp_path / "events.c"
    wide = "typedef unsigned long long __u64; typedef long long __s64;\n"
    narrow = "typedef unsigned int __u32; typedef int __s32;\n"
    small = "typedef unsigned short __u16; typedef unsigned char __u8;\n"
    source.write_text(
        wide + narrow + small + '#include "trace/loop_events.h"\nint x;\n'
    )
    command = [
        "clang",
        "-target",
        "bpf",
        "-O2",
        "-Wall",
        "-Wpadded",
        "-Werror",
        f"-I{build}",
    ]
    try:
        done = subprocess.run(
            command + ["-c", str(source), "-o", str(tmp_path / "events.o")],
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        pytest.skip("no clang")
    assert done.returncode == 0, done.stderr


SINK = """
#include <linux/types.h>
#include <stdio.h>
#include <string.h>
#include "trace/loop_events.h"
#include "trace/loop_probes.h"

static int computed;
static int compute(void)
{
	return ++computed;
}
static void sink(struct loop_event *event)
{
	const struct loop_poll_remove *remove = (void *)event;

	if (event->id == LOOP_EV_POLL_REMOVE)
		printf("%d %llx %llx %d %d\\n", event->size, remove->ctx, remove->node, remove->fd,
		       remove->pad_36[0] + remove->pad_36[3]);
}
static void fire(void)
{
	probe_poll_remove((void *)0x10, (void *)0x20, -compute());
}
int main(void)
{
	fire();
	probe_set_sink(sink);
	probe_set_sink(sink);
	fire();
	fire();
	probe_set_sink(NULL);
	fire();
	probe_set_sink(NULL);
	printf("%d %d %d\\n", computed, probe_enabled(poll_remove), probe_enabled(notify));
	return 0;
}
"""


@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_a_sink_gets_what_is_probed_while_it_is_set(build, compile_c, level):
    sites = str(build / "trace" / "loop_probes.c")
    program = compile_c(SINK, level, sites, name="sink", link=True)
    shown = subprocess.run([str(program)], capture_output=True, text=True).stdout
    assert shown.splitlines() == ["40 10 20 -1 0", "40 10 20 -2 0", "2 0 0"]

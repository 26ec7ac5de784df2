# SPDX-License-Identifier: MIT
"""The C that is generated from the table: events, their description, probes."""

from typing import Iterator, List

from .table import HEADER_BYTES, Event, Field, Names, Table

MADE = "Made by trace/gen-probes.py from trace/loop.probes: edit those."
WIRE = {
    (32, False): "__u32",
    (32, True): "__s32",
    (64, False): "__u64",
    (64, True): "__s64",
}
ARGUMENT = {"u32": "uint32_t", "s32": "int32_t", "u64": "uint64_t", "s64": "int64_t"}
ARGUMENT["ptr"] = "const void *"


def enum_lines(names: Names) -> Iterator[str]:
    yield f"enum loop_{names.name} {{"
    for value, number in names.values.items():
        shown = f"0x{number:x}" if names.is_flags else f"{number}"
        yield f"\tLOOP_{names.name}_{value}".upper() + f" = {shown},"
    yield "};"
    yield ""


def member_lines(member: Field) -> Iterator[str]:
    if member.gap:
        yield f"\t__u8 pad_{member.offset - member.gap}[{member.gap}];"
    if member.is_text:
        yield f"\tchar {member.name}[];"
        return
    wire = WIRE[member.type.bits, member.type.signed]
    note = f" /* enum loop_{member.names.name} */" if member.names else ""
    yield f"\t{wire} {member.name};{note}"


def struct_lines(event: Event) -> Iterator[str]:
    yield f"/* {event.sentence} */"
    yield f"struct loop_{event.name} {{"
    yield "\tstruct loop_event h;"
    for member in event.fields:
        yield from member_lines(member)
    if event.size > event.content:
        yield f"\t__u8 pad_{event.content}[{event.size - event.content}];"
    yield "};"
    yield f'_Static_assert(sizeof(struct loop_{event.name}) == {event.size}, "{event.name}");'
    yield ""


def events_h(table: Table) -> str:
    """loop_events.h: ids and structs, for C and for bpf programs."""
    lines = [
        "/* SPDX-License-Identifier: (MIT OR BSD-2-Clause OR GPL-2.0) */",
        f"/* {MADE}",
        " *",
        " * An event has these bytes in a ring, in a recording's packet and in memory.  Every gap is a",
        " * member, so an event whose memory was zeroed, or whose members were all set, leaks nothing.",
        " * The includer supplies __u8 ... __s64: <linux/types.h> or vmlinux.h. */",
        "#ifndef LOOP_EVENTS_H",
        "#define LOOP_EVENTS_H",
        "",
        "/* Of a recording: one with another number is refused. */",
        f"#define LOOP_FORMAT {table.format}",
        "/* In a member that ends in _ns: not known. */",
        "#define LOOP_NS_UNKNOWN (-0x7fffffffffffffffLL - 1)",
        "",
        "/* What every event begins with.  size is all of it, a multiple of 8. */",
        "struct loop_event {",
        "\t__u64 time_ns; /* CLOCK_MONOTONIC */",
        "\t__u16 id;",
        "\t__u16 size;",
        "\t__u32 tid; /* 0: the recorder */",
        "};",
        f'_Static_assert(sizeof(struct loop_event) == {HEADER_BYTES}, "loop_event");',
        "",
        "enum loop_event_id {",
    ]
    lines += [f"\tLOOP_EV_{e.name.upper()} = {e.id}," for e in table.events]
    lines += [f"\tLOOP_EV_END = {table.events[-1].id + 1},", "};", ""]
    for names in table.names.values():
        lines += enum_lines(names)
    for event in table.events:
        lines += struct_lines(event)
    return "\n".join(lines + ["#endif", ""])


def c_string(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def names_lines(names: Names) -> Iterator[str]:
    yield f"static const struct loop_name {names.name}_names[] = {{"
    for value, number in names.values.items():
        yield f"\t{{ {number}, {c_string(value)} }},"
    yield "\t{ 0, NULL },"
    yield "};"
    yield ""


def field_lines(event: Event) -> Iterator[str]:
    yield f"static const struct loop_field {event.name}_fields[] = {{"
    for member in event.fields:
        kind = "U32" if member.names else member.type.name.upper()
        names = f"{member.names.name}_names" if member.names else "NULL"
        flags = "true" if member.names and member.names.is_flags else "false"
        yield f'\t{{ "{member.name}", LOOP_{kind}, {flags}, {member.offset}, {names} }},'
    yield "};"
    yield ""


def table_c(table: Table, tsdl: str) -> str:
    """loop_table.c: the descriptions behind trace/loop-table.h, and the metadata's text."""
    lines = [
        "/* SPDX-License-Identifier: MIT */",
        f"/* {MADE} */",
        "#include <stddef.h>",
    ]
    lines += ['#include "trace/loop-table.h"', ""]
    for names in table.names.values():
        lines += names_lines(names)
    for event in table.events:
        lines += field_lines(event)
    lines.append("const struct loop_event_desc loop_event_descs[LOOP_EV_END] = {")
    for event in table.events:
        lines += [
            f"\t[{event.id}] = {{",
            f"\t\t.name = {c_string(event.name)},",
            f"\t\t.sentence = {c_string(event.sentence)},",
            f"\t\t.fields = {event.name}_fields,",
            f"\t\t.n_fields = {len(event.fields)},",
            f"\t\t.content = {event.content},",
            f"\t\t.size = {event.size},",
            f"\t\t.is_probe = {str(event.is_probe).lower()},",
            f"\t\t.has_text = {str(event.text is not None).lower()},",
            "\t},",
        ]
    lines += ["};", "", "const char loop_tsdl[] ="]
    lines += [f'\t{c_string(line)} "\\n"' for line in tsdl.splitlines()]
    lines[-1] += ";"
    return "\n".join(lines + [""])


def parameters(event: Event) -> str:
    shown: List[str] = []
    for member in event.fields:
        kind = "uint32_t" if member.names else ARGUMENT[member.type.name]
        shown.append(kind + ("" if kind.endswith("*") else " ") + member.name)
    return ", ".join(shown)


def probes_h(table: Table, template: str) -> str:
    """loop_probes.h: the emitters.  The template has what does not depend on the table."""
    lines: List[str] = []
    for event in table.probes:
        lines += [
            f"/* {event.sentence} */",
            f"LOOP_PROBE({event.name}, {parameters(event)})",
            f"#define probe_{event.name}(...) LOOP_PROBE_CALL({event.name}, __VA_ARGS__)",
            "",
        ]
    return template.replace("@MADE@", MADE).replace("@PROBES@\n", "\n".join(lines))


def fill_lines(event: Event) -> Iterator[str]:
    """Each member is set by itself: zeroing the whole struct first would cost more than the rest."""
    for member in event.fields:
        if member.gap:
            at = member.offset - member.gap
            yield f"\tmemset(event.pad_{at}, 0, sizeof(event.pad_{at}));"
        value = (
            f"(uintptr_t){member.name}" if member.type.name == "ptr" else member.name
        )
        yield f"\tevent.{member.name} = {value};"
    if event.size > event.content:
        yield f"\tmemset(event.pad_{event.content}, 0, sizeof(event.pad_{event.content}));"


def site_lines(event: Event) -> Iterator[str]:
    names = ", ".join(member.name for member in event.fields)
    yield f"LOOP_SEMAPHORE({event.name})"
    yield ""
    yield f"static LOOP_SINK void sink_{event.name}({parameters(event)})"
    yield "{"
    yield f"\tstruct loop_{event.name} event;"
    yield ""
    yield f"\tevent.h.id = LOOP_EV_{event.name.upper()};"
    yield "\tevent.h.size = sizeof(event);"
    yield from fill_lines(event)
    yield "\thand_over(&event.h);"
    yield "}"
    yield ""
    yield f"LOOP_SITE void probe_fire_{event.name}({parameters(event)})"
    yield "{"
    yield f"\tSTAP_PROBE{len(event.fields)}(qemu, {event.name}, {names});"
    yield "\tif (__atomic_load_n(&current_sink, __ATOMIC_RELAXED))"
    yield f"\t\tsink_{event.name}({names});"
    yield "}"
    yield ""


def probes_c(table: Table, template: str) -> str:
    """loop_probes.c: the semaphores, and the one site of each probe."""
    sites = [line for event in table.probes for line in site_lines(event)]
    listed = [f"\t&qemu_{event.name}_semaphore," for event in table.probes]
    text = template.replace("@MADE@", MADE).replace("@SITES@\n", "\n".join(sites))
    return text.replace("@SEMAPHORES@", "\n".join(listed))

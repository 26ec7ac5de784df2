# SPDX-License-Identifier: MIT
"""The texts that are generated from the table: CTF metadata, expected notes, documentation."""

from typing import Iterator

from .c import MADE
from .table import Event, Field, Names, Table

# A recording's event is the struct itself: the header, then the arguments, each at its natural
# alignment.  The header's size lies where CTF has only padding: other readers need not know it, and
# babeltrace2 would warn of it.  Readers drop the leading underscore, which keeps TSDL's keywords
# usable.
PREAMBLE = """\
typealias integer { size = 8; align = 8; signed = false; } := u8;
typealias integer { size = 16; align = 16; signed = false; } := u16;
typealias integer { size = 32; align = 32; signed = false; } := u32;
typealias integer { size = 32; align = 32; signed = true; } := s32;
typealias integer { size = 64; align = 64; signed = false; } := u64;
typealias integer { size = 64; align = 64; signed = true; } := s64;
typealias integer { size = 32; align = 32; signed = false; base = 16; } := x32;
typealias integer { size = 64; align = 64; signed = false; base = 16; } := ptr;
typealias integer {
	size = 64; align = 64; signed = false;
	map = clock.monotonic.value;
} := time;

stream {
	id = 0;
	packet.context := struct {
		time timestamp_begin;
		time timestamp_end;
		u64 content_size;
		u64 packet_size;
		u64 packet_seq_num;
		u64 events_discarded;
	};
	event.header := struct {
		time timestamp;
		u16 id;
	};
	event.context := struct {
		u32 _tid;
	};
};
"""


def _type(member: Field) -> str:
    if member.names:
        return "x32" if member.names.is_flags else f"enum {member.names.name}"
    return "string" if member.is_text else member.type.name


def _enum(names: Names) -> str:
    values = ", ".join(
        f'"{value}" = {number}' for value, number in names.values.items()
    )
    return f"enum {names.name} : u32 {{ {values} }};\n"


def _event(event: Event) -> str:
    fields = "".join(
        f"\t\t{_type(member)} _{member.name};\n" for member in event.fields
    )
    return (
        f'event {{\n\tname = "{event.name}";\n\tid = {event.id};\n\tstream_id = 0;\n'
        f"\tfields := struct {{\n{fields}\t}};\n}};\n"
    )


def tsdl(table: Table) -> str:
    """The part of a recording's metadata that is the same in all recordings."""
    enums = "".join(_enum(n) for n in table.names.values() if not n.is_flags)
    return PREAMBLE + "\n" + enums + "\n" + "\n".join(_event(e) for e in table.events)


def notes(table: Table) -> str:
    """The USDT notes: provider, name, and the size of each argument, negative when signed."""
    lines = [f"# {MADE}"]
    for event in table.probes:
        sizes = [(-1 if m.type.signed else 1) * m.type.bits // 8 for m in event.fields]
        lines.append(" ".join(["qemu", event.name, *map(str, sizes)]))
    return "\n".join(lines + [""])


def _arguments(event: Event) -> str:
    return ", ".join(f"{m.type.name} {m.name}" for m in event.fields)


def markdown(table: Table) -> str:
    """The body of docs/probes.md."""
    lines = []
    for section in table.sections:
        lines += [
            f"## {section.title}",
            "",
            "| id | event | arguments | |",
            "|--:|---|---|---|",
        ]
        for e in section.events:
            lines.append(f"| {e.id} | `{e.name}` | `{_arguments(e)}` | {e.sentence} |")
        lines.append("")
    lines += ["## Named values", "", "| type | values |", "|---|---|"]
    for names in table.names.values():
        shown = " ".join(
            f"{v}={n:#x}" if names.is_flags else f"{n}={v}"
            for v, n in names.values.items()
        )
        lines.append(f"| `{names.name}` | {shown} |")
    return "\n".join(lines + [""])


def _roff(text: str) -> str:
    """Text for roff: no escape, no hyphenating minus, no line that would begin a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text.startswith((".", "'")) else text


def _roff_lines(table: Table) -> Iterator[str]:
    yield f'.\\" {MADE}'
    for section in table.sections:
        yield f".SS {_roff(section.title)}"
        for event in section.events:
            yield ".TP"
            yield f'.BR {event.name} ( "{_roff(_arguments(event))}" )'
            yield _roff(event.sentence)


def roff(table: Table) -> str:
    """A fragment for a man page: a subsection for each section of the table."""
    return "\n".join([*_roff_lines(table), ""])

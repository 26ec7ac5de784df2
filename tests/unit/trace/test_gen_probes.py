# SPDX-License-Identifier: MIT
"""The generator takes the table as it should be, and refuses anything else with FILE:LINE."""

import subprocess
import sys

import pytest
from conftest import ROOT

GENERATOR = ROOT / "trace" / "gen-probes.py"

GOOD = """\
# comment
format 3
enum colour { unknown red }
flags bits { A=1 B=0x10 }
section First
probe 1 one(ptr ctx, colour c, bits b, s64 late_ns) "One."
record 128 two(u64 addr, str name) "Two."
"""


def generate(tmp_path, text):
    table = tmp_path / "t.probes"
    table.write_text(text)
    command = [
        sys.executable,
        "-B",
        str(GENERATOR),
        str(table),
        "--out",
        str(tmp_path / "out"),
    ]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_good_table_gives_all_products(tmp_path):
    done = generate(tmp_path, GOOD)
    assert (done.returncode, done.stderr) == (0, "")
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made == {
        "loop_events.h",
        "loop_events.tsdl",
        "loop_probes.c",
        "loop_probes.h",
        "loop_probes.notes",
        "loop_table.c",
        "probes.md",
        "probes.roff",
    }
    notes = (tmp_path / "out" / "loop_probes.notes").read_text().splitlines()
    assert notes[1:] == ["qemu one 8 4 4 -8"]


def test_the_same_table_gives_the_same_bytes(tmp_path):
    generate(tmp_path, GOOD)
    first = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    generate(tmp_path, GOOD)
    assert first == {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}


# What is put after GOOD, and what is said of its last line.
BAD_LINES = {
    'probe 2 x(ptr a "X."': "expected: ID NAME",
    "probe 2 x(ptr a)": "expected: ID NAME",
    'probe x x(ptr a) "X."': "expected: ID NAME",
    'probe 2 X(ptr a) "X."': "not a usable name",
    'probe 2 while(ptr a) "X."': "not a usable name",
    'probe 2 one(ptr a) "X."': "taken already (line 6)",
    'probe 2 colour(ptr a) "X."': "taken already (line 3)",
    'probe 2 u32(ptr a) "X."': "taken already (a basic type)",
    'probe 1 x(ptr a) "X."': "id 1 is taken already (line 6)",
    'probe 0 x(ptr a) "X."': "id 0 is not in 1..127",
    'probe 128 x(ptr a) "X."': "taken already (line 7)",
    'probe 200 x(ptr a) "X."': "id 200 is not in 1..127",
    'record 7 x(ptr a) "X."': "id 7 is not in 128..255",
    'record 256 x(ptr a) "X."': "id 256 is not in 128..255",
    'probe 2 x(ptr a) "No full stop"': "ends with a full stop",
    'probe 2 x(ptr a) "A \\\\ backslash."': "no backslash",
    'probe 2 x() "X."': "at least one argument",
    'probe 2 x(ptr) "X."': "'ptr' is not TYPE NAME",
    'probe 2 x(struct y *a) "X."': "is not TYPE NAME",
    'probe 2 x(int a) "X."': "unknown type 'int'",
    'probe 2 x(ptr default) "X."': "'default' cannot be an argument's name",
    'probe 2 x(ptr pad_1) "X."': "'pad_1' cannot be an argument's name",
    'probe 2 x(ptr a, u32 a) "X."': "argument 'a' occurs twice",
    'probe 2 x(u64 for_ns) "X."': "a time is an s64",
    'probe 2 x(ptr a,ptr b,ptr c,ptr d,ptr e,ptr f,ptr g) "X."': "at most 6 arguments",
    'probe 2 x(ptr a, str s) "X."': "a probe passes addresses",
    'record 129 x(str s, u32 a) "X."': "a str is the last argument",
    'record 129 x(u32 a, str s) "X."': "'s' would begin at 20, not a multiple of 8",
    "enum colour { a }": "taken already (line 3)",
    "enum e a b": "expected: NAME { VALUE ... }",
    "enum e { A }": "'A' is not a name in small letters",
    "enum e { a a }": "occurs twice",
    "flags f { a=1 }": "'a=1' is not BIT=NUMBER",
    "flags f { A=3 }": "A=3 is not one bit of 32",
    "flags f { A=0 }": "A=0 is not one bit of 32",
    "flags f { A=0x100000000 }": "is not one bit of 32",
    "flags f { A=1 B=1 }": "occurs twice",
    "format 4": "expected once: format NUMBER",
    "probes 2 x(ptr a)": "unknown word 'probes'",
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_bad_line_is_refused_with_file_and_line(tmp_path, line):
    done = generate(tmp_path, GOOD + "\n" + line + "\n")
    assert done.returncode == 1
    assert done.stderr.startswith(f"{tmp_path}/t.probes:9: ")
    assert BAD_LINES[line] in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "no 'format NUMBER'"),
        ("format 1\n", "no probe in this table"),
        ("format x\n", ":1: expected once: format NUMBER"),
        ('format 1\nprobe 1 x(ptr a) "X."\n', ":2: an event before the first section"),
    ],
)
def test_an_incomplete_table_is_refused(tmp_path, text, said):
    done = generate(tmp_path, text)
    assert done.returncode == 1
    assert said in done.stderr


def test_a_missing_table_is_refused(tmp_path):
    command = [
        sys.executable,
        "-B",
        str(GENERATOR),
        str(tmp_path / "none"),
        "--out",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{tmp_path}/none:0: ")
    assert "Traceback" not in done.stderr


def test_the_documentation_has_every_event(build, table):
    markdown = (build / "trace" / "probes.md").read_text()
    roff = (build / "trace" / "probes.roff").read_text()
    for event in table.events:
        assert f"| {event.id} | `{event.name}` |" in markdown
        assert f".BR {event.name} (" in roff


def test_the_man_page_fragment_is_good_roff(build):
    try:
        page = (
            ".TH probes 7\n.SH EVENTS\n" + (build / "trace" / "probes.roff").read_text()
        )
        done = subprocess.run(
            ["man", "--warnings", "-E", "UTF-8", "-l", "-"],
            input=page,
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        pytest.skip("no man")
    assert (done.returncode, done.stderr) == (0, "")
    assert "run_poll_handlers_begin" in done.stdout

# SPDX-License-Identifier: MIT
"""Plain text with a few marks, made into roff for man(7).

    # HEADING             a section
    ## Heading            a part of one
    text                  paragraphs; `word` is bold, *word* is italic, [word](place) the word
    (four blanks) text    shown as it is: commands and their output
    - text                an item of a list
"""

import re
from typing import Iterator, List


def escape(text: str) -> str:
    """Text in which nothing is a request, an escape or a typographer's dash."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^(?=[.'])", r"\\&", text, flags=re.MULTILINE)


def _marked(text: str) -> str:
    parts = re.split(r"(`[^`]+`|(?<!\w)\*[^*\s][^*]*\*|\[[^]]+\]\([^)]+\))", text)
    out = ""
    for part in parts:
        if part.startswith("`"):
            out += f"\\fB{escape(part[1:-1])}\\fP"
        elif part.startswith("*") and len(part) > 2:
            out += f"\\fI{escape(part[1:-1])}\\fP"
        elif part.startswith("["):
            out += escape(part[1 : part.index("]")])
        else:
            out += escape(part)
    return out


def _block(lines: List[str]) -> Iterator[str]:
    if lines[0].startswith("    "):
        yield ".PP\n.nf\n.RS 4"
        yield from (escape(line[4:]) for line in lines)
        yield ".RE\n.fi"
    elif lines[0].startswith("## "):
        yield f'.SS "{_marked(lines[0][3:])}"'
    elif lines[0].startswith("# "):
        yield f'.SH "{_marked(lines[0][2:])}"'
    elif lines[0].startswith("- "):
        for item in re.split(r"^- ", "\n".join(lines), flags=re.MULTILINE)[1:]:
            yield f".IP \\(bu 2\n{_marked(' '.join(item.split()))}"
    else:
        yield f".PP\n{_marked(' '.join(lines))}"


def convert(text: str) -> str:
    """The whole of a text; a block of shown lines may have empty ones in it."""
    blocks: List[List[str]] = []
    for chunk in re.split(r"\n\s*\n", text.strip("\n")):
        lines = chunk.splitlines()
        shown = lines[0].startswith("    ")
        if shown and blocks and blocks[-1][0].startswith("    "):
            blocks[-1] += ["", *lines]
        else:
            blocks.append(lines)
    return "\n".join(part for block in blocks for part in _block(block)) + "\n"

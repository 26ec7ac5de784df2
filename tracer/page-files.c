// SPDX-License-Identifier: MIT
/* The files of tracer/html/, as text in the program: see page-files.h. */
#include "tracer/page-files.h"

#define EMBED(name, file)                                                                          \
	__asm__(".pushsection .rodata\n"                                                           \
		".global " name "\n" name ":\n"                                                    \
		".incbin \"tracer/html/" file "\"\n"                                               \
		".byte 0\n"                                                                        \
		".popsection\n")

EMBED("page_style", "page.css");
EMBED("page_body", "body.html");
EMBED("page_unpack", "unpack.js");
EMBED("page_timeline", "timeline.js");
EMBED("page_tables", "tables.js");
EMBED("page_main", "main.js");

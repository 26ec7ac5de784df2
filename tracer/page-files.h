/* SPDX-License-Identifier: MIT */
/* The constant parts of a page, each a text with its NUL. */
#ifndef TRACER_PAGE_FILES_H
#define TRACER_PAGE_FILES_H

extern const char page_style[], page_body[];
/* Scripts, in the order in which they are loaded. */
extern const char page_unpack[], page_timeline[], page_tables[], page_main[];

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What people see: aligned tables of at most 100 columns, and NDJSON.
 *
 * A table's rows are added as text and printed at the end, when the widths are known.
 */
#ifndef TRACER_OUT_H
#define TRACER_OUT_H

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define OUT_COLUMNS 100

struct table;

/* @heads: NULL-terminated; each column is as wide as its widest cell, the widest ones give way. */
struct table *table_new(const char *const *heads);
/* Add a row: one string for each head, copied; NULL is "". */
void table_row(struct table *table, ...) __attribute__((sentinel));
/* Text under the row just added, from column @column on. NULL or "" adds nothing. */
void table_under(struct table *table, int column, const char *text);
void table_print(struct table *table, const char *indent); /* and free it */
void table_free(struct table *table);			   /* one that is not printed */

/*
 * Folding: rows that differ in nothing but a number (their key is equal) become one row with a
 * count, unless they are few. fold_take() returns the numbers the first time it is asked for a key
 * of many, NULL after that; *ret_few tells that the row has to be shown by itself.
 */
struct fold;
struct fold *fold_new(bool never);
void fold_free(struct fold *fold);
void fold_add(struct fold *fold, const char *key, int number);
GArray *fold_take(struct fold *fold, const char *key, bool *ret_few);

/* Print text in lines of at most OUT_COLUMNS, broken between words; the later ones are indented. */
void out_wrapped(const char *text);

/*
 * "main_loop_wait > aio_dispatch > foo", indented: @names outermost first, each of which g_free()
 * has to free. A recursion is told once: "(a > b) x 31"; @names is changed to that.
 */
void out_chain(GPtrArray *names);

/* One sentence behind @mark (one character, or two), indented, folded at spaces. */
void out_folded(const char *mark, const char *text);

/* Print one line of NDJSON and take the reference. */
void out_json(json_t *object);

/* "0x..." as JSON, null for 0. */
json_t *out_address(uint64_t addr);
/* Text as JSON, null for NULL or "". */
json_t *out_text(const char *text);

/* poll(2)'s events in words: "in", "in+out", "-"; ERR and HUP are always reported and not shown. */
const char *out_events(unsigned events);
/* A duration in words: "970 ms", "2.5 s", "for ever" for a negative one. To be freed. */
char *out_duration(int64_t ns);
/* The numbers as ranges: "3-5 7 9-12 ... (40 more)". To be freed. Sorts @numbers (int). */
char *out_ranges(GArray *numbers);

#endif

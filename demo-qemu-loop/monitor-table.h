/* SPDX-License-Identifier: MIT */
/*
 * A table of text, aligned when it is complete.
 *
 *   TABLE(table, "FD", "KIND");
 *   table_add(&table, g_strdup("5"));             cell by cell, row by row; takes the text
 *   table_add(&table, g_strdup("eventfd"));
 *   table_print(&table, out, "no descriptors");   and frees it
 */
#ifndef DEMO_MONITOR_TABLE_H
#define DEMO_MONITOR_TABLE_H

#include "osdep.h"

typedef struct Table {
	unsigned n_columns;
	GPtrArray *cells; /* of text, row after row, the titles first */
} Table;

#define TABLE(name, ...)                                                                           \
	static const char *const name##_titles[] = { __VA_ARGS__ };                                \
	Table name;                                                                                \
	table_init(&name, name##_titles, ARRAY_SIZE(name##_titles))

void table_init(Table *table, const char *const *titles, unsigned n_columns);
void table_add(Table *table, char *cell);

/* A table without rows is @none. */
void table_print(Table *table, GString *out, const char *none);

#endif

/* SPDX-License-Identifier: MIT */
/* Tables for people; the header says how they are used. */
#include "osdep.h"
#include "monitor-table.h"

void table_add(Table *table, char *cell)
{
	g_ptr_array_add(table->cells, cell);
}

void table_init(Table *table, const char *const *titles, unsigned n_columns)
{
	table->n_columns = n_columns;
	table->cells = g_ptr_array_new_with_free_func(g_free);
	for (unsigned i = 0; i < n_columns; i++)
		table_add(table, g_strdup(titles[i]));
}

/* Of the column's widest cell; the last one is as wide as it is. */
static int column_width(const Table *table, unsigned column)
{
	size_t width = 0;

	for (unsigned i = column; i < table->cells->len; i += table->n_columns)
		width = MAX(width, strlen(table->cells->pdata[i]));
	return column == table->n_columns - 1 ? 0 : (int)width;
}

void table_print(Table *table, GString *out, const char *none)
{
	int *widths = g_new(int, table->n_columns);

	for (unsigned i = 0; i < table->n_columns; i++)
		widths[i] = column_width(table, i);
	if (table->cells->len == table->n_columns)
		g_string_append_printf(out, "%s\n", none);
	for (unsigned i = 0; table->cells->len > table->n_columns && i < table->cells->len; i++) {
		unsigned column = i % table->n_columns;

		g_string_append_printf(out, "%-*s%s", widths[column],
				       (const char *)table->cells->pdata[i],
				       column == table->n_columns - 1 ? "\n" : "  ");
	}
	g_free(widths);
	g_ptr_array_free(table->cells, TRUE);
}

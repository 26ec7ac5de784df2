/* SPDX-License-Identifier: MIT */
/* The examples' command line; the header says what it is. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "example.h"

static void list_forms(const ExampleForm *forms, gboolean json)
{
	if (!json)
		printf("%-18s %-8s %s\n", "NAME", "VERDICT", "SUMMARY");
	for (; forms->name; forms++) {
		const char *quote = forms->verdict ? "\"" : "";

		if (json) /* the strings are ours and need no escaping */
			printf("{\"name\": \"%s\", \"summary\": \"%s\", \"verdict\": %s%s%s}\n",
			       forms->name, forms->summary, quote, forms->verdict ?: "null", quote);
		else
			printf("%-18s %-8s %s\n", forms->name, forms->verdict ?: "-",
			       forms->summary);
	}
}

static int find_form(const ExampleForm *forms, const char *name)
{
	for (int i = 0; forms[i].name; i++) {
		if (g_str_equal(forms[i].name, name))
			return i;
	}
	fprintf(stderr, "%s: no bug '%s'; --list shows what there is\n", g_get_prgname(), name);
	exit(2);
}

int example_options(int argc, char **argv, const ExampleForm *forms, gint64 *ret_iterations)
{
	char *name = NULL, *base = g_path_get_basename(argv[0]);
	gint64 iterations = -1;
	gboolean list = FALSE, json = FALSE;
	const GOptionEntry entries[] = {
		{ "iterations", 0, 0, G_OPTION_ARG_INT64, &iterations,
		  "Run N scripted iterations, print exact counts, exit", "N" },
		{ "bug", 0, 0, G_OPTION_ARG_STRING, &name, "Run the form that has this bug",
		  "NAME" },
		{ "list", 0, 0, G_OPTION_ARG_NONE, &list, "List the forms and what to expect",
		  NULL },
		{ "json", 0, 0, G_OPTION_ARG_NONE, &json, "With --list: one object a line", NULL },
		{ NULL, 0, 0, 0, NULL, NULL, NULL },
	};
	GOptionContext *context = g_option_context_new(NULL);
	GError *error = NULL;
	int form;

	g_set_prgname(base);
	g_free(base);
	g_option_context_add_main_entries(context, entries, NULL);
	if (!g_option_context_parse(context, &argc, &argv, &error) || argc > 1) {
		fprintf(stderr, "%s: %s%s; see --help\n", g_get_prgname(),
			error ? error->message : "unexpected ", error ? "" : argv[1]);
		exit(2);
	}
	g_option_context_free(context);
	if (list) {
		list_forms(forms, json);
		exit(0);
	}
	form = name ? find_form(forms, name) : 0;
	printf("%s: %s, pid %d, ready\n", g_get_prgname(), forms[form].name, getpid());
	fflush(stdout);
	g_free(name);
	*ret_iterations = MAX(iterations, -1);
	return form;
}

void example_run(gint64 iterations, GSourceFunc script, gpointer opaque)
{
	if (iterations < 0)
		g_timeout_add(SCRIPT_MS, script, opaque);
	for (gint64 i = 0; iterations < 0 || i < iterations; i++) {
		if (iterations >= 0)
			script(opaque);
		g_main_context_iteration(NULL, TRUE);
	}
	printf("iterations=%" G_GINT64_FORMAT "\n", iterations);
}

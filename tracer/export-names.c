// SPDX-License-Identifier: MIT
/* What frames, threads and the program are called in an export: see export.h. */
#include <stdlib.h>
#include <string.h>

#include "tracer/export.h"
#include "tracer/report-words.h"

struct export_names {
	const struct report *report;
	GHashTable *frames; /* whatever is the same for all frames of a name -> its number + 1 */
	GHashTable *texts;  /* the same by name */
	GPtrArray *list;    /* char *, by number */
};

struct export_names *export_names_new(const struct report *report)
{
	struct export_names *names = g_new0(struct export_names, 1);

	names->report = report;
	names->frames = g_hash_table_new(NULL, NULL);
	names->texts = g_hash_table_new(g_str_hash, g_str_equal);
	names->list = g_ptr_array_new_with_free_func(g_free);
	return names;
}

void export_names_free(struct export_names *names)
{
	g_hash_table_destroy(names->frames);
	g_hash_table_destroy(names->texts);
	g_ptr_array_free(names->list, TRUE);
	g_free(names);
}

uint32_t export_names_text(struct export_names *names, char *name, const char **ret_new)
{
	uint32_t number = GPOINTER_TO_UINT(g_hash_table_lookup(names->texts, name));

	*ret_new = NULL;
	if (number) {
		g_free(name);
		return number - 1;
	}
	g_ptr_array_add(names->list, name);
	g_hash_table_insert(names->texts, name, GUINT_TO_POINTER(names->list->len));
	*ret_new = name;
	return names->list->len - 1;
}

uint32_t export_names_frame(struct export_names *names, const struct report_thread *thread,
			    const struct report_frame *frame, const char **ret_new)
{
	static const char kinds[REPORT_KINDS], no_wait;
	bool polls = frame->kind == REPORT_POLL || frame->kind == REPORT_NESTED_POLL;
	bool awake = polls && thread->timeout_ns == 0;
	const void *same = awake ? &no_wait : frame->entry ? frame->entry : &kinds[frame->kind];
	uint32_t number = GPOINTER_TO_UINT(g_hash_table_lookup(names->frames, same));

	*ret_new = NULL;
	if (number)
		return number - 1;
	number = export_names_text(names,
				   awake ? g_strdup("poll without a wait")
					 : report_frame_name(names->report, frame),
				   ret_new);
	g_hash_table_insert(names->frames, (void *)same, GUINT_TO_POINTER(number + 1));
	return number;
}

uint32_t export_names_count(const struct export_names *names)
{
	return names->list->len;
}

const char *export_names_get(const struct export_names *names, uint32_t number)
{
	return names->list->pdata[number];
}

char *export_thread_name(const struct report *report, uint32_t tid)
{
	const struct report_thread *thread =
		report_map_find(&report->threads, (struct report_key){ .a = tid });
	char *loop, *words;

	if (!thread || !report_is_loop(thread))
		return g_strdup(thread && thread->name ? thread->name : "");
	loop = report_loop_name(report, thread);
	if (!thread->name || !thread->name[0])
		return loop;
	words = g_strdup_printf("%s (%s)", loop, thread->name);
	g_free(loop);
	return words;
}

char *export_program(const struct report *report)
{
	char *exe = report_env(report, "target_exe");
	char *base = exe ? g_path_get_basename(exe) : g_strdup("unknown program");

	g_free(exe);
	return base;
}

uint32_t export_pid(const struct report *report)
{
	const char *text = ctf_reader_env(report->reader, "target_pid");
	long pid = text ? strtol(text, NULL, 10) : 0;
	uint32_t first = 1;
	GPtrArray *threads;

	if (pid > 0 && pid <= INT32_MAX)
		return (uint32_t)pid;
	threads = report_threads(report);
	if (threads->len)
		first = ((const struct report_thread *)threads->pdata[0])->tid;
	g_ptr_array_free(threads, TRUE);
	return first;
}

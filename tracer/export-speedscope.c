// SPDX-License-Identifier: MIT
/*
 * Export to speedscope (speedscope.app, or its own page opened from a disk): a JSON file with a
 * profile of each thread that has done anything, its frames opened and closed as they began and
 * ended. Times are nanoseconds since the recording began, so all profiles have one scale.
 *
 * The format wants a profile after the other, and a recording has all threads at once: profiles are
 * spooled.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "trace/version.h"
#include "tracer/export-spool.h"
#include "tracer/export.h"
#include "tracer/report-words.h"

struct profile {
	struct spool_lane lane;
	GArray *open; /* uint32_t: the names of frames that are open */
	bool begun;
};

struct speedscope {
	const struct report *report;
	struct export_names *names;
	GHashTable *profiles; /* tid -> struct profile */
	struct spool *spool;
};

static void profile_free(void *data)
{
	struct profile *profile = data;

	g_array_free(profile->open, TRUE);
	g_free(profile);
}

static struct profile *profile_of(struct speedscope *s, uint32_t tid)
{
	struct profile *profile = g_hash_table_lookup(s->profiles, GUINT_TO_POINTER(tid));

	if (!profile) {
		profile = g_new0(struct profile, 1);
		profile->open = g_array_new(FALSE, FALSE, sizeof(uint32_t));
		g_hash_table_insert(s->profiles, GUINT_TO_POINTER(tid), profile);
	}
	return profile;
}

static void put_event(struct speedscope *s, struct profile *profile, char type, uint32_t frame,
		      uint64_t ns)
{
	spool_printf(s->spool, &profile->lane,
		     "%s\n{\"type\":\"%c\",\"frame\":%u,\"at\":%" PRIu64 "}",
		     profile->begun ? "," : "", type, frame, ns - s->report->begin_ns);
	profile->begun = true;
}

static void open_frame(void *data, const struct report_thread *thread,
		       const struct report_frame *frame)
{
	struct speedscope *s = data;
	struct profile *profile = profile_of(s, thread->tid);
	const char *new_name;
	uint32_t number = export_names_frame(s->names, thread, frame, &new_name);

	g_array_append_val(profile->open, number);
	put_event(s, profile, 'O', number, frame->begin_ns);
}

static void close_frame(void *data, const struct report_thread *thread,
			const struct report_frame *frame, uint64_t now_ns,
			enum report_ending ending)
{
	struct speedscope *s = data;
	struct profile *profile = profile_of(s, thread->tid);
	uint32_t last = profile->open->len - 1;
	uint32_t number = g_array_index(profile->open, uint32_t, last);

	(void)frame;
	(void)ending;
	g_array_set_size(profile->open, last);
	put_event(s, profile, 'C', number, now_ns);
}

static void put_text(const char *text)
{
	json_t *json = json_string(text);

	json_dumpf(json, stdout, JSON_ENCODE_ANY);
	json_decref(json);
}

static int write_profiles(struct speedscope *s)
{
	GPtrArray *threads = report_threads(s->report);
	uint64_t first_ns, end_ns;
	bool any = false;
	int err = 0;

	report_span(s->report, &first_ns, &end_ns);
	for (uint32_t i = 0; !err && i < threads->len; i++) {
		uint32_t tid = ((const struct report_thread *)threads->pdata[i])->tid;
		struct profile *profile = g_hash_table_lookup(s->profiles, GUINT_TO_POINTER(tid));
		char *name, *title;

		if (!profile)
			continue;
		name = export_thread_name(s->report, tid);
		title = g_strdup_printf("%s%s%u", name, name[0] ? " " : "", tid);
		printf("%s\n{\"type\":\"evented\",\"name\":", any ? "," : "");
		put_text(title);
		printf(",\"unit\":\"nanoseconds\",\"startValue\":%" PRIu64 ",\"endValue\":%" PRIu64
		       ",\"events\":[",
		       first_ns - s->report->begin_ns, end_ns - s->report->begin_ns);
		err = spool_copy(s->spool, &profile->lane, stdout);
		printf("]}");
		any = true;
		g_free(title);
		g_free(name);
	}
	g_ptr_array_free(threads, TRUE);
	return err;
}

static int write_file(struct speedscope *s)
{
	char *program = export_program(s->report);
	int err;

	printf("{\"$schema\":\"https://www.speedscope.app/file-format-schema.json\",\n"
	       "\"exporter\":\"loopscope " LOOPSCOPE_VERSION "\",\n\"name\":");
	put_text(program);
	printf(",\n\"activeProfileIndex\":0,\n\"shared\":{\"frames\":[");
	for (uint32_t i = 0; i < export_names_count(s->names); i++) {
		printf("%s\n{\"name\":", i ? "," : "");
		put_text(export_names_get(s->names, i));
		putchar('}');
	}
	printf("]},\n\"profiles\":[");
	err = write_profiles(s);
	puts("]}");
	g_free(program);
	return err;
}

int export_speedscope(const char *path, const struct report *report, struct failure *why)
{
	struct speedscope s = { .report = report };
	struct report_watcher watcher = { .data = &s, .begin = open_frame, .end = close_frame };
	struct report *again = NULL;
	int err;

	s.spool = spool_new();
	if (!s.spool)
		return fail(why, -errno, "no temporary file: %s", g_strerror(errno));
	s.names = export_names_new(report);
	s.profiles = g_hash_table_new_full(NULL, NULL, NULL, profile_free);
	err = report_read_watched(path, &watcher, &again, why);
	if (!err) {
		err = write_file(&s);
		if (err)
			fail(why, err, "a temporary file: %s", g_strerror(-err));
	}
	report_free(again);
	g_hash_table_destroy(s.profiles);
	export_names_free(s.names);
	spool_free(s.spool);
	return err;
}

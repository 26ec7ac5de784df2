/* SPDX-License-Identifier: MIT */
/* Known recordings: see recording.h. */
#include <glib.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>

#include "recording.h"

static unsigned int count_names(const struct loop_name *names)
{
	unsigned int n = 0;

	while (names[n].name)
		n++;
	return n;
}

static void fill_field(union recording_event *event, const struct loop_field *field,
		       unsigned int number, unsigned int n)
{
	char *at = event->bytes + field->offset;
	uint64_t wide = (1ULL << 40) + number;
	uint32_t narrow = number;

	switch (field->type) {
	case LOOP_U32:
		if (field->names && !field->is_flags)
			narrow = n % count_names(field->names);
		memcpy(at, &narrow, sizeof(narrow));
		break;
	case LOOP_S32:
		narrow = -narrow;
		memcpy(at, &narrow, sizeof(narrow));
		break;
	case LOOP_S64:
		wide = -wide;
		/* fall through */
	case LOOP_U64:
	case LOOP_PTR:
		memcpy(at, &wide, sizeof(wide));
		break;
	case LOOP_STR:
		event->h.size =
			(field->offset + sprintf(at, "text %u \303\251\n", number) + 8) / 8 * 8;
		break;
	}
}

void recording_fill(union recording_event *event, const struct loop_event_desc *desc,
		    unsigned int n)
{
	unsigned int id = desc - loop_event_descs;

	memset(event, 0, 256);
	event->h.id = id;
	event->h.size = desc->size;
	for (unsigned int i = 0; i < desc->n_fields; i++)
		fill_field(event, &desc->fields[i], id * 1000 + i * 100 + n, n);
}

unsigned int recording_total(void)
{
	unsigned int kinds = 0;

	for (unsigned int id = 0; id < LOOP_EV_END; id++)
		kinds += loop_event_desc(id) != NULL;
	return kinds * EACH;
}

int recording_write(struct ctf_writer *writer)
{
	union recording_event event;
	uint64_t time_ns = FIRST_NS;
	int err;

	for (unsigned int n = 0; n < EACH; n++) {
		for (unsigned int id = 0; id < LOOP_EV_END; id++) {
			const struct loop_event_desc *desc = loop_event_desc(id);

			if (!desc)
				continue;
			recording_fill(&event, desc, n);
			event.h.time_ns = time_ns;
			event.h.tid = time_ns / 10 % THREADS;
			time_ns += 10;
			err = ctf_writer_event(writer, &event.h);
			if (err)
				return err;
		}
	}
	return 0;
}

int recording_count(const char *path, uint64_t *ret_events, struct ctf_reader_stats *ret_stats)
{
	struct ctf_reader *reader = ctf_reader_new();
	const struct loop_event *event;
	uint64_t events = 0;
	int err = ctf_reader_open(reader, path);

	while (!err) {
		err = ctf_reader_next(reader, &event);
		if (err <= 0)
			break;
		events++;
		err = 0;
	}
	*ret_events = events;
	if (ret_stats)
		*ret_stats = *ctf_reader_stats(reader);
	ctf_reader_free(reader);
	return err;
}

char *recording_dir(void)
{
	char *path = g_dir_make_tmp("recording-XXXXXX", NULL);

	g_assert_nonnull(path);
	return path;
}

void recording_remove(char *path)
{
	GDir *dir = g_dir_open(path, 0, NULL);
	const char *name;

	while (dir && (name = g_dir_read_name(dir))) {
		char *file = g_build_filename(path, name, NULL);

		g_unlink(file);
		g_free(file);
	}
	if (dir)
		g_dir_close(dir);
	g_rmdir(path);
	g_free(path);
}

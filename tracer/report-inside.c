// SPDX-License-Identifier: MIT
/*
 * A directory that is no recording may have some in it, as the one that record --on-stall fills:
 * then they are named, the oldest first. See report-model.h.
 */
#include <dirent.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "trace/ctf.h"
#include "tracer/report-model.h"

#define NAMED 8 /* more are counted */

struct inside {
	char *name;
	struct timespec begun;
};

static void clear_inside(void *data)
{
	g_free(((struct inside *)data)->name);
}

static int by_time(const void *a, const void *b)
{
	const struct timespec *x = &((const struct inside *)a)->begun;
	const struct timespec *y = &((const struct inside *)b)->begun;

	return x->tv_sec != y->tv_sec ? (x->tv_sec > y->tv_sec) - (x->tv_sec < y->tv_sec)
				      : (x->tv_nsec > y->tv_nsec) - (x->tv_nsec < y->tv_nsec);
}

/* The directories in @path that have metadata: struct inside. */
static GArray *find_inside(const char *path)
{
	GArray *found = g_array_new(FALSE, FALSE, sizeof(struct inside));
	DIR *dir = opendir(path);
	struct dirent *entry;

	g_array_set_clear_func(found, clear_inside);
	while (dir && (entry = readdir(dir))) {
		char *metadata = g_build_filename(entry->d_name, CTF_METADATA, NULL);
		struct inside one = { .name = entry->d_name };
		struct stat st;

		if (entry->d_name[0] != '.' &&
		    !fstatat(dirfd(dir), metadata, &st, AT_SYMLINK_NOFOLLOW) &&
		    S_ISREG(st.st_mode)) {
			one.name = g_strdup(entry->d_name);
			one.begun = st.st_mtim;
			g_array_append_val(found, one);
		}
		g_free(metadata);
	}
	if (dir)
		closedir(dir);
	g_array_sort(found, by_time);
	return found;
}

int report_fail_inside(const char *path, int err, struct failure *why)
{
	GArray *found = find_inside(path);
	GString *names = g_string_new(NULL);
	const char *slash = g_str_has_suffix(path, "/") ? "" : "/";
	const char *last = NULL;

	for (guint i = 0; i < found->len; i++) {
		last = g_array_index(found, struct inside, i).name;
		if (i < NAMED)
			g_string_append_printf(names, "%s%s", i ? ", " : "", last);
	}
	if (found->len > NAMED)
		g_string_append(names, " ...");
	if (found->len == 1)
		fail(why, err, "%s: not a recording; the one in it is %s%s%s", path, path, slash,
		     last);
	else if (last)
		fail(why, err, "%s: not a recording, but %u lie in it: %s; the last is %s%s%s",
		     path, found->len, names->str, path, slash, last);
	g_string_free(names, TRUE);
	g_array_free(found, TRUE);
	return last ? err : 0;
}

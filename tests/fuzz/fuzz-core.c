// SPDX-License-Identifier: MIT
/*
 * A core file: the input is the file. The files that it says were mapped are not opened (see
 * __wrap_open): their names are the input's, and one could be a device.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tracer/images.h"
#include "tracer/target.h"

static const char *the_core;

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);

int __wrap_open(const char *path, int flags, ...)
{
	if (!the_core || !strcmp(path, the_core)) /* libFuzzer's own, and the core */
		return __real_open(path, flags, 0600);
	errno = ENOENT;
	return -1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct images *images = NULL;
	struct target *t = NULL;
	uint8_t bytes[64];
	struct failure why;

	the_core = fuzz_file(data, size);
	if (target_open_core(the_core, NULL, &t, &why)) {
		the_core = NULL;
		return 0;
	}
	for (size_t i = 0; i < t->maps->len && i < 64; i++) {
		const struct map *map = &g_array_index(t->maps, struct map, i);

		target_read(t, map->start, bytes, sizeof(bytes));
		target_read(t, map->end - 8, bytes, sizeof(bytes));
		target_read_own(t, map->start, bytes, sizeof(bytes));
		target_read_string(t, map->start, (char *)bytes, sizeof(bytes));
		target_map_at(t, map->start);
	}
	target_refresh(t, &why);
	if (!images_open(t, &images, &why))
		images_close(images);
	target_close(t);
	the_core = NULL;
	return 0;
}

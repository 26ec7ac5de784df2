/* SPDX-License-Identifier: MIT */
/* See samples.h. */
#include <unistd.h>

#include "tests/unit/tracer/samples.h"

static struct target *target;
static struct image *image;

static void open_both(void)
{
	struct failure why = { 0 };

	if (image)
		return;
	if (target_open_pid(getpid(), &target, &why) || image_open_program(target, &image, &why))
		g_error("this program as a target: %s", why.text);
}

struct target *samples_target(void)
{
	open_both();
	return target;
}

struct image *samples_image(void)
{
	open_both();
	return image;
}

uint64_t samples_link(const void *run)
{
	return (uintptr_t)run - samples_image()->bias;
}

// SPDX-License-Identifier: MIT
/*
 * Attach a program of floor.bpf.c to all USDT probes of a process, for tests/bench/tracer.py; or,
 * for tests/bench/overhead.py, to the places that a file names.
 *
 * usage: floor PID nothing|zeros [FILE]
 *
 * Each line of FILE is the name of a program or library, an address in it, and "entry" or "return":
 * what "record -v --json" has told of its probes. It says "attached" then. It drains what comes, as
 * the recorder does, until its input ends, and prints what was lost.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/types.h>
#include "tests/bench/floor.skel.h"
#include "tracer/attach.h"
#include "tracer/images.h"
#include "tracer/usdt.h"

#define DRAIN_MS 5

static int count(void *arg, void *data, size_t size)
{
	(void)data;
	(void)size;
	++*(uint64_t *)arg;
	return 0;
}

static GArray *sites_of(const struct image *program)
{
	GArray *sites = g_array_new(FALSE, FALSE, sizeof(struct site));
	int refused;
	GArray *probes = usdt_probes(program, "qemu", &refused);

	for (size_t i = 0; i < probes->len; i++)
		g_array_append_val(sites, g_array_index(probes, struct usdt_probe, i).site);
	g_array_free(probes, TRUE);
	return sites;
}

/* The places of the file at @path; none if one of them is not in the target. */
static GArray *sites_in_file(struct images *images, const char *path)
{
	GArray *sites = g_array_new(FALSE, FALSE, sizeof(struct site));
	FILE *file = fopen(path, "r");
	char name[128], kind[16];
	struct site site;

	while (file && fscanf(file, "%127s %lx %15s", name, &site.link, kind) == 3) {
		site = (struct site){ .link = site.link, .on_return = !strcmp(kind, "return") };
		site.img = images_program(images);
		if (strcmp(site.img->name, name))
			site.img = images_library(images, name);
		if (!site.img || image_file_offset(site.img, site.link, &site.offset)) {
			g_array_set_size(sites, 0);
			break;
		}
		g_array_append_val(sites, site);
	}
	if (file)
		fclose(file);
	return sites;
}

int main(int argc, char **argv)
{
	bool zeros = argc > 2 && !strcmp(argv[2], "zeros");
	struct floor_bpf *skel = floor_bpf__open();
	struct attachment *attachment = NULL;
	struct ring_buffer *ring = NULL;
	struct images *images = NULL;
	struct bpf_program *program;
	struct target *t = NULL;
	struct failure why = { 0 };
	struct pollfd in = { .events = POLLIN };
	GArray *sites = NULL;
	uint64_t events = 0;
	int err;

	if (argc < 3 || !skel)
		return EXIT_USAGE;
	program = zeros ? skel->progs.send_zeros : skel->progs.do_nothing;
	err = target_open_pid(atoi(argv[1]), &t, &why);
	if (!err)
		err = images_open(t, &images, &why);
	if (err)
		goto cleanup;
	sites = argc > 3 ? sites_in_file(images, argv[3]) : sites_of(images_program(images));
	if (!sites->len)
		err = fail(&why, -ENOENT, "no places to probe");
	if (err)
		goto cleanup;
	attach_prepare(skel->progs.send_zeros, ATTACH_BEST);
	attach_prepare(skel->progs.do_nothing, ATTACH_BEST);
	err = floor_bpf__load(skel);
	if (!err)
		err = attach_sites(program, ATTACH_BEST, t->pid, (struct site *)sites->data,
				   sites->len, &attachment, &why);
	if (err)
		goto cleanup;
	ring = ring_buffer__new(bpf_map__fd(skel->maps.ring), count, &events, NULL);
	if (argc > 3)
		puts("attached");
	fflush(stdout);
	while (poll(&in, 1, DRAIN_MS) == 0)
		ring_buffer__consume(ring);
	attach_remove(attachment);
	ring_buffer__consume(ring);
	printf("%lu %lu\n", (unsigned long)events, (unsigned long)skel->bss->lost);

cleanup:
	if (err)
		fprintf(stderr, "floor: %s\n", why.text);
	if (sites)
		g_array_free(sites, TRUE);
	ring_buffer__free(ring);
	floor_bpf__destroy(skel);
	images_close(images);
	target_close(t);
	return err ? failure_exit(err) : 0;
}

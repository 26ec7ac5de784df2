// SPDX-License-Identifier: MIT
/*
 * Attach a program of floor.bpf.c to all USDT probes of a process, for tests/bench/tracer.py.
 *
 * usage: floor PID nothing|zeros
 *
 * It drains what comes, as the recorder does, until its input ends, and prints what was lost.
 */
#include <bpf/bpf.h>
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
	sites = sites_of(images_program(images));
	attach_prepare(skel->progs.send_zeros, ATTACH_BEST);
	attach_prepare(skel->progs.do_nothing, ATTACH_BEST);
	err = floor_bpf__load(skel);
	if (!err)
		err = attach_sites(program, ATTACH_BEST, t->pid, (struct site *)sites->data,
				   sites->len, &attachment, &why);
	if (err)
		goto cleanup;
	ring = ring_buffer__new(bpf_map__fd(skel->maps.ring), count, &events, NULL);
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

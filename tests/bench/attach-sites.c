// SPDX-License-Identifier: MIT
/*
 * Attach the smallest probe to N functions of a process, for tests/bench/attach.py.
 *
 * usage: attach-sites PID N [FUNCTION]   N functions spread over its exported ones, or the one
 * named
 *
 * It prints {"type":"attached", ...} with the time that took and the sites, then drains events
 * until a line or the end of its input, detaches, and prints {"type":"detached", ...} with the
 * counts.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <linux/types.h>
#include "tests/bench/hits.skel.h"
#include "tracer/attach.h"
#include "tracer/images.h"
#include "tracer/out.h"

#define DRAIN_MS 5

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static int count(void *arg, void *data, size_t size)
{
	(void)data;
	(void)size;
	++*(uint64_t *)arg;
	return 0;
}

/* @n sites the kernel emulates, spread evenly over the program's functions. */
static size_t spread_sites(struct image *img, struct site *sites, size_t n)
{
	size_t step = MAX(img->functions->len / (n * 2), 1), found = 0;

	for (size_t i = 0; i < img->functions->len && found < n; i += step) {
		struct function *fn = &g_array_index(img->functions, struct function, i);

		if (!site_at(img, fn->start, &sites[found], NULL) && sites[found].emulated) {
			sites[found].cookie = found;
			found++;
		}
	}
	return found;
}

static void print_attached(const struct site *sites, size_t n, double seconds)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(
			list,
			json_pack("{s:s, s:I, s:I, s:b}", "name", sites[i].name, "addr",
				  (json_int_t)(sites[i].link + sites[i].img->bias), "offset",
				  (json_int_t)sites[i].offset, "emulated", sites[i].emulated));
	out_json(json_pack("{s:s, s:f, s:o}", "type", "attached", "seconds", seconds, "sites",
			   list));
	fflush(stdout);
}

int main(int argc, char **argv)
{
	size_t n = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
	struct site *sites = g_new0(struct site, n + 1);
	struct attachment *attachment = NULL;
	struct ring_buffer *ring = NULL;
	struct hits_bpf *skel = NULL;
	struct images *images = NULL;
	struct target *t = NULL;
	struct failure why = { 0 };
	struct pollfd in = { .events = POLLIN };
	uint64_t events = 0;
	double start;
	int err;

	if (!n)
		return EXIT_USAGE;
	attach_set_verbose(getenv("VERBOSE"));
	err = target_open_pid(atoi(argv[1]), &t, &why);
	if (!err)
		err = images_open(t, &images, &why);
	if (!err && argc > 3)
		err = site_of(images_program(images), argv[3], &sites[0], &why);
	if (err)
		goto cleanup;
	n = argc > 3 ? 1 : spread_sites(images_program(images), sites, n);
	start = now();
	skel = hits_bpf__open();
	attach_prepare(skel->progs.send_hit, ATTACH_BEST);
	err = hits_bpf__load(skel);
	if (!err)
		err = attach_sites(skel->progs.send_hit, ATTACH_BEST, t->pid, sites, n, &attachment,
				   &why);
	if (err)
		goto cleanup;
	ring = ring_buffer__new(bpf_map__fd(skel->maps.ring), count, &events, NULL);
	print_attached(sites, n, now() - start);
	while (poll(&in, 1, DRAIN_MS) == 0)
		ring_buffer__consume(ring);
	start = now();
	attach_remove(attachment);
	start = now() - start;
	ring_buffer__consume(ring);
	out_json(json_pack("{s:s, s:f, s:I, s:I}", "type", "detached", "seconds", start, "events",
			   (json_int_t)events, "lost", (json_int_t)skel->bss->lost));

cleanup:
	if (err)
		fprintf(stderr, "attach-sites: %s\n", why.text);
	ring_buffer__free(ring);
	hits_bpf__destroy(skel);
	images_close(images);
	target_close(t);
	g_free(sites);
	return err ? failure_exit(err) : 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * linux-aio: the kernel's AIO on a temporary file, from a coroutine for each request.  A block is
 * written, and read back in the next iteration; each completion is an eventfd of qemu_aio_context.
 */
#include "osdep.h"
#include "demo.h"
#include "linux-aio.h"

#define BLOCK  4096
#define BLOCKS 64

static struct {
	int fd;
	bool in_flight;
	unsigned writes, reads, mismatches, errors;
	uint32_t written[BLOCKS]; /* the number that fills the block */
	unsigned block;
	uint32_t data[BLOCK / sizeof(uint32_t)];
} aio;

static int coroutine_fn transfer(int type)
{
	struct iovec iov = { aio.data, BLOCK };
	QEMUIOVector qiov = { &iov, 1, BLOCK };

	return laio_co_submit(aio.fd, (uint64_t)aio.block * BLOCK, &qiov, type, 0);
}

static void coroutine_fn write_co(void *opaque G_GNUC_UNUSED)
{
	for (unsigned i = 0; i < ARRAY_SIZE(aio.data); i++)
		aio.data[i] = aio.written[aio.block];
	aio.errors += transfer(QEMU_AIO_WRITE) < 0;
	aio.writes++;
	aio.in_flight = false;
}

static void coroutine_fn read_co(void *opaque G_GNUC_UNUSED)
{
	memset(aio.data, 0xff, sizeof(aio.data));
	aio.errors += transfer(QEMU_AIO_READ) < 0;
	for (unsigned i = 0; i < ARRAY_SIZE(aio.data); i++)
		aio.mismatches += aio.data[i] != aio.written[aio.block];
	aio.reads++;
	aio.in_flight = false;
}

static void aio_stimulate(Demo *demo)
{
	/* The first poll does not sleep: sources were attached, which sets GLib's wake-up. */
	if (demo->iterations == 0)
		return;
	aio.in_flight = true;
	if (demo->iterations % 2) {
		aio.block = g_rand_int_range(demo->rand, 0, BLOCKS);
		aio.written[aio.block] = g_rand_int(demo->rand);
		qemu_coroutine_enter(qemu_coroutine_create(write_co, NULL));
	} else {
		qemu_coroutine_enter(qemu_coroutine_create(read_co, NULL));
	}
}

/* A file without a name: gone when it is closed. */
static int aio_setup(Demo *demo G_GNUC_UNUSED, Error **errp)
{
	FILE *file;
	int err;

	if (!aio_setup_linux_aio(qemu_get_aio_context(), errp))
		return -ENOSYS;
	file = tmpfile();
	aio.fd = file ? fcntl(fileno(file), F_DUPFD_CLOEXEC, 0) : -1;
	if (aio.fd < 0) {
		err = errno;
		error_setg_errno(errp, err, "cannot make a temporary file");
	} else {
		err = 0;
	}
	if (file)
		fclose(file);
	return -err;
}

static void aio_print(Demo *demo G_GNUC_UNUSED)
{
	printf("writes=%u\n", aio.writes);
	printf("reads=%u\n", aio.reads);
	printf("mismatches=%u\n", aio.mismatches);
	printf("errors=%u\n", aio.errors);
}

static void aio_teardown(Demo *demo G_GNUC_UNUSED)
{
	while (aio.in_flight)
		aio_poll(qemu_get_aio_context(), true);
	close(aio.fd);
}

const DemoScenario demo_scenarios_aio[] = {
	{
		.name = "linux-aio",
		.summary = "a file is written and read by io_submit and an eventfd",
		.setup = aio_setup,
		.stimulate = aio_stimulate,
		.print = aio_print,
		.teardown = aio_teardown,
	},
	{},
};

/* SPDX-License-Identifier: MIT */
/* The kernel's AIO in a context: results, limits, and what is seen without a system call. */
#include "loop-test.h"
#include "aio-posix.h"
#include "linux-aio.h"

static int file; /* empty at the begin of each test */
static unsigned completed;

typedef struct Transfer {
	int fd, type;
	uint64_t offset;
	char *buf;
	size_t len;
	int ret;
	void (*then)(void);
} Transfer;

static void coroutine_fn transfer_co(void *opaque)
{
	Transfer *t = opaque;
	size_t half = t->len / 2;
	struct iovec iov[2] = { { t->buf, half }, { t->buf + half, t->len - half } };
	QEMUIOVector qiov = { iov, 2, t->len };

	t->ret = laio_co_submit(t->fd, t->offset, &qiov, t->type, 0);
	completed++;
	if (t->then)
		t->then();
}

static void begin(Transfer *t)
{
	qemu_coroutine_enter(qemu_coroutine_create(transfer_co, t));
}

static void wait_for(unsigned n)
{
	while (completed < n)
		aio_poll(test_ctx, true);
}

static int transfer(int fd, int type, uint64_t offset, char *buf, size_t len)
{
	Transfer t = { .fd = fd, .type = type, .offset = offset, .buf = buf, .len = len };

	completed = 0;
	begin(&t);
	wait_for(1);
	return t.ret;
}

static void begin_test(void)
{
	g_assert_cmpint(ftruncate(file, 0), ==, 0);
	completed = 0;
}

static void test_write_read(void)
{
	char out[64] = "what was written", in[64];

	begin_test();
	g_assert_cmpint(transfer(file, QEMU_AIO_WRITE, 100, out, sizeof(out)), ==, 0);
	g_assert_cmpint(pread(file, in, sizeof(in), 100), ==, sizeof(in));
	g_assert_cmpmem(in, sizeof(in), out, sizeof(out));
	memset(in, 'x', sizeof(in));
	g_assert_cmpint(transfer(file, QEMU_AIO_READ, 100, in, sizeof(in)), ==, 0);
	g_assert_cmpmem(in, sizeof(in), out, sizeof(out));
}

static void test_beyond_the_end(void)
{
	char buf[64];

	begin_test();
	g_assert_cmpint(pwrite(file, "abc", 3, 0), ==, 3);
	memset(buf, 'x', sizeof(buf));
	g_assert_cmpint(transfer(file, QEMU_AIO_READ, 0, buf, sizeof(buf)), ==, 0);
	g_assert_cmpmem(buf, 4, "abc\0", 4);
	for (unsigned i = 3; i < sizeof(buf); i++)
		g_assert_cmpint(buf[i], ==, 0);
}

static void test_errors(void)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	char buf[16] = "";

	begin_test();
	g_assert_cmpint(transfer(null, QEMU_AIO_WRITE, 0, buf, sizeof(buf)), ==, -EBADF);
	g_assert_cmpint(transfer(-1, QEMU_AIO_READ, 0, buf, sizeof(buf)), ==, -EBADF);
	close(null);
}

/* More than the kernel takes: the rest waits, and all come to their end. */
static void test_many(void)
{
	static Transfer transfers[1500];
	static char bufs[G_N_ELEMENTS(transfers)][16];

	begin_test();
	for (unsigned i = 0; i < G_N_ELEMENTS(transfers); i++) {
		g_snprintf(bufs[i], sizeof(bufs[i]), "number %u", i);
		transfers[i] = (Transfer){ .fd = file,
					   .type = QEMU_AIO_WRITE,
					   .offset = 16 * i,
					   .buf = bufs[i],
					   .len = 16,
					   .ret = 1 };
		begin(&transfers[i]);
	}
	wait_for(G_N_ELEMENTS(transfers));
	for (unsigned i = 0; i < G_N_ELEMENTS(transfers); i++) {
		char in[16];

		g_assert_cmpint(transfers[i].ret, ==, 0);
		g_assert_cmpint(pread(file, in, 16, 16 * i), ==, 16);
		g_assert_cmpmem(in, 16, bufs[i], 16);
	}
	g_assert_cmpint(aio_compute_timeout(test_ctx), ==, -1); /* nothing is left scheduled */
}

/* What busy polling asks; the context's own notifier has an io_poll, too. */
static bool ring_has_events(void)
{
	AioHandler *node;
	bool found = false, has_events = false;

	QLIST_FOREACH (node, &test_ctx->aio_handlers, node) {
		if (node->io_poll && node->opaque != &test_ctx->notifier) {
			g_assert_false(found);
			found = true;
			has_events = node->io_poll(node->opaque);
		}
	}
	g_assert_true(found);
	return has_events;
}

static void test_peek(void)
{
	char buf[16] = "";
	Transfer t = { .fd = file, .type = QEMU_AIO_WRITE, .buf = buf, .len = sizeof(buf) };

	begin_test();
	g_assert_false(ring_has_events());
	begin(&t);
	while (!ring_has_events()) /* the kernel may take its time */
		g_usleep(100);
	g_assert_cmpuint(completed, ==, 0);
	wait_for(1);
	g_assert_false(ring_has_events());
}

/* The eventfd has been cleared, so without completion_bh this poll would not return. */
static void poll_for_the_other(void)
{
	g_assert_true(aio_poll(test_ctx, true));
	g_assert_false(ring_has_events());
	g_assert_cmpuint(completed, ==, 1); /* it is entered when we have left */
}

/* Both are in the ring when the first coroutine goes on. */
static void test_nested(void)
{
	char buf[16] = "";
	Transfer a = { .fd = file, .type = QEMU_AIO_WRITE, .buf = buf, .len = sizeof(buf) };
	Transfer b = a;

	begin_test();
	a.then = poll_for_the_other;
	begin(&a);
	begin(&b);
	g_usleep(10000);
	while (completed < 2)
		aio_poll(test_ctx, true);
	g_assert_cmpint(a.ret, ==, 0);
	g_assert_cmpint(b.ret, ==, 0);
	g_assert_cmpint(aio_compute_timeout(test_ctx), ==, -1);
}

int main(int argc, char **argv)
{
	Error *err = NULL;
	FILE *temporary;
	int ret;

	g_test_init(&argc, &argv, NULL);
	test_ctx_init();
	if (!aio_setup_linux_aio(test_ctx, &err)) {
		printf("1..0 # SKIP %s\n", error_get_pretty(err));
		error_free(err);
		return 0;
	}
	temporary = tmpfile();
	g_assert_nonnull(temporary);
	file = fileno(temporary);

	g_test_add_func("/linux-aio/writes-and-reads", test_write_read);
	g_test_add_func("/linux-aio/beyond-the-end-are-zeroes", test_beyond_the_end);
	g_test_add_func("/linux-aio/errors-are-results", test_errors);
	g_test_add_func("/linux-aio/more-than-the-kernel-takes", test_many);
	g_test_add_func("/linux-aio/ring-is-seen-without-a-system-call", test_peek);
	g_test_add_func("/linux-aio/nested-poll-takes-the-rest-of-the-ring", test_nested);
	ret = g_test_run();
	fclose(temporary);
	test_ctx_exit();
	return ret;
}

/* SPDX-License-Identifier: MIT */
/* Devices in the loop: kicks that must not get lost, a poll notifier, a server that waits. */
#include "loop-test.h"
#include <sys/socket.h>
#include <sys/un.h>
#include "iothread.h"
#include "main-loop.h"
#include "nbd-server.h"
#include "slirp.h"
#include "vhost.h"
#include "virtio.h"

/* --- virtio ------------------------------------------------------------------------------- */

static unsigned outputs, popped; /* atomic */
static uint64_t sum;
static QemuSemaphore all_popped;

#define STRESS_BUFFERS 200000

static void handle_output(void *vdev G_GNUC_UNUSED, VirtQueue *vq)
{
	uint32_t buffer;

	qatomic_inc(&outputs);
	do {
		virtio_queue_set_notification(vq, false);
		while (virtqueue_pop(vq, &buffer)) {
			sum += buffer;
			if (qatomic_fetch_inc(&popped) + 1 == STRESS_BUFFERS)
				qemu_sem_post(&all_popped);
		}
		virtio_queue_set_notification(vq, true);
	} while (!virtio_queue_empty(vq));
}

static void test_kick(void)
{
	VirtQueue *vq = virtio_add_queue(NULL, handle_output, &error_abort);

	outputs = popped = 0;
	virtio_device_start_ioeventfd(vq);
	virtio_guest_add(vq, 1);
	virtio_guest_add(vq, 2);
	main_loop_wait(true);
	g_assert_cmpuint(outputs, ==, 0); /* not kicked */
	virtio_guest_kick(vq);
	virtio_guest_kick(vq);
	main_loop_wait(false);
	g_assert_cmpuint(outputs, ==, 1);
	g_assert_cmpuint(popped, ==, 2);

	/* Switched off, the kick does not come; the buffer stays. */
	virtio_queue_set_notification(vq, false);
	virtio_guest_add(vq, 3);
	virtio_guest_kick(vq);
	main_loop_wait(true);
	g_assert_cmpuint(outputs, ==, 1);
	g_assert_false(virtio_queue_empty(vq));

	for (int i = 1; i < VIRTQUEUE_SIZE; i++)
		g_assert_true(virtio_guest_add(vq, 4));
	g_assert_false(virtio_guest_add(vq, 4)); /* full */
	virtio_device_stop_ioeventfd(vq);
	virtio_del_queue(vq);
}

/* Guest and device race for each kick.  One that is lost leaves the queue standing for ever. */
static void test_no_kick_is_lost(void)
{
	IOThread *io0 = iothread_create("io0", &error_abort);
	VirtQueue *vq = virtio_add_queue(NULL, handle_output, &error_abort);

	popped = 0;
	sum = 0;
	virtio_queue_aio_attach_host_notifier(vq, iothread_get_aio_context(io0));
	for (uint32_t i = 0; i < STRESS_BUFFERS; i++) {
		while (!virtio_guest_add(vq, i))
			g_thread_yield();
		virtio_guest_kick(vq);
	}
	qemu_sem_wait(&all_popped);
	g_assert_cmpuint(sum, ==, (uint64_t)STRESS_BUFFERS * (STRESS_BUFFERS - 1) / 2);

	virtio_queue_aio_detach_host_notifier(vq, iothread_get_aio_context(io0));
	iothread_destroy(io0);
	virtio_del_queue(vq);
}

/* --- vhost -------------------------------------------------------------------------------- */

static void test_vhost(void)
{
	vhost_dev *dev = vhost_dev_init(&error_abort);

	for (uint32_t i = 0; i < 100; i++)
		vhost_guest_add(dev, i);
	while (vhost_dev_handled(dev) < 100)
		g_usleep(100);
	main_loop_wait(true);
	main_loop_wait(true);
	g_assert_cmpuint(vhost_dev_errors(dev), ==, 0);

	vhost_guest_add(dev, VHOST_BAD_BUFFER);
	while (!vhost_dev_errors(dev))
		main_loop_wait(false);
	g_assert_cmpuint(vhost_dev_handled(dev), ==, 101);
	g_assert_cmpuint(vhost_dev_errors(dev), ==, 1);
	vhost_dev_cleanup(dev);
}

/* --- slirp -------------------------------------------------------------------------------- */

static void test_slirp(void)
{
	GArray *set = g_array_new(FALSE, FALSE, sizeof(GPollFD));
	MainLoopPoll poll = { .state = MAIN_LOOP_POLL_FILL, .timeout = UINT32_MAX, .pollfds = set };
	SlirpState s;
	int fds[2];

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), ==, 0);
	net_slirp_init(&s, fds[0]);

	/* No timer: only the descriptor. */
	s.poll_notifier.notify(&s.poll_notifier, &poll);
	g_assert_cmpuint(set->len, ==, 1);
	g_assert_cmpint(g_array_index(set, GPollFD, 0).fd, ==, fds[0]);
	g_assert_cmpuint(poll.timeout, ==, UINT32_MAX);

	/* A timer lowers the timeout, in whole milliseconds, rounded up; and never raises it. */
	s.timer_ns = qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + 3600 * NANOSECONDS_PER_SECOND;
	s.poll_notifier.notify(&s.poll_notifier, &poll);
	g_assert_cmpuint(poll.timeout, <=, 3600000);
	g_assert_cmpuint(poll.timeout, >, 3500000);
	poll.timeout = 7;
	s.poll_notifier.notify(&s.poll_notifier, &poll);
	g_assert_cmpuint(poll.timeout, ==, 7);
	s.timer_ns = 0;
	s.poll_notifier.notify(&s.poll_notifier, &poll);
	g_assert_cmpuint(poll.timeout, ==, 0);
	s.timer_ns = -1;

	/* After a failed poll the set is not looked at. */
	g_assert_cmpint(send(fds[1], "x", 1, 0), ==, 1);
	g_array_index(set, GPollFD, s.pollfds_idx).revents = G_IO_IN;
	poll.state = MAIN_LOOP_POLL_ERR;
	s.poll_notifier.notify(&s.poll_notifier, &poll);
	g_assert_cmpuint(s.packets, ==, 0);

	/* In the loop itself. */
	main_loop_wait(false);
	g_assert_cmpuint(s.packets, ==, 1);
	s.timer_ns = qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + 2 * SCALE_MS;
	while (!s.timers)
		main_loop_wait(false); /* sleeps no longer than that */
	g_assert_cmpuint(s.timers, ==, 1);

	net_slirp_cleanup(&s);
	close(fds[1]);
	g_array_free(set, TRUE);
}

/* --- a server ----------------------------------------------------------------------------- */

static QemuSemaphore slow_go;
static bool slow_begun; /* atomic */
static char *nbd_path;

static int slow(void *opaque G_GNUC_UNUSED)
{
	qatomic_set(&slow_begun, true);
	qemu_sem_wait(&slow_go);
	return 0;
}

static int nbd_client(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	g_strlcpy(addr.sun_path, nbd_path, sizeof(addr.sun_path));
	g_assert_cmpint(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
	return fd;
}

/* What there is to be read, once it is @len bytes. */
static void expect_read(int fd, const void *expected, size_t len)
{
	char buf[64];
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT | MSG_PEEK)) < (ssize_t)len) {
		g_assert_true(n != 0);
		main_loop_wait(true);
	}
	g_assert_cmpint(recv(fd, buf, sizeof(buf), 0), ==, len);
	g_assert_cmpmem(buf, len, expected, len);
}

static void test_nbd_answers(void)
{
	NBDServerData *server = nbd_server_start(nbd_path, slow, &error_abort);
	int a = nbd_client(), b = nbd_client();
	uint32_t request = 42;

	expect_read(a, NBD_GREETING, strlen(NBD_GREETING));
	expect_read(b, NBD_GREETING, strlen(NBD_GREETING));

	/* In two pieces; the other client is served meanwhile. */
	g_assert_cmpint(send(a, &request, 1, 0), ==, 1);
	main_loop_wait(true);
	g_assert_cmpint(send(b, &request, 4, 0), ==, 4);
	expect_read(b, &request, 4);
	g_assert_cmpint(send(a, (char *)&request + 1, 3, 0), ==, 3);
	expect_read(a, &request, 4);
	close(a);
	nbd_server_free(server); /* b's connection is still there */
	g_assert_cmpint(recv(b, &request, 4, 0), ==, 0);
	close(b);
	g_assert_false(g_file_test(nbd_path, G_FILE_TEST_EXISTS));
}

static void freed_meanwhile_bh(void *opaque G_GNUC_UNUSED)
{
	note("w");
	qemu_sem_post(&slow_go);
}

/* A request is with a worker: free returns when it has come back, and polls till then. */
static void test_nbd_free_waits(void)
{
	NBDServerData *server = nbd_server_start(nbd_path, slow, &error_abort);
	uint32_t request = NBD_SLOW + 1;
	int client = nbd_client();

	expect_read(client, NBD_GREETING, strlen(NBD_GREETING));
	g_assert_cmpint(send(client, &request, 4, 0), ==, 4);
	while (!qatomic_read(&slow_begun))
		main_loop_wait(true);

	/* The nested poll runs it, or nobody lets the worker go on. */
	aio_bh_schedule_oneshot(qemu_get_aio_context(), freed_meanwhile_bh, NULL);
	assert_order("");
	nbd_server_free(server);
	assert_order("w");
	g_assert_cmpint(recv(client, &request, 4, 0), ==, 0);
	close(client);
}

static void test_nbd_bad_path(void)
{
	Error *err = NULL;

	g_assert_null(nbd_server_start("/dev/null", slow, &err));
	g_assert_cmpstr(error_get_pretty(err), ==,
			"cannot listen on '/dev/null': Address already in use");
	error_free(err);
}

int main(int argc, char **argv)
{
	char *dir;
	int ret;

	g_test_init(&argc, &argv, NULL);
	bql_lock();
	qemu_init_main_loop(&error_abort);
	qemu_sem_init(&all_popped, 0);
	qemu_sem_init(&slow_go, 0);
	dir = g_dir_make_tmp("demo-test-XXXXXX", NULL);
	nbd_path = g_build_filename(dir, "nbd", NULL);

	g_test_add_func("/device/virtio/kick-brings-all-buffers", test_kick);
	g_test_add_func("/device/virtio/no-kick-is-lost", test_no_kick_is_lost);
	g_test_add_func("/device/vhost/loop-hears-of-errors-only", test_vhost);
	g_test_add_func("/device/slirp/fills-the-set-and-lowers-the-timeout", test_slirp);
	g_test_add_func("/device/nbd/answers-each-client", test_nbd_answers);
	g_test_add_func("/device/nbd/free-waits-for-requests-in-flight", test_nbd_free_waits);
	g_test_add_func("/device/nbd/path-that-cannot-be-bound", test_nbd_bad_path);
	ret = g_test_run();

	g_assert_cmpint(rmdir(dir), ==, 0);
	g_free(nbd_path);
	g_free(dir);
	bql_unlock();
	return ret;
}

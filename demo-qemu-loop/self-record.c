/* SPDX-License-Identifier: MIT */
/*
 * Recording oneself; the header says how it is used.
 *
 *   a thread of the loop             the writer thread
 *
 *   probe_...()                      take new rings, in the order of their coming
 *     take_event()                   for each ring: its events, then what it lost
 *       record_ring_put() -- ring -->  names of functions not named yet
 *                                      ctf_writer_event()
 *
 * The writer wakes by time.  Waking it would cost a thread a system call for an event.
 */
#include "osdep.h"
#include <sys/prctl.h>
#include "record-ring.h"
#include "self-fds.h"
#include "self-levels.h"
#include "self-record.h"
#include "self-symbols.h"
#include "thread.h"
#include "trace/ctf-writer.h"
#include "trace/loop_probes.h"
#include "trace/version.h"

#define ROUND_MS 5
#define FLUSH_NS (500 * 1000000ULL)
#define CODE_MAX 6 /* arguments of a probe */
#define RECENT	 1024
#define MANY	 4096 /* events of a thread, for a round that takes long */

typedef struct ThreadRing ThreadRing;

struct ThreadRing {
	RecordRing ring;
	uint32_t tid;
	bool ended;	   /* its thread will put nothing any more */
	uint64_t lost;	   /* of ring.lost, what the recording has been told */
	uint64_t last_ns;  /* of its latest event in the recording */
	char name[16];	   /* of the thread */
	ThreadRing *older; /* among the new ones */
};

static struct {
	bool begun;
	size_t buffer_bytes;
	ThreadRing *arrivals; /* any thread pushes, the writer takes them all */
	uint64_t unplaced;    /* events of threads that got no ring */
	pthread_key_t key;    /* its destructor learns that a thread ends */

	/* To and from the writer. */
	QemuThread thread;
	QemuSemaphore opened; /* posted once: open_err is set */
	QemuSemaphore wake;   /* posted once: end */
	const char *path;
	SelfRecordFailed *failed;
	int open_err;
	SelfRecordStats stats;
} self;

static __thread ThreadRing *this_ring;

/* --- in the threads of the loop ----------------------------------------------------------- */

/* Destructors of other keys may have events after this one: those get a new ring, after it. */
static void thread_ends(void *opaque)
{
	ThreadRing *ring = opaque;

	this_ring = NULL;
	qatomic_store_release(&ring->ended, true);
}

static ThreadRing *make_ring(void)
{
	ThreadRing *ring;

	if (posix_memalign((void **)&ring, __alignof__(*ring), sizeof(*ring)) != 0)
		return NULL;
	memset(ring, 0, sizeof(*ring));
	if (record_ring_init(&ring->ring, self.buffer_bytes) < 0) {
		free(ring);
		return NULL;
	}
	ring->tid = gettid();
	prctl(PR_GET_NAME, ring->name);
	pthread_setspecific(self.key, ring);
	this_ring = ring;

	do {
		ring->older = qatomic_read(&self.arrivals);
	} while (qatomic_cmpxchg(&self.arrivals, ring->older, ring) != ring->older);
	return ring;
}

static void take_event(struct loop_event *event)
{
	ThreadRing *ring = this_ring ?: make_ring();

	if (G_UNLIKELY(!ring)) {
		qatomic_inc(&self.unplaced);
		return;
	}
	event->tid = ring->tid;
	record_ring_put(&ring->ring, event);
}

/* --- in the writer: names ----------------------------------------------------------------- */

typedef struct Writer {
	struct ctf_writer *ctf;
	GPtrArray *rings; /* of ThreadRing, in the order of their coming */
	SelfSymbols *symbols;
	GHashTable *named;	 /* addresses that the recording has a symbol for */
	uint64_t recent[RECENT]; /* some of them, found faster */
	uint64_t unplaced;	 /* told */
	uint64_t flushed_ns;
	bool dirty; /* events came since */
	bool failed;

	/* By event, which of its fields are addresses of code. */
	struct {
		uint8_t n;
		uint16_t offset[CODE_MAX];
	} code[LOOP_EV_END];
} Writer;

static void note_error(Writer *w, int err)
{
	if (!err || w->failed)
		return;
	w->failed = true;
	self.failed(err);
}

static void learn_code_fields(Writer *w)
{
	for (unsigned id = 0; id < LOOP_EV_END; id++) {
		const struct loop_event_desc *desc = loop_event_desc(id);

		for (unsigned i = 0; desc && i < desc->n_fields; i++) {
			if (loop_field_is_code(&desc->fields[i]) && w->code[id].n < CODE_MAX)
				w->code[id].offset[w->code[id].n++] = desc->fields[i].offset;
		}
	}
}

static void name_address(Writer *w, uint64_t addr)
{
	uint64_t *recent = &w->recent[(addr ^ addr >> 10) % RECENT];
	struct loop_symbol symbol = { .h.id = LOOP_EV_SYMBOL, .addr = addr };
	uint64_t offset;
	char *name;

	if (*recent == addr)
		return;
	*recent = addr;
	if (!g_hash_table_add(w->named, (void *)(uintptr_t)addr))
		return;
	symbol.h.time_ns = record_clock_ns();
	name = self_symbols_name(w->symbols, addr, &offset);
	symbol.offset = offset;
	if (name)
		note_error(w, ctf_writer_text(w->ctf, &symbol.h, name));
	g_free(name);
}

static void name_thread(Writer *w, const ThreadRing *ring)
{
	struct loop_thread thread = {
		.h = { .id = LOOP_EV_THREAD, .time_ns = record_clock_ns() },
		.of_tid = ring->tid,
		.pid = getpid(),
	};

	note_error(w, ctf_writer_text(w->ctf, &thread.h, ring->name));
}

/* What it is when its handler is written down; nothing if it is closed again by then. */
static void name_fd(Writer *w, int fd)
{
	struct loop_fd record = { .h = { .id = LOOP_EV_FD, .time_ns = record_clock_ns() },
				  .fd = fd };
	char target[128];

	record.kind = self_fd_kind(fd, target, sizeof(target));
	if (record.kind)
		note_error(w, ctf_writer_text(w->ctf, &record.h, target));
}

/* --- in the writer: events ---------------------------------------------------------------- */

static void write_event(Writer *w, struct loop_event *event)
{
	for (unsigned i = 0; i < w->code[event->id].n; i++)
		name_address(w, *(uint64_t *)((char *)event + w->code[event->id].offset[i]));
	if (event->id == LOOP_EV_HANDLER_ADD)
		name_fd(w, ((const struct loop_handler_add *)event)->fd);
	if (event->id == LOOP_EV_FD_READY)
		self_level_note(event->tid, ((const struct loop_fd_ready *)event)->fd);
	/* Names and states are the recorder's, and in the order in which it writes them. */
	if (!loop_event_descs[event->id].is_probe) {
		event->tid = 0;
		event->time_ns = record_clock_ns();
	}
	note_error(w, ctf_writer_event(w->ctf, event));
}

/* The other end is the program's own affair. */
static void look_at_levels(Writer *w)
{
	uint64_t now = record_clock_ns();
	struct loop_fd_level level;

	while (self_level_next(now, &level))
		note_error(w, ctf_writer_text(w->ctf, &level.h, "a client"));
}

/* True when its thread has ended and nothing is left in it. */
static bool empty_ring(Writer *w, ThreadRing *ring)
{
	/* First of all: whatever the thread put is there then. */
	bool ended = qatomic_load_acquire(&ring->ended);
	uint64_t head = qatomic_load_acquire(&ring->ring.head), lost;
	struct loop_event *event;
	unsigned n = 0;

	/* Not beyond head: a thread that never rests must not keep us from the others. */
	while (ring->ring.tail != head && (event = record_ring_peek(&ring->ring))) {
		ring->last_ns = event->time_ns;
		write_event(w, event);
		record_ring_drop(&ring->ring, event);
		w->dirty = true;
		/* What is full takes long. */
		if (++n % MANY == 0)
			look_at_levels(w);
	}
	lost = qatomic_read(&ring->ring.lost);
	if (lost != ring->lost) {
		note_error(w,
			   ctf_writer_discard(w->ctf, ring->tid, lost - ring->lost, ring->last_ns));
		ring->lost = lost;
		w->dirty = true;
	}
	return ended;
}

static void take_arrivals(Writer *w)
{
	ThreadRing *ring = qatomic_xchg(&self.arrivals, NULL);
	unsigned first = w->rings->len;

	for (; ring; ring = ring->older)
		g_ptr_array_insert(w->rings, first, ring);
	for (unsigned i = first; i < w->rings->len; i++, self.stats.threads++)
		name_thread(w, w->rings->pdata[i]);
}

static void ring_free(ThreadRing *ring)
{
	record_ring_destroy(&ring->ring);
	free(ring);
}

/*
 * A thread's second ring, or that of another thread with the number of one that ended, comes after
 * the first has ended; so the first is written to its end before the second is looked at.
 */
static void write_round(Writer *w)
{
	uint64_t unplaced, now;

	take_arrivals(w);
	for (unsigned i = 0; i < w->rings->len;) {
		ThreadRing *ring = w->rings->pdata[i];

		if (empty_ring(w, ring)) {
			g_ptr_array_remove_index(w->rings, i);
			ring_free(ring);
		} else {
			i++;
		}
	}
	now = record_clock_ns();
	look_at_levels(w);
	unplaced = qatomic_read(&self.unplaced);
	if (unplaced != w->unplaced) {
		note_error(w, ctf_writer_discard(w->ctf, 0, unplaced - w->unplaced, now));
		w->unplaced = unplaced;
		w->dirty = true;
	}
	/* So that one who is killed leaves nearly everything. */
	if (w->dirty && now - w->flushed_ns >= FLUSH_NS) {
		note_error(w, ctf_writer_flush(w->ctf));
		w->flushed_ns = now;
		w->dirty = false;
	}
}

static int open_recording(Writer *w)
{
	char *exe = g_file_read_link("/proc/self/exe", NULL);
	char *build_id = self_build_id();
	char pid[16];
	struct ctf_env env[] = { { "tracer_name", "demo-qemu-loop" },
				 { "target_exe", exe ?: "" },
				 { "target_build_id", build_id },
				 { "target_version", LOOPSCOPE_VERSION },
				 { "target_pid", pid },
				 { NULL, NULL } };
	int err;

	snprintf(pid, sizeof(pid), "%d", getpid());
	err = ctf_writer_open(self.path, env, &w->ctf);
	g_free(build_id);
	g_free(exe);
	return err;
}

/*
 * The files are opened in a table of descriptors of this thread's own: the program's numbers are
 * what they are when it does not record itself, and "too many open files" is its own affair.  The
 * copies of its descriptors are closed, as a pipe's end held here would hide that it was closed.
 */
static void write_recording(Writer *w)
{
	struct ctf_writer_stats stats;

	if (close_range(STDERR_FILENO + 1, UINT_MAX, CLOSE_RANGE_UNSHARE) < 0)
		self.open_err = -errno;
	else
		self.open_err = open_recording(w);
	qemu_sem_post(&self.opened);
	if (self.open_err)
		return;

	w->flushed_ns = record_clock_ns();
	while (qemu_sem_timedwait(&self.wake, ROUND_MS) < 0)
		write_round(w);
	write_round(w);
	ctf_writer_end(w->ctf, record_clock_ns());
	note_error(w, ctf_writer_close(w->ctf, &stats));
	self.stats.events = stats.events;
	self.stats.lost = stats.discarded;
}

static void *writer_run(void *opaque G_GNUC_UNUSED)
{
	Writer *w = g_new0(Writer, 1);

	w->rings = g_ptr_array_new();
	w->named = g_hash_table_new(NULL, NULL);
	w->symbols = self_symbols_new();
	g_hash_table_add(w->named, NULL);
	learn_code_fields(w);
	write_recording(w);
	/* Threads that are still there keep their rings: they may just be putting something. */
	self_symbols_free(w->symbols);
	g_hash_table_destroy(w->named);
	g_ptr_array_free(w->rings, TRUE);
	g_free(w);
	return NULL;
}

/* --- begin and end ------------------------------------------------------------------------ */

#ifdef NO_PROBES
#define HAS_PROBES false
#else
#define HAS_PROBES true
#endif

int self_record_begin(const char *path, size_t buffer_bytes, SelfRecordFailed *failed, Error **errp)
{
	if (!HAS_PROBES) {
		error_setg(errp, "this program was built without probes: nothing to record");
		return -ENOTSUP;
	}
	if (self.path) {
		error_setg(errp, "a program records itself once only");
		return -EBUSY;
	}
	self.path = path;
	self.failed = failed;
	self.buffer_bytes = buffer_bytes;
	qemu_sem_init(&self.opened, 0);
	qemu_sem_init(&self.wake, 0);
	qemu_thread_create(&self.thread, "recorder", writer_run, NULL, QEMU_THREAD_JOINABLE);
	qemu_sem_wait(&self.opened);
	if (self.open_err) {
		qemu_thread_join(&self.thread);
		if (self.open_err == -ENOTEMPTY || self.open_err == -EEXIST)
			error_setg(errp,
				   "%s is not an empty directory: a recording is not overwritten",
				   path);
		else
			error_setg(errp, "cannot write to %s: %s", path, strerror(-self.open_err));
		return self.open_err;
	}
	pthread_key_create(&self.key, thread_ends);
	self.begun = true;
	make_ring();
	probe_set_sink(take_event);
	return 0;
}

bool self_record_end(SelfRecordStats *ret_stats)
{
	if (!self.begun)
		return false;
	self.begun = false;
	probe_set_sink(NULL);
	qemu_sem_post(&self.wake);
	qemu_thread_join(&self.thread);
	*ret_stats = self.stats;
	return true;
}

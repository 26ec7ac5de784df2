/* SPDX-License-Identifier: MIT */
/* Threads and their locks over pthreads; the header says how they are used. */
#include "osdep.h"
#include <sched.h>
#include "thread.h"
#include "atomic.h"
#include "futex.h"

static bool name_threads = true;

static void error_exit(int err, const char *msg)
{
	fprintf(stderr, "qemu: %s: %s\n", msg, strerror(err));
	abort();
}

#define must(call)                                                                                 \
	do {                                                                                       \
		int err_ = (call);                                                                 \
		if (err_)                                                                          \
			error_exit(err_, __func__);                                                \
	} while (0)

/* --- mutex, condition variable, semaphore ------------------------------------------------- */

void qemu_mutex_init(QemuMutex *mutex)
{
	must(pthread_mutex_init(&mutex->lock, NULL));
	mutex->initialized = true;
}

void qemu_mutex_destroy(QemuMutex *mutex)
{
	assert(mutex->initialized);
	mutex->initialized = false;
	must(pthread_mutex_destroy(&mutex->lock));
}

void qemu_mutex_lock_impl(QemuMutex *mutex, const char *file G_GNUC_UNUSED,
			  const int line G_GNUC_UNUSED)
{
	assert(mutex->initialized);
	must(pthread_mutex_lock(&mutex->lock));
}

int qemu_mutex_trylock_impl(QemuMutex *mutex, const char *file G_GNUC_UNUSED,
			    const int line G_GNUC_UNUSED)
{
	int err;

	assert(mutex->initialized);
	err = pthread_mutex_trylock(&mutex->lock);
	if (err && err != EBUSY)
		error_exit(err, __func__);
	return -err;
}

void qemu_mutex_unlock_impl(QemuMutex *mutex, const char *file G_GNUC_UNUSED,
			    const int line G_GNUC_UNUSED)
{
	assert(mutex->initialized);
	must(pthread_mutex_unlock(&mutex->lock));
}

void qemu_rec_mutex_init(QemuRecMutex *mutex)
{
	pthread_mutexattr_t attr;

	must(pthread_mutexattr_init(&attr));
	must(pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE));
	must(pthread_mutex_init(&mutex->m.lock, &attr));
	must(pthread_mutexattr_destroy(&attr));
	mutex->m.initialized = true;
}

void qemu_rec_mutex_destroy(QemuRecMutex *mutex)
{
	qemu_mutex_destroy(&mutex->m);
}

void qemu_rec_mutex_lock_impl(QemuRecMutex *mutex, const char *file, int line)
{
	qemu_mutex_lock_impl(&mutex->m, file, line);
}

int qemu_rec_mutex_trylock_impl(QemuRecMutex *mutex, const char *file, int line)
{
	return qemu_mutex_trylock_impl(&mutex->m, file, line);
}

void qemu_rec_mutex_unlock_impl(QemuRecMutex *mutex, const char *file, int line)
{
	qemu_mutex_unlock_impl(&mutex->m, file, line);
}

/* Timed waits count on CLOCK_MONOTONIC, which nobody sets back. */
void qemu_cond_init(QemuCond *cond)
{
	pthread_condattr_t attr;

	must(pthread_condattr_init(&attr));
	must(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC));
	must(pthread_cond_init(&cond->cond, &attr));
	must(pthread_condattr_destroy(&attr));
	cond->initialized = true;
}

void qemu_cond_destroy(QemuCond *cond)
{
	assert(cond->initialized);
	cond->initialized = false;
	must(pthread_cond_destroy(&cond->cond));
}

void qemu_cond_signal(QemuCond *cond)
{
	must(pthread_cond_signal(&cond->cond));
}

void qemu_cond_broadcast(QemuCond *cond)
{
	must(pthread_cond_broadcast(&cond->cond));
}

void qemu_cond_wait_impl(QemuCond *cond, QemuMutex *mutex, const char *file G_GNUC_UNUSED,
			 const int line G_GNUC_UNUSED)
{
	must(pthread_cond_wait(&cond->cond, &mutex->lock));
}

static struct timespec deadline_after_ms(int ms)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec += ms / 1000;
	ts.tv_nsec += ms % 1000 * 1000000L;
	if (ts.tv_nsec >= 1000000000L) {
		ts.tv_sec++;
		ts.tv_nsec -= 1000000000L;
	}
	return ts;
}

/* True if it was signalled (or woke for nothing) before the deadline. */
static bool cond_wait_until(QemuCond *cond, QemuMutex *mutex, const struct timespec *deadline)
{
	int err = pthread_cond_timedwait(&cond->cond, &mutex->lock, deadline);

	if (err && err != ETIMEDOUT)
		error_exit(err, __func__);
	return err == 0;
}

bool qemu_cond_timedwait_impl(QemuCond *cond, QemuMutex *mutex, int ms,
			      const char *file G_GNUC_UNUSED, const int line G_GNUC_UNUSED)
{
	struct timespec deadline = deadline_after_ms(ms);

	return cond_wait_until(cond, mutex, &deadline);
}

void qemu_sem_init(QemuSemaphore *sem, int init)
{
	assert(init >= 0);
	qemu_mutex_init(&sem->mutex);
	qemu_cond_init(&sem->cond);
	sem->count = init;
}

void qemu_sem_destroy(QemuSemaphore *sem)
{
	qemu_cond_destroy(&sem->cond);
	qemu_mutex_destroy(&sem->mutex);
}

void qemu_sem_post(QemuSemaphore *sem)
{
	qemu_mutex_lock(&sem->mutex);
	sem->count++;
	qemu_cond_signal(&sem->cond);
	qemu_mutex_unlock(&sem->mutex);
}

void qemu_sem_wait(QemuSemaphore *sem)
{
	qemu_mutex_lock(&sem->mutex);
	while (sem->count == 0)
		qemu_cond_wait(&sem->cond, &sem->mutex);
	sem->count--;
	qemu_mutex_unlock(&sem->mutex);
}

int qemu_sem_timedwait(QemuSemaphore *sem, int ms)
{
	struct timespec deadline = deadline_after_ms(ms);
	bool in_time = true;
	int ret = -1;

	qemu_mutex_lock(&sem->mutex);
	while (sem->count == 0 && in_time)
		in_time = cond_wait_until(&sem->cond, &sem->mutex, &deadline);
	if (sem->count > 0) {
		sem->count--;
		ret = 0;
	}
	qemu_mutex_unlock(&sem->mutex);
	return ret;
}

/* --- event -------------------------------------------------------------------------------- */

/* BUSY is FREE with sleepers: only then does setting it need a system call. */
enum {
	EVENT_SET = 0,
	EVENT_FREE = 1,
	EVENT_BUSY = 2,
};

void qemu_event_init(QemuEvent *ev, bool init)
{
	ev->value = init ? EVENT_SET : EVENT_FREE;
	ev->initialized = true;
}

void qemu_event_destroy(QemuEvent *ev)
{
	assert(ev->initialized);
	ev->initialized = false;
}

void qemu_event_set(QemuEvent *ev)
{
	assert(ev->initialized);
	if (qatomic_xchg(&ev->value, EVENT_SET) == EVENT_BUSY)
		qemu_futex_wake(&ev->value, INT_MAX);
}

/* A sleeper is not woken and BUSY stays BUSY: somebody still has to wake it. */
void qemu_event_reset(QemuEvent *ev)
{
	assert(ev->initialized);
	qatomic_cmpxchg(&ev->value, EVENT_SET, EVENT_FREE);
}

void qemu_event_wait(QemuEvent *ev)
{
	assert(ev->initialized);
	while (qatomic_load_acquire(&ev->value) != EVENT_SET) {
		if (qatomic_cmpxchg(&ev->value, EVENT_FREE, EVENT_BUSY) != EVENT_SET)
			qemu_futex_wait(&ev->value, EVENT_BUSY);
	}
}

/* --- threads ------------------------------------------------------------------------------ */

static __thread NotifierList thread_exit;
static pthread_key_t thread_exit_key;
static pthread_once_t thread_exit_once = PTHREAD_ONCE_INIT;

static void thread_exit_run(void *list)
{
	notifier_list_notify(list, NULL);
}

static void thread_exit_init(void)
{
	must(pthread_key_create(&thread_exit_key, thread_exit_run));
}

void qemu_thread_atexit_add(Notifier *notifier)
{
	must(pthread_once(&thread_exit_once, thread_exit_init));
	must(pthread_setspecific(thread_exit_key, &thread_exit));
	notifier_list_add(&thread_exit, notifier);
}

void qemu_thread_atexit_remove(Notifier *notifier)
{
	notifier_remove(notifier);
}

typedef struct {
	void *(*start_routine)(void *);
	void *arg;
	char *name;
} QemuThreadArgs;

static void *qemu_thread_start(void *opaque)
{
	QemuThreadArgs args = *(QemuThreadArgs *)opaque;

	g_free(opaque);
	if (args.name) {
		char comm[16];

		g_strlcpy(comm, args.name, sizeof(comm));
		pthread_setname_np(pthread_self(), comm);
		g_free(args.name);
	}
	return args.start_routine(args.arg);
}

void qemu_thread_create(QemuThread *thread, const char *name, void *(*start_routine)(void *),
			void *arg, int mode)
{
	QemuThreadArgs *args = g_new(QemuThreadArgs, 1);
	sigset_t all, old;
	pthread_attr_t attr;

	*args = (QemuThreadArgs){
		.start_routine = start_routine,
		.arg = arg,
		.name = name_threads ? g_strdup(name) : NULL,
	};

	must(pthread_attr_init(&attr));
	if (mode == QEMU_THREAD_DETACHED)
		must(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED));

	/* The mask is inherited, so the thread never runs with a signal open.  Faults of its own
	 * stay open: blocking those is undefined. */
	sigfillset(&all);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	must(pthread_create(&thread->thread, &attr, qemu_thread_start, args));
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
}

void *qemu_thread_join(QemuThread *thread)
{
	void *ret;

	must(pthread_join(thread->thread, &ret));
	return ret;
}

void qemu_thread_get_self(QemuThread *thread)
{
	thread->thread = pthread_self();
}

bool qemu_thread_is_self(QemuThread *thread)
{
	return pthread_equal(pthread_self(), thread->thread);
}

void qemu_thread_exit(void *retval)
{
	pthread_exit(retval);
}

void qemu_thread_naming(bool enable)
{
	name_threads = enable;
}

int qemu_get_thread_id(void)
{
	return gettid();
}

/* --- CPUs --------------------------------------------------------------------------------- */

#define BITS_PER_LONG (CHAR_BIT * sizeof(unsigned long))

int qemu_thread_set_affinity(QemuThread *thread, unsigned long *host_cpus, unsigned long nbits)
{
	size_t size = CPU_ALLOC_SIZE(nbits);
	cpu_set_t *set = CPU_ALLOC(nbits);
	int err;

	CPU_ZERO_S(size, set);
	for (unsigned long cpu = 0; cpu < nbits; cpu++) {
		if (host_cpus[cpu / BITS_PER_LONG] >> (cpu % BITS_PER_LONG) & 1)
			CPU_SET_S(cpu, size, set);
	}
	err = pthread_setaffinity_np(thread->thread, size, set);
	CPU_FREE(set);
	return -err;
}

/* The kernel refuses a set that is smaller than its own, whose size it does not tell. */
int qemu_thread_get_affinity(QemuThread *thread, unsigned long **host_cpus, unsigned long *nbits)
{
	unsigned long n = CPU_SETSIZE;
	cpu_set_t *set = CPU_ALLOC(n);
	int err;

	while ((err = pthread_getaffinity_np(thread->thread, CPU_ALLOC_SIZE(n), set)) == EINVAL) {
		CPU_FREE(set);
		n *= 2;
		set = CPU_ALLOC(n);
	}
	if (!err) {
		*nbits = n;
		*host_cpus = g_new0(unsigned long, DIV_ROUND_UP(n, BITS_PER_LONG));
		for (unsigned long cpu = 0; cpu < n; cpu++) {
			if (CPU_ISSET_S(cpu, CPU_ALLOC_SIZE(n), set))
				(*host_cpus)[cpu / BITS_PER_LONG] |= 1UL << (cpu % BITS_PER_LONG);
		}
	}
	CPU_FREE(set);
	return -err;
}

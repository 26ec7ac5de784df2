// SPDX-License-Identifier: MIT
/*
 * TIMER LATE: a loop is alive, and its timers come late all the same.
 *
 * The first timer of each list is looked at every few ms. One that is overdue while its thread is
 * in callbacks is late already, whenever it will run. Once is nothing; said is what happens again
 * and again, to timers of different expiries, with the loop turning between them. Time does not
 * count in which the thread wanted a CPU and got none, or waited for a lock: that is not what its
 * callbacks do. Neither does a sleep in a poll (LOST WAKEUP, NESTED WAIT). A loop with a finding
 * already has late timers for that reason, and nothing is said here.
 */
#include <string.h>

#include "tracer/clock.h"
#include "tracer/doctor-glib.h"
#include "tracer/out.h"

#define LATE_NS	   (20 * 1000000LL)
#define RUNNING_NS (20 * 1000000LL) /* of one that runs: it may have been in a queue just now */
#define AGAIN_NS   (50 * 1000000LL) /* between stacks */
#define MIN_TIMES  4		    /* expiries that were late */
#define MIN_SHARE  5		    /* one look in so many */
#define MAX_STACKS 10
#define TAKE_MS	   30
#define N_CLOCKS   4

/* QEMU's clocks whose time is known from outside. */
enum { CLOCK_REALTIME_OF_QEMU = 0, CLOCK_HOST_OF_QEMU = 2 };
enum { NR_FUTEX = 202 };

/* A list of timers, and what the looks at it found. */
struct list {
	uint64_t addr, ctx; /* ctx 0: main_loop_tlg */
	bool glib;	    /* no list: the sources of the GMainContext at addr */
	int clock;
	int looks, late_looks;
	int times[2]; /* late expiries, in each half of the visit */
	uint64_t timer;
	int64_t expire_ns; /* the last late one */
	uint64_t first_turn, last_turn;
	int64_t worst_ns;
	uint64_t worst, worst_cb;
	int64_t stack_ns;
	int stacks;
	GHashTable *seen; /* name of a callback -> in how many stacks */
};

struct late {
	GPtrArray *lists; /* struct list */
};

static void list_free(void *data)
{
	struct list *list = data;

	g_hash_table_destroy(list->seen);
	g_free(list);
}

struct late *late_new(void)
{
	struct late *late = g_new0(struct late, 1);

	late->lists = g_ptr_array_new_with_free_func(list_free);
	return late;
}

void late_free(struct late *late)
{
	if (late)
		g_ptr_array_free(late->lists, TRUE);
	g_free(late);
}

/* --- the lists ------------------------------------------------------------------------------ */

static struct list *add_list(struct late *late, uint64_t addr, uint64_t ctx, int clock)
{
	struct list *list;

	for (size_t i = 0; i < late->lists->len; i++)
		if (((struct list *)late->lists->pdata[i])->addr == addr)
			return late->lists->pdata[i];
	list = g_new0(struct list, 1);
	list->addr = addr;
	list->ctx = ctx;
	list->clock = clock;
	list->seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	g_ptr_array_add(late->lists, list);
	return list;
}

static void add_group(struct doctor *d, uint64_t tlg, uint64_t ctx)
{
	static const int clocks[] = { CLOCK_REALTIME_OF_QEMU, CLOCK_HOST_OF_QEMU };
	uint64_t addr;

	for (size_t i = 0; i < G_N_ELEMENTS(clocks); i++)
		if (!target_read_u64(d->t, tlg + sizeof(addr) * clocks[i], &addr) && addr)
			add_list(d->late, addr, ctx, clocks[i]);
}

void late_find_lists(struct doctor *d)
{
	uint64_t main_loop = doctor_function(d, "main_loop_tlg");

	for (size_t i = 0; glib_only(d) && i < d->loops->gcontexts->len; i++) {
		const struct loop_gcontext *g = d->loops->gcontexts->pdata[i];

		add_list(d->late, g->addr, g->addr, CLOCK_REALTIME_OF_QEMU)->glib = true;
	}
	if (d->l->off[CTX_TLG] < 0 || d->l->off[TL_ACTIVE] < 0 || d->l->off[TIMER_EXPIRE] < 0)
		return;
	if (main_loop)
		add_group(d, main_loop, 0);
	for (size_t i = 0; i < d->loops->contexts->len; i++) {
		const struct context *c = d->loops->contexts->pdata[i];

		add_group(d, c->addr + d->l->off[CTX_TLG], c->addr);
	}
}

static const struct context *context_of(const struct doctor *d, const struct list *list)
{
	for (size_t i = 0; list->ctx && i < d->loops->contexts->len; i++) {
		const struct context *c = d->loops->contexts->pdata[i];

		if (c->addr == list->ctx)
			return c;
	}
	return NULL;
}

static struct patient *home_of(struct doctor *d, const struct list *list)
{
	const struct context *c = context_of(d, list);
	const struct loop_gcontext *g = list->glib ? loops_gcontext(d->loops, list->addr) : NULL;

	if (list->glib)
		return g ? glib_home(d, g) : NULL;
	if (!list->ctx)
		return doctor_patient(d, d->t->pid);
	return c ? doctor_home(d, c) : NULL;
}

/* --- looking -------------------------------------------------------------------------------- */

static void note_past(struct patient *p)
{
	p->past[p->n_past++ % PAST_LOOKS] =
		(struct past){ now_ns(), p->now.run_ns, p->now.delay_ns };
}

/* How much of the time since @since_ns its thread had in its own hands; what is not known is not.
 */
static int64_t own_ns(const struct patient *p, int64_t since_ns)
{
	const struct past *from = NULL;
	int64_t ns;

	for (unsigned i = 0; i < MIN(p->n_past, PAST_LOOKS); i++) {
		const struct past *past = &p->past[(p->n_past - 1 - i) % PAST_LOOKS];

		from = past;
		if (past->at_ns <= since_ns)
			break;
	}
	if (!from)
		return 0;
	ns = now_ns() - MAX(since_ns, from->at_ns) - (int64_t)(p->now.delay_ns - from->delay_ns);
	if (p->now.state != 'R')
		return ns;
	/* A queue is counted only when it ends: of one that is ready to run, what it did run
	 * counts. */
	return MIN(ns - RUNNING_NS, (int64_t)(p->now.run_ns - from->run_ns));
}

/* The first timer of the list: when it is due, and its callback. */
static bool read_first(const struct doctor *d, const struct list *list, uint64_t *ret_timer,
		       int64_t *ret_expire, uint64_t *ret_cb)
{
	const struct layout *l = d->l;
	uint64_t head = list->addr + l->off[TL_ACTIVE], timer, again, of, expire, cb = 0;

	if (list->glib)
		return glib_first_due(d, list->addr, ret_timer, ret_expire, ret_cb);
	if (target_read_u64(d->t, head, &timer) || !timer ||
	    target_read_u64(d->t, timer + l->off[TIMER_EXPIRE], &expire) ||
	    target_read_u64(d->t, timer + l->off[TIMER_CB], &cb) ||
	    (l->off[TIMER_LIST] >= 0 &&
	     (target_read_u64(d->t, timer + l->off[TIMER_LIST], &of) || of != list->addr)) ||
	    target_read_u64(d->t, head, &again) || again != timer || (int64_t)expire < 0)
		return false;
	*ret_timer = timer;
	*ret_expire = (int64_t)expire;
	*ret_cb = cb;
	return true;
}

/* When it was due, on our clock. */
static int64_t due_ns(const struct list *list, int64_t expire_ns)
{
	if (list->clock == CLOCK_HOST_OF_QEMU)
		return expire_ns - g_get_real_time() * 1000 + now_ns();
	return expire_ns;
}

/* Who has it out of its callbacks: the poll, or a lock. */
static bool is_elsewhere(const struct patient *p)
{
	return p->now.state != 'R' &&
	       (p->now.state == 'T' || is_wait_call(p->now.nr) || p->now.nr == NR_FUTEX);
}

static void take_stack(struct doctor *d, struct list *list, const struct patient *p)
{
	struct stack stack;
	struct where w;
	char *name;

	if (list->stacks == MAX_STACKS || now_ns() - list->stack_ns < AGAIN_NS)
		return;
	list->stack_ns = now_ns();
	if (stacks_take(d->stacks, p->tid, TAKE_MS, &stack, NULL))
		return;
	doctor_where(d, &stack, &w);
	if (w.machine < 0)
		return;
	list->stacks++;
	if (w.callback < 0)
		return;
	name = doctor_callback_name(d, stack.frames[w.callback].function, &stack);
	g_hash_table_insert(
		list->seen, name,
		GINT_TO_POINTER(GPOINTER_TO_INT(g_hash_table_lookup(list->seen, name)) + 1));
}

static void look_at(struct doctor *d, struct list *list, int64_t visit_ns)
{
	struct watch_thread w = { 0 };
	int64_t expire, late_ns;
	uint64_t timer, cb;
	struct patient *p;

	/* Looks that decide nothing are not counted. */
	if (!read_first(d, list, &timer, &expire, &cb) ||
	    now_ns() - due_ns(list, expire) < LATE_NS) {
		list->looks++;
		return;
	}
	p = home_of(d, list);
	if (!p || is_elsewhere(p))
		return;
	late_ns = own_ns(p, due_ns(list, expire));
	if (late_ns < LATE_NS || !watch_read_thread(d->watch, p->tid, &w))
		return;
	list->looks++;
	list->late_looks++;
	list->last_turn = w.turns;
	if (!list->timer)
		list->first_turn = w.turns;
	if (timer != list->timer || expire != list->expire_ns)
		list->times[now_ns() - d->start_ns > visit_ns / 2]++;
	list->timer = timer;
	list->expire_ns = expire;
	if (late_ns > list->worst_ns) {
		list->worst_ns = late_ns;
		list->worst = timer;
		list->worst_cb = cb;
	}
	take_stack(d, list, p);
}

void late_sample(struct doctor *d, int64_t visit_ns)
{
	for (size_t i = 0; i < d->patients->len; i++)
		note_past(d->patients->pdata[i]);
	for (size_t i = 0; i < d->late->lists->len; i++)
		look_at(d, d->late->lists->pdata[i], visit_ns);
}

/* --- verdict -------------------------------------------------------------------------------- */

/* The callback that most stacks show, if they are half of them. */
static const char *most_seen(const struct list *list, int *ret_n)
{
	const char *name, *most = NULL;
	GHashTableIter iter;
	void *count;

	*ret_n = 0;
	g_hash_table_iter_init(&iter, list->seen);
	while (g_hash_table_iter_next(&iter, (void **)&name, &count)) {
		if (GPOINTER_TO_INT(count) <= *ret_n)
			continue;
		*ret_n = GPOINTER_TO_INT(count);
		most = name;
	}
	return 2 * *ret_n >= list->stacks ? most : NULL;
}

static bool is_late(const struct list *list)
{
	int times = list->times[0] + list->times[1];

	return times >= MIN_TIMES && list->times[0] && list->times[1] &&
	       list->late_looks * MIN_SHARE >= list->looks &&
	       list->last_turn - list->first_turn + 1 >= (uint64_t)times;
}

bool late_is_undecided(const struct doctor *d)
{
	for (size_t i = 0; i < d->late->lists->len; i++) {
		const struct list *list = d->late->lists->pdata[i];

		if (list->late_looks && list->late_looks * MIN_SHARE >= list->looks &&
		    !is_late(list))
			return true;
	}
	return false;
}

/* "timer foo"; of a GMainContext "GSource "clock" (foo)". To be freed. */
static char *timer_name(const struct doctor *d, const struct list *list)
{
	const struct loop_source *s = list->glib ? glib_source_at(d, list->worst, NULL) : NULL;
	char *function, *text;

	if (s)
		return glib_source_name(d, s);
	function = images_name(d->images, list->worst_cb);
	text = g_strdup_printf("%s %s", list->glib ? "timeout" : "timer", function);
	g_free(function);
	return text;
}

static void conclude(struct doctor *d, const struct list *list)
{
	int times = list->times[0] + list->times[1], n;
	const struct context *c = context_of(d, list);
	char *name, *worst, *of;
	const char *before;
	struct patient *p;
	struct finding *f;

	if (!is_late(list))
		return;
	p = home_of(d, list);
	if (!p || p->spins || doctor_has_finding(d, p->tid, NULL))
		return;
	f = finding_new(d, "TIMER LATE", p);
	before = most_seen(list, &n);
	name = timer_name(d, list);
	worst = out_duration(list->worst_ns);
	if (list->glib)
		of = glib_context_name(loops_gcontext(d->loops, list->addr));
	else
		of = g_strdup(c ? c->name : "main_loop_tlg");
	f->span = g_strdup_printf("by up to %s", worst);
	f->culprit = g_strdup_printf("%s of %s comes late%s%s", name, of, before ? ", behind " : "",
				     before ?: "");
	finding_say(f, "overdue by more than %lld ms in %d of %d looks, at %d expiries",
		    LATE_NS / 1000000, list->late_looks, list->looks, times);
	finding_say(f,
		    "the loop turned %llu times meanwhile: its thread is in callbacks, and no one "
		    "call is long enough to be the cause",
		    (unsigned long long)(list->last_turn - list->first_turn));
	if (before)
		finding_say(f, "%d of %d stacks taken while one was overdue show %s", n,
			    list->stacks, before);
	f->advice = "Short callbacks add up, and timers come after them in each iteration: do less "
		    "in one iteration, or move the work to a thread.";
	g_free(name);
	g_free(worst);
	g_free(of);
}

void late_conclude(struct doctor *d)
{
	for (size_t i = 0; i < d->late->lists->len; i++)
		conclude(d, d->late->lists->pdata[i]);
}

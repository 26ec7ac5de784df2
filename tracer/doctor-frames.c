// SPDX-License-Identifier: MIT
/*
 * Which callback is a stack in? The loop's own functions call each other directly and call
 * callbacks through a pointer. So from the innermost function that is known by name to be the
 * loop's, follow direct calls (to static functions without a name); what is called through a
 * pointer is the callback. It needs no symbol of the callback and no table, and serves where a
 * bottom half or timer that runs is on no list any more.
 */
#include <inttypes.h>
#include <string.h>

#include "tracer/code.h"
#include "tracer/doctor.h"

#define MAX_WAIT_FRAMES 5 /* from the system call up to aio_poll() */
#define MAX_HELPERS	4 /* static functions between a known one and the callback */

/* QEMU's by their names since 2.x, and GLib's. Static ones help where there are symbols. */
static const char *const machinery[] = {
	"aio_bh_call",
	"aio_bh_poll",
	"aio_ctx_check",
	"aio_ctx_dispatch",
	"aio_ctx_prepare",
	"aio_dispatch",
	"aio_dispatch_handler",
	"aio_dispatch_handlers",
	"aio_dispatch_ready_handlers",
	"aio_poll",
	"g_main_context_dispatch",
	"g_main_context_dispatch_unlocked",
	"g_main_context_iterate",
	"g_main_context_iteration",
	"g_main_dispatch",
	"g_main_loop_run",
	"glib_pollfds_poll",
	"main_loop_wait",
	"os_host_main_loop_wait",
	"qemu_clock_run_all_timers",
	"qemu_clock_run_timers",
	"run_poll_handlers",
	"run_poll_handlers_once",
	"timerlist_run_timers",
	"timerlistgroup_run_timers",
	"try_poll_mode",
};

/* Of these, the ones that wait by themselves. */
static const char *const waiting[] = {
	"aio_poll",
	"g_main_context_iterate",
	"g_main_context_iteration",
	"g_main_loop_run",
	"glib_pollfds_poll",
	"main_loop_wait",
	"os_host_main_loop_wait",
};

static const char *const bql_functions[] = {
	"bql_lock",
	"bql_lock_impl",
	"qemu_mutex_lock_iothread",
	"qemu_mutex_lock_iothread_impl",
	"replay_mutex_lock",
};

static bool is_one_of(const char *name, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(name, list[i]))
			return true;
	return false;
}

/* The symbol of the frame's function, or NULL. A clone ("aio_poll.part.0") counts as what it is of.
 */
static char *symbol_of(const struct doctor *d, const struct frame *f)
{
	struct image *img = f->function ? images_at(d->images, f->function) : NULL;
	const struct symbol *symbol = img ? image_symbol_at(img, f->function - img->bias) : NULL;

	if (!symbol || symbol->link != f->function - img->bias)
		return NULL;
	return g_strndup(symbol->name, strcspn(symbol->name, "."));
}

static bool is_machinery(const struct doctor *d, const struct frame *f)
{
	char *name = symbol_of(d, f);
	bool is = name && is_one_of(name, machinery, G_N_ELEMENTS(machinery));

	g_free(name);
	return is;
}

/*
 * The call that @f has to come back from: through a pointer, or to *ret_target (a run address).
 * Decoded from the function's start, as bytes before an address do not tell where an instruction
 * begins. The PLT's pointers are no pointers.
 */
static bool calls_by_pointer(const struct doctor *d, const struct frame *f, uint64_t *ret_target)
{
	struct image *img = images_at(d->images, f->pc);
	csh cs = img && f->function ? code_decoder() : 0;
	uint64_t at = img ? f->function - img->bias : 0;
	bool by_pointer = false;
	const uint8_t *code;
	cs_insn *insn;
	size_t len;

	*ret_target = 0;
	if (!cs)
		return false;
	insn = cs_malloc(cs);
	code = image_bytes(img, at, &len);
	while (code && at < f->pc - img->bias && cs_disasm_iter(cs, &code, &len, &at, insn)) {
		const cs_x86_op *op = &insn->detail->x86.operands[0];
		bool call = insn->id == X86_INS_CALL;

		*ret_target = call && op->type == X86_OP_IMM ? (uint64_t)op->imm + img->bias : 0;
		by_pointer = call && op->type != X86_OP_IMM &&
			     !(op->type == X86_OP_MEM && op->mem.base == X86_REG_RIP);
	}
	by_pointer &= at == f->pc - img->bias;
	cs_free(insn, 1);
	cs_close(&cs);
	return by_pointer;
}

/* aio_bh_call() may end in a jump to the callback: then it leaves no frame. */
static bool is_bh_call(const struct doctor *d, uint64_t function)
{
	return function && function == doctor_function(d, "aio_bh_call");
}

/* From the machinery's frame inwards. */
static void follow(const struct doctor *d, const struct stack *stack, struct where *w)
{
	for (int i = w->machine; i > 0 && w->machine - i <= MAX_HELPERS; i--) {
		const struct frame *below = &stack->frames[i - 1];
		char *name = symbol_of(d, below);
		bool named = name != NULL;
		uint64_t target;

		w->for_bql = named && is_one_of(name, bql_functions, G_N_ELEMENTS(bql_functions));
		g_free(name);
		if (w->for_bql)
			return;
		if (calls_by_pointer(d, &stack->frames[i], &target) ||
		    (is_bh_call(d, target) && below->function != target)) {
			w->callback = i - 1;
			return;
		}
		/* It calls something else by its name: the loop's own work. */
		if (named && i < w->machine)
			return;
	}
}

/* What the machinery's frame is there to call. */
static const char *kind_called_by(const struct doctor *d, const struct frame *f)
{
	char *name = symbol_of(d, f);
	const char *kind = "callback";

	if (g_str_has_prefix(name, "aio_bh_"))
		kind = "BH";
	else if (strstr(name, "timer"))
		kind = "timer";
	else if (g_str_has_prefix(name, "aio_"))
		kind = "handler";
	else if (g_str_has_prefix(name, "g_main_"))
		kind = "GSource callback";
	else if (strstr(name, "poll"))
		kind = "io_poll";
	g_free(name);
	return kind;
}

/* The callback that the machinery's frame called. */
static void find_callback(struct doctor *d, const struct stack *stack, struct where *ret)
{
	follow(d, stack, ret);
	if (ret->callback < 0)
		return;
	/* A GSource's dispatch() is an adapter: what it calls in turn is the callback, if known. */
	if (ret->callback > 0 &&
	    !g_strcmp0(doctor_kind_of(d, stack->frames[ret->callback].function),
		       "dispatch function")) {
		uint64_t inner = stack->frames[ret->callback - 1].function;

		if (doctor_kind_of(d, inner))
			ret->callback--;
	}
	doctor_learn(d, stack->frames[ret->callback].function,
		     kind_called_by(d, &stack->frames[ret->machine]));
}

bool doctor_is_loop(const struct doctor *d, const struct stack *stack)
{
	for (int i = 0; i < stack->n; i++)
		if (is_machinery(d, &stack->frames[i]))
			return true;
	return false;
}

/*
 * The function that waits may be called through a pointer too: an fd monitor's, a GMainContext's
 * poll function. It is near the system call, and no table names it as a callback.
 */
bool doctor_is_own_wait(const struct doctor *d, const struct stack *stack)
{
	int poll = -1;

	if (!is_wait_call(stack->thread.nr) || stack->thread.state != 'S')
		return false;
	for (int i = 0; i < stack->n; i++) {
		struct where w = { .machine = i, .callback = -1 };
		bool waits;
		char *name;

		if (!is_machinery(d, &stack->frames[i]))
			continue;
		name = symbol_of(d, &stack->frames[i]);
		waits = is_one_of(name, waiting, G_N_ELEMENTS(waiting));
		g_free(name);
		if (poll < 0 && (!waits || i > MAX_WAIT_FRAMES))
			return false;
		if (poll < 0)
			poll = i;
		follow(d, stack, &w);
		if (w.callback > poll ||
		    (w.callback >= 0 && doctor_kind_of(d, stack->frames[w.callback].function)))
			return false;
	}
	return poll >= 0;
}

void doctor_where(struct doctor *d, const struct stack *stack, struct where *ret)
{
	*ret = (struct where){ .machine = -1, .callback = -1 };
	for (int i = 0; i < stack->n && ret->machine < 0; i++)
		if (is_machinery(d, &stack->frames[i]))
			ret->machine = i;
	if (ret->machine < 0)
		return;
	find_callback(d, stack, ret);
	if (ret->callback < 0)
		return;
	ret->busy_polling =
		!g_strcmp0(doctor_kind_of(d, stack->frames[ret->callback].function), "io_poll");
}

static bool is_called(const struct doctor *d, const struct frame *f, const char *name)
{
	char *symbol = symbol_of(d, f);
	bool is = symbol && !strcmp(symbol, name);

	g_free(symbol);
	return is;
}

/* A main thread may also wait before its loop begins, or after it: then by one of these. */
static bool waits_by_itself(const struct doctor *d, const struct frame *f)
{
	static const char *const prefixes[] = { "bdrv_", "blk_",	 "blockdev_",
						"job_",	 "qemu_cleanup", "qemu_init" };
	char *name = symbol_of(d, f);
	bool is = false;

	for (size_t i = 0; name && i < G_N_ELEMENTS(prefixes); i++)
		is |= g_str_has_prefix(name, prefixes[i]);
	g_free(name);
	return is;
}

bool doctor_nest(struct doctor *d, pid_t tid, const struct stack *stack, struct nest *ret)
{
	struct nest nest = { .poll = -1, .callback = -1 };
	struct where outer = { .machine = -1, .callback = -1 };
	bool by_itself = false;

	for (int i = 0; i < stack->n; i++) {
		const struct frame *f = &stack->frames[i];

		if (nest.poll < 0 && is_machinery(d, f)) {
			if (i > MAX_WAIT_FRAMES || !is_called(d, f, "aio_poll"))
				return false;
			nest.poll = i;
			nest.depth = 1;
		} else if (nest.poll >= 0 && is_machinery(d, f)) {
			if (outer.machine < 0)
				outer.machine = i;
			nest.glib_loop = !is_called(d, f, "aio_poll");
			nest.depth += !nest.glib_loop;
		} else if (nest.poll >= 0 && outer.machine < 0) {
			by_itself |= tid == d->t->pid && waits_by_itself(d, f);
		}
	}
	if (nest.poll < 0 || (outer.machine < 0 && !by_itself))
		return false;
	if (outer.machine >= 0 && !nest.glib_loop)
		nest.depth--; /* the outermost is the loop */
	if (outer.machine >= 0)
		find_callback(d, stack, &outer);
	if (outer.callback > nest.poll)
		nest.callback = outer.callback;
	*ret = nest;
	return true;
}

/*
 * From the wait outwards: the loop's own functions, of which the last is who runs it; and, for a
 * nested one, some function of another loop further out that called a callback in between.
 */
bool doctor_glib_nest(struct doctor *d, const struct stack *stack, struct nest *ret)
{
	struct nest nest = { .poll = -1, .callback = -1 };

	for (int i = 0; i < stack->n && nest.callback < 0; i++) {
		struct where w = { .machine = i, .callback = -1 };
		const struct frame *f = &stack->frames[i];
		bool glib;

		if (!is_machinery(d, f))
			continue;
		glib = is_called(d, f, "g_main_loop_run") ||
		       is_called(d, f, "g_main_context_iteration") ||
		       is_called(d, f, "g_main_context_iterate");
		if (nest.poll < 0 && (!glib || i > MAX_WAIT_FRAMES))
			return false;
		if (nest.poll >= 0)
			find_callback(d, stack, &w);
		if (w.callback > nest.poll)
			nest.callback = w.callback;
		else if (glib)
			nest.poll = i;
	}
	*ret = nest;
	return nest.callback >= 0;
}

uint64_t doctor_function(const struct doctor *d, const char *name)
{
	const struct image *img = images_program(d->images);
	const struct symbol *symbol = image_symbol(img, name);

	return symbol ? symbol->link + img->bias : 0;
}

char *frame_name(const struct doctor *d, const struct frame *f)
{
	return images_name(d->images, f->function ? f->function : f->pc);
}

bool stack_holds(const struct stack *stack, uint64_t function)
{
	for (int i = 0; i < stack->n; i++)
		if (function && stack->frames[i].function == function)
			return true;
	return false;
}

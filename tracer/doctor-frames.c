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
#include "tracer/text.h"

#define STACK_WORDS 2048
#define STACK_CHUNK 64
#define MAX_HELPERS 4 /* static functions between a known one and the callback */

/* QEMU's by their names since 2.x, and GLib's. Static ones help where there are symbols. */
static const char *const machinery[] = {
	"aio_bh_call",
	"aio_bh_poll",
	"aio_ctx_dispatch",
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
	const struct image *img = images_program(d->images);
	const struct symbol *symbol = image_symbol(img, "aio_bh_call");

	return symbol && function == symbol->link + img->bias;
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

static const char *kind_of(const struct doctor *d, uint64_t callback)
{
	return g_hash_table_lookup(d->callbacks, &callback);
}

static void learn(struct doctor *d, uint64_t addr, const char *kind)
{
	uint64_t *key;

	if (!addr || g_hash_table_contains(d->callbacks, &addr))
		return;
	key = g_new(uint64_t, 1);
	*key = addr;
	g_hash_table_insert(d->callbacks, key, (void *)kind);
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

void doctor_where(struct doctor *d, const struct stack *stack, struct where *ret)
{
	*ret = (struct where){ .machine = -1, .callback = -1 };
	for (int i = 0; i < stack->n && ret->machine < 0; i++)
		if (is_machinery(d, &stack->frames[i]))
			ret->machine = i;
	if (ret->machine < 0)
		return;
	follow(d, stack, ret);
	if (ret->callback < 0)
		return;
	/* A GSource's dispatch() is an adapter: what it calls in turn is the callback, if known. */
	if (ret->callback > 0 &&
	    !g_strcmp0(kind_of(d, stack->frames[ret->callback].function), "dispatch function")) {
		uint64_t inner = stack->frames[ret->callback - 1].function;

		if (kind_of(d, inner))
			ret->callback--;
	}
	learn(d, stack->frames[ret->callback].function,
	      kind_called_by(d, &stack->frames[ret->machine]));
	ret->busy_polling =
		!g_strcmp0(kind_of(d, stack->frames[ret->callback].function), "io_poll");
}

char *frame_name(const struct doctor *d, const struct frame *f)
{
	return images_name(d->images, f->function ? f->function : f->pc);
}

static bool read_name(const struct doctor *d, uint64_t addr, char *name, size_t size)
{
	return addr && !target_read_string(d->t, addr, name, size) && text_is_identifier(name);
}

/* A bottom half that runs is on no list, but somewhere on the stack lies its address. */
static bool name_on_stack(const struct doctor *d, uint64_t callback, uint64_t sp, char *name,
			  size_t size)
{
	const struct layout *l = d->l;
	uint64_t words[STACK_CHUNK], cb, addr;

	if (l->off[BH_CB] < 0 || l->off[BH_NAME] < 0)
		return false;
	for (int at = 0; at < STACK_WORDS; at += STACK_CHUNK) {
		if (target_read(d->t, sp + sizeof(words[0]) * at, words, sizeof(words)))
			return false;
		for (int i = 0; i < STACK_CHUNK; i++)
			if (words[i] && !(words[i] % 8) &&
			    !target_read_u64(d->t, words[i] + l->off[BH_CB], &cb) &&
			    cb == callback &&
			    !target_read_u64(d->t, words[i] + l->off[BH_NAME], &addr) &&
			    read_name(d, addr, name, size))
				return true;
	}
	return false;
}

/* A bottom half carries its callback's name, which helps where the callback is static. */
static char *bh_name(const struct doctor *d, uint64_t callback, uint64_t sp)
{
	GArray *bhs = watch_read_bhs(d->watch);
	char name[64];
	bool found = false;

	for (size_t i = 0; i < bhs->len && !found; i++) {
		const struct watched_bh *b = &g_array_index(bhs, struct watched_bh, i);

		found = b->key.cb == callback && read_name(d, b->value.name, name, sizeof(name));
	}
	g_array_free(bhs, TRUE);
	if (!found && sp)
		found = name_on_stack(d, callback, sp, name, sizeof(name));
	return found ? g_strdup(name) : NULL;
}

char *doctor_callback_name(const struct doctor *d, uint64_t callback, const struct stack *stack)
{
	const char *kind = kind_of(d, callback);
	char *name = NULL, *text;

	if (kind && !strcmp(kind, "BH"))
		name = bh_name(d, callback, stack ? stack->thread.sp : 0);
	if (!name)
		name = images_name(d->images, callback);
	text = g_strdup_printf("%s %s", kind ? kind : "callback", name);
	g_free(name);
	return text;
}

bool stack_holds(const struct stack *stack, uint64_t function)
{
	for (int i = 0; i < stack->n; i++)
		if (function && stack->frames[i].function == function)
			return true;
	return false;
}

static void learn_timers(struct doctor *d, const GArray *timers)
{
	for (size_t i = 0; i < timers->len; i++)
		learn(d, g_array_index(timers, struct timer, i).cb, "timer");
}

static void learn_context(struct doctor *d, const struct context *c)
{
	for (size_t i = 0; i < c->handlers->len; i++) {
		const struct handler *h = &g_array_index(c->handlers, struct handler, i);

		learn(d, h->io_read, "handler");
		learn(d, h->io_write, "handler");
		learn(d, h->io_poll, "io_poll");
	}
	for (size_t i = 0; i < c->bhs->len; i++)
		learn(d, g_array_index(c->bhs, struct bottom_half, i).cb, "BH");
	learn_timers(d, c->timers);
}

void doctor_learn_callbacks(struct doctor *d)
{
	for (size_t i = 0; i < d->loops->contexts->len; i++)
		learn_context(d, d->loops->contexts->pdata[i]);
	learn_timers(d, d->loops->main_timers);
	for (size_t i = 0; i < d->loops->gcontexts->len; i++) {
		const struct loop_gcontext *g = d->loops->gcontexts->pdata[i];

		for (size_t k = 0; k < g->sources->len; k++) {
			const struct loop_source *s = g->sources->pdata[k];
			uint64_t dispatch = 0;

			target_read_u64(d->t, s->funcs + offsetof(GSourceFuncs, dispatch),
					&dispatch);
			if (!s->is_aio_context)
				learn(d, dispatch, "dispatch function");
			learn(d, s->callback, "GSource callback");
		}
	}
}

// SPDX-License-Identifier: MIT
/* What the callbacks of a target are, by address: handler, bottom half, timer, source; and their
 * names. */
#include <string.h>

#include "tracer/doctor.h"
#include "tracer/text.h"

#define STACK_WORDS 2048 /* of a stack are looked through for a bottom half */
#define STACK_CHUNK 64

const char *doctor_kind_of(const struct doctor *d, uint64_t callback)
{
	return g_hash_table_lookup(d->callbacks, &callback);
}

void doctor_learn(struct doctor *d, uint64_t addr, const char *kind)
{
	uint64_t *key;

	if (!addr || g_hash_table_contains(d->callbacks, &addr))
		return;
	key = g_new(uint64_t, 1);
	*key = addr;
	g_hash_table_insert(d->callbacks, key, (void *)kind);
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
	GArray *bhs = d->watch ? watch_read_bhs(d->watch) : NULL;
	char name[64];
	bool found = false;

	for (size_t i = 0; bhs && i < bhs->len && !found; i++) {
		const struct watched_bh *b = &g_array_index(bhs, struct watched_bh, i);

		found = b->key.cb == callback && read_name(d, b->value.name, name, sizeof(name));
	}
	if (bhs)
		g_array_free(bhs, TRUE);
	if (!found && sp)
		found = name_on_stack(d, callback, sp, name, sizeof(name));
	return found ? g_strdup(name) : NULL;
}

char *doctor_callback_name(const struct doctor *d, uint64_t callback, const struct stack *stack)
{
	const char *kind = doctor_kind_of(d, callback);
	char *name = NULL, *text;

	if (kind && !strcmp(kind, "BH"))
		name = bh_name(d, callback, stack ? stack->thread.sp : 0);
	if (!name)
		name = images_name(d->images, callback);
	text = g_strdup_printf("%s %s", kind ? kind : "callback", name);
	g_free(name);
	return text;
}

static void learn_timers(struct doctor *d, const GArray *timers)
{
	for (size_t i = 0; i < timers->len; i++)
		doctor_learn(d, g_array_index(timers, struct timer, i).cb, "timer");
}

static void learn_context(struct doctor *d, const struct context *c)
{
	for (size_t i = 0; i < c->handlers->len; i++) {
		const struct handler *h = &g_array_index(c->handlers, struct handler, i);

		doctor_learn(d, h->io_read, "handler");
		doctor_learn(d, h->io_write, "handler");
		doctor_learn(d, h->io_poll, "io_poll");
	}
	for (size_t i = 0; i < c->bhs->len; i++)
		doctor_learn(d, g_array_index(c->bhs, struct bottom_half, i).cb, "BH");
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
				doctor_learn(d, dispatch, "dispatch function");
			doctor_learn(d, s->callback, "GSource callback");
		}
	}
}

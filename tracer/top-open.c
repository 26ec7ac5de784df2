// SPDX-License-Identifier: MIT
/* Loading top's bpf program, and its probes put there and taken away. See top.h. */
#include <bpf/bpf.h>
#include <errno.h>

#include <linux/types.h>
#include "bpf/top.h"
#include "bpf/top.skel.h"
#include "tracer/clock.h"
#include "tracer/top-probes.h"

static int load(struct top *top, struct failure *why)
{
	const struct layout *l = top->s->l;
	int err;

	top->skel->rodata->tgid = top->s->t->pid;
	top->skel->rodata->layout.bh_cb = l ? l->off[BH_CB] : -1;
	top->skel->rodata->layout.bh_name = l ? l->off[BH_NAME] : -1;
	top->skel->rodata->layout.timer_cb = l ? l->off[TIMER_CB] : -1;
	top->skel->rodata->layout.timer_opaque = l ? l->off[TIMER_OPAQUE] : -1;
	attach_prepare(top->skel->progs.on_hit, ATTACH_BEST);
	err = top_bpf__load(top->skel);
	return err ? bpf_failure(err, why) : 0;
}

static void destroy_copy(void *object)
{
	top_bpf__destroy(object);
}

int top_load_copy(pid_t pid, struct overhead_program *ret, struct failure *why)
{
	const struct top_site means[OVERHEAD_SITES] = {
		[OVERHEAD_BEGIN] = { .op = TOP_BEGIN, .kind = TOP_HANDLER, .object_arg = 1 },
		[OVERHEAD_END] = { .op = TOP_END, .kind = TOP_HANDLER, .object_arg = 1 },
		[OVERHEAD_STEPPED] = { .op = TOP_NOTHING },
	};
	struct top_bpf *copy = top_bpf__open();
	int err;

	if (!copy)
		return bpf_failure(-errno, why);
	copy->rodata->tgid = pid;
	attach_prepare(copy->progs.on_hit, ATTACH_BEST);
	err = top_bpf__load(copy);
	if (err) {
		top_bpf__destroy(copy);
		return bpf_failure(err, why);
	}
	for (uint32_t i = 0; i < OVERHEAD_SITES; i++)
		bpf_map_update_elem(bpf_map__fd(copy->maps.sites), &i, &means[i], BPF_ANY);
	copy->bss->open = true;
	*ret = (struct overhead_program){ copy, copy->progs.on_hit, destroy_copy };
	return 0;
}

int top_open(struct top *top, struct session *s, struct failure *why)
{
	struct failure no_layout = { 0 };
	int err;

	*top = (struct top){ .s = s };
	top->probes = g_ptr_array_new_with_free_func(g_free);
	top->attachments = g_ptr_array_new();
	top->probed = g_hash_table_new(NULL, NULL);
	top->notifiers = g_hash_table_new(NULL, NULL);
	top_read_init(top);
	err = session_open(s, s->options, why);
	if (err)
		return err;
	top_add_usdt(top);
	if (session_layout(s, &no_layout) && !top->usdt)
		return fail(why, no_layout.err, "%s", no_layout.text);
	top->skel = top_bpf__open();
	err = top->skel ? load(top, why) : bpf_failure(-errno, why);
	if (err)
		return err;
	if (!top->usdt)
		top_add_functions(top);
	err = top_look(top, why);
	return top->usdt ? 0 : err;
}

void top_close(struct top *top)
{
	attach_remove_all(top->attachments);
	g_ptr_array_free(top->attachments, TRUE);
	top_bpf__destroy(top->skel);
	g_ptr_array_free(top->probes, TRUE);
	g_hash_table_destroy(top->probed);
	g_hash_table_destroy(top->notifiers);
	loops_free(top->loops);
	top_read_free(top);
	session_close(top->s);
}

/* --- attaching --- */

/* Ends are attached before begins: a call whose end is not seen would seem to last. */
static int attach_order(enum top_op op)
{
	return op == TOP_RESUME || op == TOP_WOKEN || op == TOP_END;
}

int top_attach_from(struct top *top, size_t first, struct failure *why)
{
	GArray *sites = g_array_new(FALSE, FALSE, sizeof(struct site));
	struct attachment *attachment = NULL;
	int map = bpf_map__fd(top->skel->maps.sites), err = 0;
	size_t n = MIN(top->probes->len, TOP_MAX_SITES);

	for (uint32_t i = first; i < n; i++)
		bpf_map_update_elem(map, &i, &((struct top_probe *)top->probes->pdata[i])->means,
				    BPF_ANY);
	for (int ends = 1; ends >= 0; ends--) {
		for (size_t i = first; i < n; i++) {
			const struct top_probe *p = top->probes->pdata[i];

			if (attach_order(p->means.op) == ends &&
			    (top->mode != TOP_WAITS || p->group == TOP_GROUP_WAITS))
				g_array_append_val(sites, p->at);
		}
	}
	if (!attach_has_multi() && sites->len + first > ATTACH_SLOW_MAX) {
		size_t room = ATTACH_SLOW_MAX - MIN(first, ATTACH_SLOW_MAX);

		top->left_out += (int)(sites->len - room);
		g_array_set_size(sites, room);
	}
	if (sites->len)
		err = attach_sites(top->skel->progs.on_hit, ATTACH_BEST, top->s->t->pid,
				   (struct site *)sites->data, sites->len, &attachment, why);
	if (attachment)
		g_ptr_array_add(top->attachments, attachment);
	g_array_free(sites, TRUE);
	top->attached = top->probes->len;
	return err;
}

/*
 * The threads of loops that wait: nothing tells that, until they come back. A thread that has done
 * something meanwhile has said so itself.
 */
static void note_waiting(struct top *top)
{
	struct top_thread t = { .window = top->skel->bss->window, .first_ns = top->window_ns };
	int map = bpf_map__fd(top->skel->maps.threads);
	struct target *target = top->s->t;

	t.since_ns = t.first_ns;
	if (target_refresh(target, NULL))
		return;
	for (size_t i = 0; i < target->threads->len; i++) {
		const struct thread *thread = &g_array_index(target->threads, struct thread, i);

		if (thread->sleeping && is_wait_call(thread->nr))
			bpf_map_update_elem(map, &thread->tid, &t, BPF_NOEXIST);
	}
}

int top_begin(struct top *top, struct failure *why)
{
	int err;

	top->opened_ns = now_ns();
	err = top_attach_from(top, 0, why);
	if (err)
		return err;
	top->window_ns = now_ns();
	if (!top->began_ns)
		top->began_ns = top->read_ns = top->window_ns;
	top->skel->bss->window++;
	top->skel->bss->open = true;
	note_waiting(top);
	return 0;
}

void top_end(struct top *top)
{
	if (!top->window_ns)
		return;
	top->skel->bss->open = false;
	top_read_window_end(top);
	top->window_ns = 0;
	attach_remove_all(top->attachments);
	top->on_ns = now_ns() - top->opened_ns;
}

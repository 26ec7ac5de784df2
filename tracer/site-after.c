// SPDX-License-Identifier: MIT
/*
 * Where a call comes back to: site_after_call() of site.h.
 *
 * From the return address on, the straight line is searched for an instruction that the kernel
 * emulates, as long as nothing moves the stack pointer (or changes a value that is wanted). Other
 * paths of the function may join the line before it: such a place is hit without the call, too, and
 * those hits cost as much as others. So it must not lie in a loop that goes round without the call:
 * nothing would bound their number.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "tracer/site-code.h"
#include "tracer/site.h"

#define LOOK_AHEAD 16 /* instructions: a call's end must not be told long after it */

struct step {
	uint64_t at, target;
	bool emulated, usable;
	bool indirect; /* a jump to nobody knows where */
	bool ends;     /* what follows is not reached from here */
};

struct resume {
	uint64_t link;	 /* the return address */
	uint64_t call;	 /* the last call before it: where it begins and ends */
	uint64_t after;	 /* that call */
	uint64_t joins;	 /* the first place behind the return address that a jump leads to */
	size_t first, n; /* of the steps: the straight line from the return address on */
	bool closed, keep_value;
	GArray *steps; /* of the whole function */
	csh cs;
};

static void add_to_line(struct resume *r, const cs_insn *insn)
{
	if (!r->n)
		r->first = r->steps->len - 1;
	r->n++;
	r->closed = r->n == LOOK_AHEAD || site_leaves(r->cs, insn) ||
		    site_moves_stack(r->cs, insn) ||
		    (r->keep_value && site_changes_value(r->cs, insn));
}

static bool collect(const struct code_step *code, void *arg)
{
	struct resume *r = arg;
	const cs_insn *insn = code->insn;
	bool jump = cs_insn_group(r->cs, insn, CS_GRP_JUMP);
	struct step step = {
		.at = insn->address,
		.target = jump ? code->target : 0,
		.emulated = site_is_emulated(insn),
		.usable = !site_is_forbidden(insn),
		.indirect = jump && !code->target,
		.ends = insn->id == X86_INS_JMP || cs_insn_group(r->cs, insn, CS_GRP_RET),
	};

	g_array_append_val(r->steps, step);
	if (insn->address >= r->link && r->after == r->link && !r->closed)
		add_to_line(r, insn);
	if (cs_insn_group(r->cs, insn, CS_GRP_CALL) && insn->address < r->link) {
		r->call = insn->address;
		r->after = insn->address + insn->size;
	}
	if (step.target > r->link && step.target < r->joins)
		r->joins = step.target;
	return false;
}

static const struct step *step_at(const struct resume *r, size_t i)
{
	return &g_array_index(r->steps, struct step, i);
}

/* The number of the step at @link; that of the steps if there is none. */
static size_t find_step(const struct resume *r, uint64_t link)
{
	size_t low = 0, high = r->steps->len;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (step_at(r, middle)->at < link)
			low = middle + 1;
		else
			high = middle;
	}
	return low < r->steps->len && step_at(r, low)->at == link ? low : r->steps->len;
}

/* Can the function come from the step @place back to it without the call? */
static bool is_in_a_loop(const struct resume *r, size_t place)
{
	size_t n = r->steps->len, n_left = 0;
	size_t *left = g_new(size_t, 2 * n + 2);
	bool *seen = g_new0(bool, n), found = false;

	left[n_left++] = place;
	while (n_left && !found) {
		size_t i = left[--n_left], next[2] = { n, n };
		const struct step *step = step_at(r, i);

		if (!step->ends)
			next[0] = i + 1;
		if (step->target)
			next[1] = find_step(r, step->target);
		found = step->indirect;
		for (int k = 0; k < 2; k++) {
			if (next[k] >= n || step_at(r, next[k])->at == r->call)
				continue;
			found = found || next[k] == place;
			if (!seen[next[k]])
				left[n_left++] = next[k];
			seen[next[k]] = true;
		}
	}
	g_free(seen);
	g_free(left);
	return found;
}

/* The first place where the kernel emulates; else the first one; NULL if there is none. */
static const struct step *choose(const struct resume *r)
{
	const struct step *best = NULL;

	for (size_t i = r->first; i < r->first + r->n; i++) {
		const struct step *step = step_at(r, i);
		bool joined = step->at >= r->joins;

		if (!step->usable || (joined && (!step->emulated || is_in_a_loop(r, i))))
			continue;
		if (step->emulated)
			return step;
		best = best ?: step;
	}
	return best;
}

int site_after_call(const struct image *img, uint64_t link, bool keep_value, struct site *ret,
		    struct failure *why)
{
	const struct function *fn = image_function_at(img, link);
	struct resume r = { .link = link, .joins = UINT64_MAX, .keep_value = keep_value };
	const struct step *best;
	int err;

	if (!fn)
		return fail(why, -ENOENT, "%s+0x%" PRIx64 " is in no proven function", img->name,
			    link);
	r.steps = g_array_new(FALSE, FALSE, sizeof(struct step));
	r.cs = code_decoder();
	err = r.cs ? code_walk(img, fn->start, collect, &r) : -ENOMEM;
	cs_close(&r.cs);
	best = err ? NULL : choose(&r);
	if (err || !r.n)
		err = fail(why, err ? err : -ENOENT, "no call ends at %s+0x%" PRIx64, img->name,
			   link);
	else if (!best)
		err = fail(why, -ENOEXEC, "%s+0x%" PRIx64 ": no instruction where a probe is safe",
			   img->name, link);
	else
		*ret = (struct site){ .img = img, .link = best->at, .emulated = best->emulated };
	g_array_free(r.steps, TRUE);
	if (err)
		return err;
	snprintf(ret->name, sizeof(ret->name), "%.40s+0x%" PRIx64, img->name, link);
	return image_file_offset(img, ret->link, &ret->offset)
		       ? fail(why, -ENOENT, "%s is not in its file", ret->name)
		       : 0;
}

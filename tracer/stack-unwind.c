// SPDX-License-Identifier: MIT
/*
 * From a copy of registers and stack to the chain of calls, by elfutils' libdwfl: it knows where
 * the target's files are mapped, and asks for each only when an address in it turns up.
 *
 * Registers and stack are the target's and may be anything: reads are bounded by the copy, the
 * number of frames is bounded, and a chain that breaks is cut there.
 */
#include <elfutils/libdwfl.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <linux/ptrace.h>
#include <linux/types.h>
#include "bpf/stack.h"
#include "tracer/stack.h"

#define VDSO_MAX (1 << 20)

struct unwinder {
	struct target *t;
	struct images *images;
	Dwfl *dwfl;
	uint8_t *vdso; /* its ELF image, read from memory: it is in no file */
	const struct stack_copy *copy;
	struct stack *stack;
	bool unread; /* some memory that it needed could not be read: the chain ends early */
};

static Elf *vdso_elf(struct unwinder *u, const struct map *map)
{
	size_t size = map->end - map->start;

	if (!u->vdso && size <= VDSO_MAX) {
		u->vdso = g_malloc(size);
		if (target_read(u->t, map->start, u->vdso, size))
			memset(u->vdso, 0, size);
	}
	return u->vdso ? elf_memory((char *)u->vdso, size) : NULL;
}

static int find_elf(Dwfl_Module *mod, void **userdata, const char *name, Dwarf_Addr base,
		    char **ret_path, Elf **ret_elf)
{
	struct unwinder *u = *userdata;
	const struct map *map = target_map_at(u->t, base);
	struct image *img;

	(void)mod;
	(void)name;
	*ret_path = NULL;
	if (map && !strcmp(map->path, "[vdso]")) {
		*ret_elf = vdso_elf(u, map);
		return -1;
	}
	img = images_at(u->images, base);
	if (!img)
		return -1;
	*ret_path = strdup(img->path);
	return open(img->open_path, O_RDONLY | O_CLOEXEC);
}

/* Nobody is asked for debug information: .eh_frame is in the file itself. */
static int find_debuginfo(Dwfl_Module *mod, void **userdata, const char *name, Dwarf_Addr base,
			  const char *file, const char *link, GElf_Word crc, char **ret_path)
{
	(void)mod;
	(void)userdata;
	(void)name;
	(void)base;
	(void)file;
	(void)link;
	(void)crc;
	(void)ret_path;
	return -1;
}

static const Dwfl_Callbacks callbacks = {
	.find_elf = find_elf,
	.find_debuginfo = find_debuginfo,
};

/* One module for each file with code: from its first map to its last. */
static void report_modules(struct unwinder *u)
{
	GArray *maps = u->t->maps;

	dwfl_report_begin(u->dwfl);
	for (size_t i = 0; i < maps->len; i++) {
		const struct map *first = &g_array_index(maps, struct map, i);
		uint64_t end = first->end;
		/* A core does not tell of text that was left out of it. */
		bool code = first->exec || !u->t->live, file = first->path[0] == '/';
		Dwfl_Module *mod;
		void **userdata;

		if (!file && strcmp(first->path, "[vdso]") != 0)
			continue;
		for (; i + 1 < maps->len; i++) {
			const struct map *next = &g_array_index(maps, struct map, i + 1);

			if (strcmp(next->path, first->path) != 0)
				break;
			code |= next->exec;
			end = next->end;
		}
		mod = code ? dwfl_report_module(u->dwfl, first->path, first->start, end) : NULL;
		if (mod && dwfl_module_info(mod, &userdata, NULL, NULL, NULL, NULL, NULL, NULL))
			*userdata = u;
	}
	dwfl_report_end(u->dwfl, NULL, NULL);
}

static pid_t next_thread(Dwfl *dwfl, void *arg, void **thread_arg)
{
	struct unwinder *u = arg;

	(void)dwfl;
	if (*thread_arg)
		return 0;
	*thread_arg = u;
	return (pid_t)u->copy->thread.tid;
}

static bool get_thread(Dwfl *dwfl, pid_t tid, void *arg, void **thread_arg)
{
	(void)dwfl;
	(void)tid;
	*thread_arg = arg;
	return true;
}

static bool memory_read(Dwfl *dwfl, Dwarf_Addr addr, Dwarf_Word *ret, void *arg)
{
	struct unwinder *u = arg;
	const struct stack_copy *c = u->copy;
	uint64_t at = addr - c->regs.rsp, word;

	(void)dwfl;
	for (int i = 0; i < STACK_RETURNS; i++) {
		if (c->returns[i].at == addr && addr) {
			*ret = c->returns[i].original;
			return true;
		}
	}
	if (c->size >= sizeof(word) && at <= c->size - sizeof(word))
		memcpy(&word, c->bytes + at, sizeof(word));
	else if (target_read_u64(u->t, addr, &word)) /* of a deeper stack, or another */
		u->unread = true;
	*ret = u->unread ? 0 : word;
	return !u->unread;
}

/* In DWARF's order of registers. */
static bool initial_registers(Dwfl_Thread *thread, void *arg)
{
	const struct pt_regs *r = &((struct unwinder *)arg)->copy->regs;
	const Dwarf_Word words[] = { r->rax, r->rdx, r->rcx, r->rbx, r->rsi, r->rdi,
				     r->rbp, r->rsp, r->r8,  r->r9,  r->r10, r->r11,
				     r->r12, r->r13, r->r14, r->r15, r->rip };

	return dwfl_thread_state_registers(thread, 0, G_N_ELEMENTS(words), words);
}

static const Dwfl_Thread_Callbacks thread_callbacks = {
	.next_thread = next_thread,
	.get_thread = get_thread,
	.memory_read = memory_read,
	.set_initial_registers = initial_registers,
};

struct unwinder *unwinder_new(struct target *t, struct images *images)
{
	struct unwinder *u = g_new0(struct unwinder, 1);

	u->t = t;
	u->images = images;
	u->dwfl = dwfl_begin(&callbacks);
	if (!u->dwfl) {
		g_free(u);
		return NULL;
	}
	report_modules(u);
	if (!dwfl_attach_state(u->dwfl, images_program(images)->elf, t->pid, &thread_callbacks,
			       u)) {
		unwinder_free(u);
		return NULL;
	}
	return u;
}

void unwinder_free(struct unwinder *u)
{
	if (!u)
		return;
	dwfl_end(u->dwfl);
	g_free(u->vdso);
	g_free(u);
}

static int add_frame(Dwfl_Frame *frame, void *arg)
{
	struct unwinder *u = arg;
	struct frame *f = &u->stack->frames[u->stack->n];
	const struct function *fn = NULL;
	struct image *img;
	bool activation;
	Dwarf_Addr pc;

	if (u->stack->n == STACK_MAX_FRAMES || !dwfl_frame_pc(frame, &pc, &activation))
		return DWARF_CB_ABORT;
	/* A call may be the last instruction of its function: look at the call, not behind it. */
	img = images_at(u->images, pc);
	if (img)
		fn = image_function_at(img, pc - img->bias - !activation);
	*f = (struct frame){ pc, fn ? fn->start + img->bias : 0 };
	u->stack->n++;
	return DWARF_CB_OK;
}

int unwinder_run(struct unwinder *u, const struct stack_copy *copy, struct stack *ret)
{
	int err;

	u->copy = copy;
	u->stack = ret;
	u->unread = false;
	ret->n = 0;
	err = dwfl_getthread_frames(u->dwfl, (pid_t)copy->thread.tid, add_frame, u);
	ret->whole = !err && !u->unread;
	u->copy = NULL;
	return ret->n ? 0 : -EBADMSG;
}

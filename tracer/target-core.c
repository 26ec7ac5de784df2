// SPDX-License-Identifier: MIT
/*
 * A core file as a target, the kernel's or gcore's.
 *
 * Memory is in its PT_LOAD segments; what the kernel left out of them (program text) is read from
 * the files that the NT_FILE note names. The threads' registers (NT_PRSTATUS) tell the system call
 * each was in. A core is hostile until checked: every size is held against the file.
 */
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/procfs.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <unistd.h>

#include <linux/openat2.h>
#include <linux/types.h>
#include "bpf/tables.h"
#include "tracer/target.h"
#include "tracer/text.h"

struct segment {
	uint64_t start, size; /* in memory */
	uint64_t file_size;   /* as much of it is in the core, at offset */
	uint64_t offset;
	uint32_t flags;
};

struct core {
	int fd;
	Elf *elf;
	GArray *segments; /* struct segment, by address */
};

static int map_order(const void *a, const void *b)
{
	const struct map *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

/* Read what the core itself holds at @addr: as much as there is, at most @len. */
static size_t read_segment(struct core *core, uint64_t addr, void *buf, size_t len)
{
	for (size_t i = 0; i < core->segments->len; i++) {
		struct segment *s = &g_array_index(core->segments, struct segment, i);
		uint64_t skip = addr - s->start;
		ssize_t n;

		if (addr < s->start || skip >= s->file_size)
			continue;
		n = pread(core->fd, buf, MIN(len, s->file_size - skip), s->offset + skip);
		return n > 0 ? n : 0;
	}
	return 0;
}

/*
 * Where the file of that name is, in the core's own root: links in it lead there too, not out of
 * it. NULL: there is none. To be freed.
 */
static char *path_in_root(const struct target *t, const char *path)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC,
				.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	char *link, *found = NULL;
	int root, fd;

	if (!t->root)
		return g_strdup(path);
	root = open(t->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	fd = root < 0 ? -1 : (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
	if (fd >= 0) {
		link = g_strdup_printf("/proc/self/fd/%d", fd);
		found = g_file_read_link(link, NULL);
		g_free(link);
		close(fd);
	}
	if (root >= 0)
		close(root);
	return found;
}

static int open_named(const struct target *t, const char *path)
{
	char *found = path_in_root(t, path);
	int fd = found ? target_open_regular(found) : -ENOENT;

	g_free(found);
	return fd;
}

/* Read program text that was left out of the core from its file: only maps nobody could write. */
static size_t read_mapped_file(struct target *t, uint64_t addr, void *buf, size_t len)
{
	const struct map *map = target_map_at(t, addr);
	ssize_t n;
	int fd;

	if (!map || map->write || map->path[0] != '/')
		return 0;
	fd = open_named(t, map->path);
	if (fd < 0)
		return 0;
	n = pread(fd, buf, MIN(len, map->end - addr), map->offset + (addr - map->start));
	close(fd);
	return n > 0 ? n : 0;
}

static int core_read(struct target *t, uint64_t addr, void *buf, size_t len)
{
	struct core *core = t->private_data;

	while (len) {
		size_t n = read_segment(core, addr, buf, len);

		if (!n)
			n = read_mapped_file(t, addr, buf, len);
		if (!n)
			return -EFAULT;
		addr += n;
		buf = (char *)buf + n;
		len -= n;
	}
	return 0;
}

static int core_read_own(struct target *t, uint64_t addr, void *buf, size_t len)
{
	return read_segment(t->private_data, addr, buf, len) == len ? 0 : -EFAULT;
}

/* NT_FILE: count, page size, count x {start, end, page offset}, count x name. */
static void parse_file_note(struct target *t, const uint8_t *desc, size_t size)
{
	uint64_t head[2], entry[3];
	const char *name, *end = (const char *)desc + size;

	if (size < sizeof(head))
		return;
	memcpy(head, desc, sizeof(head));
	if (head[0] > (size - sizeof(head)) / sizeof(entry) || head[1] > 1 << 30)
		return;
	name = (const char *)desc + sizeof(head) + head[0] * sizeof(entry);
	for (uint64_t i = 0; i < head[0]; i++) {
		size_t room = end - name;
		struct map map = { 0 };

		if (!room || !memchr(name, 0, room))
			return;
		memcpy(entry, desc + sizeof(head) + i * sizeof(entry), sizeof(entry));
		map.start = entry[0];
		map.end = entry[1];
		map.offset = entry[2] * head[1];
		map.path = g_strdup(name);
		target_add_map(t, &map);
		name += strlen(name) + 1;
	}
}

/*
 * Was the thread in the call when the core was taken? The kernel leaves in rax how a call goes on
 * that it interrupts: -EINTR, -ERESTARTSYS, -ERESTARTNOINTR, -ERESTARTNOHAND,
 * -ERESTART_RESTARTBLOCK. One that was over has its result there; only a ring's wait, which says
 * how many requests it submitted first, looks the same.
 */
static bool was_interrupted(const struct user_regs_struct *regs)
{
	long result = (long)regs->rax;

	return result == -EINTR || result == -512 || result == -513 || result == -514 ||
	       result == -516 ||
	       ((long)regs->orig_rax == NR_IO_URING_ENTER && regs->rdx > 0 && result >= 0 &&
		(uint64_t)result <= regs->rsi);
}

static void parse_prstatus(struct target *t, const uint8_t *desc, size_t size)
{
	struct elf_prstatus status;
	struct user_regs_struct regs;
	struct thread thread = { 0 };
	uint8_t insn[2] = { 0 };

	if (size < sizeof(status))
		return;
	memcpy(&status, desc, sizeof(status));
	memcpy(&regs, status.pr_reg, sizeof(regs));
	thread.tid = status.pr_pid;
	thread.regs = regs;
	thread.nr = (long)regs.orig_rax;
	thread.args[0] = regs.rdi;
	thread.args[1] = regs.rsi;
	thread.args[2] = regs.rdx;
	thread.args[3] = regs.r10;
	thread.args[4] = regs.r8;
	thread.args[5] = regs.r9;
	thread.sp = regs.rsp;
	thread.pc = regs.rip;
	/* orig_rax outlives the call: the instruction before the pc has to be "syscall". */
	thread.sleeping = thread.nr >= 0 && was_interrupted(&regs) &&
			  !core_read(t, regs.rip - 2, insn, sizeof(insn)) && insn[0] == 0x0f &&
			  insn[1] == 0x05;
	if (thread.sleeping)
		thread.nr = target_restarted_call(t, thread.nr, thread.pc);
	g_array_append_val(t->threads, thread);
}

static void parse_prpsinfo(struct target *t, const uint8_t *desc, size_t size)
{
	struct elf_prpsinfo info;

	if (size < sizeof(info))
		return;
	memcpy(&info, desc, sizeof(info));
	t->pid = info.pr_pid;
	g_strlcpy(t->comm, info.pr_fname, sizeof(t->comm));
	text_make_safe(t->comm);
}

static void parse_notes(struct target *t, Elf_Data *data, int only)
{
	size_t offset = 0, name_at, desc_at;
	GElf_Nhdr note;

	while (offset < data->d_size &&
	       (offset = gelf_getnote(data, offset, &note, &name_at, &desc_at)) > 0) {
		const uint8_t *desc = (const uint8_t *)data->d_buf + desc_at;

		if ((int)note.n_type != only)
			continue;
		if (only == NT_FILE)
			parse_file_note(t, desc, note.n_descsz);
		else if (only == NT_PRSTATUS)
			parse_prstatus(t, desc, note.n_descsz);
		else if (only == NT_PRPSINFO)
			parse_prpsinfo(t, desc, note.n_descsz);
	}
}

/* Segments that no file stands behind are maps too; those of a file get their permissions here. */
static void merge_segments_into_maps(struct target *t, struct core *core)
{
	size_t n_files = t->maps->len;

	for (size_t i = 0; i < core->segments->len; i++) {
		struct segment *s = &g_array_index(core->segments, struct segment, i);
		struct map map = { .start = s->start, .end = s->start + s->size };
		bool known = false;

		map.read = s->flags & PF_R;
		map.write = s->flags & PF_W;
		map.exec = s->flags & PF_X;
		for (size_t j = 0; j < n_files; j++) {
			struct map *file = &g_array_index(t->maps, struct map, j);

			if (file->start >= map.start && file->end <= map.end) {
				file->read = map.read;
				file->write = map.write;
				file->exec = map.exec;
				known = true;
			}
		}
		if (!known) {
			map.path = g_strdup("");
			target_add_map(t, &map);
		}
	}
	g_array_sort(t->maps, map_order);
}

static int core_refresh(struct target *t, struct failure *why)
{
	(void)t;
	(void)why;
	return 0;
}

static int core_open_file(struct target *t, const struct map *map, char **ret_path)
{
	char *path = map->path[0] == '/' ? path_in_root(t, map->path) : NULL;

	if (!path || access(path, R_OK)) {
		g_free(path);
		return -ENOENT;
	}
	*ret_path = path;
	return 0;
}

static void core_close(struct target *t)
{
	struct core *core = t->private_data;

	elf_end(core->elf);
	if (core->fd >= 0)
		close(core->fd);
	g_array_free(core->segments, TRUE);
	g_free(core);
}

static const struct target_ops core_ops = {
	.read = core_read,
	.read_own = core_read_own,
	.refresh = core_refresh,
	.open_file = core_open_file,
	.close = core_close,
};

static void load_segments(struct core *core)
{
	size_t n = 0;

	if (elf_getphdrnum(core->elf, &n))
		return;
	for (size_t i = 0; i < n; i++) {
		struct segment s;
		GElf_Phdr ph;

		if (!gelf_getphdr(core->elf, i, &ph) || ph.p_type != PT_LOAD ||
		    ph.p_vaddr + ph.p_memsz < ph.p_vaddr)
			continue;
		s = (struct segment){ ph.p_vaddr, ph.p_memsz, MIN(ph.p_filesz, ph.p_memsz),
				      ph.p_offset, ph.p_flags };
		g_array_append_val(core->segments, s);
	}
}

static void load_notes(struct target *t, Elf *elf, int type)
{
	size_t n = 0;

	if (elf_getphdrnum(elf, &n))
		return;
	for (size_t i = 0; i < n; i++) {
		Elf_Data *data;
		GElf_Phdr ph;

		if (!gelf_getphdr(elf, i, &ph) || ph.p_type != PT_NOTE)
			continue;
		data = elf_getdata_rawchunk(elf, ph.p_offset, ph.p_filesz, ELF_T_NHDR);
		if (data)
			parse_notes(t, data, type);
	}
}

int target_open_core(const char *path, const char *root, struct target **ret, struct failure *why)
{
	struct target *t = NULL;
	struct core *core;
	GElf_Ehdr header;
	int err;

	elf_version(EV_CURRENT);
	t = target_new(&core_ops, false);
	t->root = g_strdup(root);
	core = t->private_data = g_new0(struct core, 1);
	core->segments = g_array_new(FALSE, TRUE, sizeof(struct segment));
	core->fd = target_open_regular(path);
	if (core->fd == -EINVAL) {
		err = fail(why, -ENOEXEC, "%s is not a core file: it is no regular file", path);
		goto cleanup;
	}
	if (core->fd < 0) {
		err = fail(why, core->fd, "cannot open %s: %s", path, strerror(-core->fd));
		goto cleanup;
	}
	core->elf = elf_begin(core->fd, ELF_C_READ_MMAP, NULL);
	if (!core->elf || !gelf_getehdr(core->elf, &header) || header.e_type != ET_CORE ||
	    header.e_machine != EM_X86_64) {
		err = fail(why, -ENOEXEC, "%s is not a core file of an x86-64 process", path);
		goto cleanup;
	}
	load_segments(core);
	load_notes(t, core->elf, NT_PRPSINFO);
	load_notes(t, core->elf, NT_FILE);
	merge_segments_into_maps(t, core);
	load_notes(t, core->elf, NT_PRSTATUS);
	if (!core->segments->len || !t->threads->len) {
		err = fail(why, -ENOEXEC, "%s has no memory or no threads: is it cut short?", path);
		goto cleanup;
	}
	*ret = t;
	return 0;

cleanup:
	target_close(t);
	return err;
}

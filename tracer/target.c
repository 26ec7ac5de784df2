// SPDX-License-Identifier: MIT
/* What the kinds of target share. See target.h. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tracer/target.h"
#include "tracer/text.h"

#define ATTEMPTS 7 /* 0.5 ms, 1 ms, ... 32 ms after the readings before */

static void map_clear(void *map)
{
	g_free(((struct map *)map)->path);
}

struct target *target_new(const struct target_ops *ops, bool live)
{
	struct target *t = g_new0(struct target, 1);

	t->ops = ops;
	t->live = live;
	t->maps = g_array_new(FALSE, TRUE, sizeof(struct map));
	g_array_set_clear_func(t->maps, map_clear);
	t->threads = g_array_new(FALSE, TRUE, sizeof(struct thread));
	return t;
}

void target_clear(struct target *t)
{
	g_array_set_size(t->maps, 0);
	g_array_set_size(t->threads, 0);
}

void target_close(struct target *t)
{
	if (!t)
		return;
	t->ops->close(t);
	g_array_free(t->maps, TRUE);
	g_array_free(t->threads, TRUE);
	g_free(t->exe);
	g_free(t->root);
	g_free(t);
}

void target_add_map(struct target *t, const struct map *map)
{
	g_array_append_val(t->maps, *map);
}

int target_refresh(struct target *t, struct failure *why)
{
	return t->ops->refresh(t, why);
}

int target_open_file(struct target *t, const struct map *map, char **ret_path)
{
	return t->ops->open_file(t, map, ret_path);
}

int target_open_regular(const char *path)
{
	struct stat st;
	int fd;

	/* Looked at first, as the opening of a device may be what does something. */
	if (stat(path, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		close(fd);
		return -EINVAL;
	}
	return fd;
}

int target_read(struct target *t, uint64_t addr, void *buf, size_t len)
{
	/* A pointer made of garbage must not wrap round. */
	if (!addr || addr + len < addr)
		return -EFAULT;
	return t->ops->read(t, addr, buf, len);
}

int target_read_own(struct target *t, uint64_t addr, void *buf, size_t len)
{
	return t->ops->read_own(t, addr, buf, len);
}

bool target_read_again(const struct target *t, int attempt)
{
	if (!t->live || attempt >= ATTEMPTS)
		return false;
	g_usleep((1000 << attempt) / 2);
	return true;
}

int target_read_u64(struct target *t, uint64_t addr, uint64_t *ret)
{
	uint64_t value;
	int err = target_read(t, addr, &value, sizeof(value));

	if (!err)
		*ret = value;
	return err;
}

int target_read_string(struct target *t, uint64_t addr, char *buf, size_t size)
{
	size_t have = 0;
	int err = -EFAULT;

	/* In steps that do not cross a page: the next one may not be mapped. */
	while (have < size) {
		size_t step = MIN(size - have, 4096 - (addr + have) % 4096);

		err = target_read(t, addr + have, buf + have, step);
		if (err)
			break;
		if (memchr(buf + have, 0, step)) {
			text_make_safe(buf);
			return 0;
		}
		have += step;
		err = -EFAULT;
	}
	buf[0] = 0; /* what was read of it was not made safe */
	return err;
}

long target_restarted_call(struct target *t, long nr, uint64_t pc)
{
	uint8_t code[7]; /* mov $number, %eax; syscall */
	uint32_t call;

	if (nr != SYS_restart_syscall || target_read(t, pc - sizeof(code), code, sizeof(code)) ||
	    code[0] != 0xb8 || code[5] != 0x0f || code[6] != 0x05)
		return nr;
	memcpy(&call, code + 1, sizeof(call));
	return call;
}

const struct map *target_map_at(const struct target *t, uint64_t addr)
{
	size_t low = 0, high = t->maps->len;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct map *map = &g_array_index(t->maps, struct map, mid);

		if (addr < map->start)
			high = mid;
		else if (addr >= map->end)
			low = mid + 1;
		else
			return map;
	}
	return NULL;
}

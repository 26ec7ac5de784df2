// SPDX-License-Identifier: MIT
/* See output.h. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tracer/output.h"

/* To a new file beside it, unless it is a pipe or device. */
int output_open(const char *path, char **ret_part, struct failure *why)
{
	struct stat st;
	bool special;
	const char *name;
	char *part;
	int fd;

	if (!path)
		return 0;
	special = !stat(path, &st) && !S_ISREG(st.st_mode);
	part = special ? NULL : g_strdup_printf("%s.part", path);
	name = part ? part : path;
	/* Never through a link that somebody else has put there. */
	if (part)
		unlink(part);
	fd = open(name, O_WRONLY | O_CLOEXEC | (special ? 0 : O_CREAT | O_EXCL | O_NOFOLLOW), 0666);
	if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0) {
		int err = -errno;

		fail(why, err, "%s: %s", name, g_strerror(-err));
		if (fd >= 0)
			close(fd);
		g_free(part);
		return err;
	}
	close(fd);
	*ret_part = part;
	return 0;
}

int output_close(const char *path, const char *part, int err, struct failure *why)
{
	if (!err && (fflush(stdout) || ferror(stdout)))
		err = fail(why, -EIO, "%s: %s", path ? path : "standard output",
			   g_strerror(errno ? errno : EIO));
	if (!err && part && rename(part, path))
		err = fail(why, -errno, "%s: %s", path, g_strerror(errno));
	if (err && part)
		unlink(part);
	return err;
}

// SPDX-License-Identifier: (MIT OR BSD-2-Clause OR GPL-2.0-only)
/* What a bpf program sees of a layout that is its BTF: offsets, and which fields there are. */
#include "bpf/kernel.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct EventNotifier___any {
	int rfd, wfd;
};

struct AioContext {
	unsigned int notify_me;
	struct EventNotifier___any notifier;
	int no_such_field;
};

struct QEMUBH {
	char *name;
	unsigned int flags;
};

#pragma clang attribute pop

int notify_me, wfd, flags, name_exists, other_exists;

SEC("syscall")
int look(void *ctx)
{
	notify_me = bpf_core_field_offset(struct AioContext, notify_me);
	wfd = bpf_core_field_offset(struct AioContext, notifier.wfd);
	flags = bpf_core_field_offset(struct QEMUBH, flags);
	name_exists = bpf_core_field_exists(struct QEMUBH, name);
	other_exists = bpf_core_field_exists(struct AioContext, no_such_field);
	return 0;
}

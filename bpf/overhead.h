/* SPDX-License-Identifier: (MIT OR BSD-2-Clause OR GPL-2.0-only) */
/* What overhead.bpf.c counts, for tracer/overhead-count.c. The includer supplies __u32 and __u64.
 */
#ifndef BPF_OVERHEAD_H
#define BPF_OVERHEAD_H

#define OVERHEAD_MAX_SITES   8192
#define OVERHEAD_MAX_RETURNS 4096

/* Where calls of a probed function come back to. */
struct overhead_return {
	__u64 addr;
	__u64 site; /* the cookie of the probe */
};

#endif

// SPDX-License-Identifier: MIT
/* BQL HOLD: a thread keeps the big lock from others for too long. */
#include "tracer/doctor-hold.h"

#define MAX_SAID 8

char *hold_waiters(const struct doctor *d, pid_t tid)
{
	GString *list = g_string_new(NULL);
	int n = 0;

	if (d->bql && doctor_mutex_owner(d, d->bql) == tid)
		for (size_t i = 0; i < d->patients->len; i++) {
			const struct patient *p = d->patients->pdata[i];

			if (doctor_waits_for_bql(d, p) && n++ < MAX_SAID)
				g_string_append_printf(list, "%s %d \"%s\"", n > 1 ? "," : "",
						       p->tid, doctor_comm(d, p->tid));
		}
	if (n)
		g_string_prepend(list, n == 1 ? "1 thread waits for the big lock, which it holds:"
					      : "threads wait for the big lock, which it holds:");
	if (n > 1) {
		char *count = g_strdup_printf("%d ", n);

		g_string_prepend(list, count);
		g_free(count);
	}
	return g_string_free(list, !n);
}

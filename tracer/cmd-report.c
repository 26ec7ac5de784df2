// SPDX-License-Identifier: MIT
/*
 * loopscope report DIR [--diff DIR]: what a recording says of its loops. Needs neither the target
 * nor privilege.
 */
#include <errno.h>

#include "tracer/report-show.h"
#include "tracer/session.h"

int cmd_report(const struct options *options, struct failure *why)
{
	struct report_options show = { .events = options->events,
				       .histograms = options->histograms,
				       .all = options->all };
	struct report *report = NULL, *other = NULL;
	int err;

	if (options->diff && (options->events || options->histograms))
		return fail(why, -EINVAL, "--diff goes with neither --events nor --histograms");
	err = report_read(options->path, &report, why);
	if (!err && options->diff)
		err = report_read(options->diff, &other, why);
	if (err) {
		report_free(report);
		return err;
	}
	if (other)
		report_print_diff(report, other, options->json, options->all);
	else if (options->json)
		report_print_json(report);
	else
		report_print_text(report, &show);
	report_free(other);
	report_free(report);
	return EXIT_FINE;
}

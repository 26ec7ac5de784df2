// SPDX-License-Identifier: MIT
/*
 * loopscope report DIR: what a recording says of its loops. Needs neither the target nor privilege.
 */
#include "tracer/report-show.h"
#include "tracer/session.h"

int cmd_report(const struct options *options, struct failure *why)
{
	struct report_options show = { .events = options->events,
				       .histograms = options->histograms,
				       .all = options->all };
	struct report *report = NULL;
	int err = report_read(options->path, &report, why);

	if (err)
		return err;
	if (options->json)
		report_print_json(report);
	else
		report_print_text(report, &show);
	report_free(report);
	return EXIT_FINE;
}

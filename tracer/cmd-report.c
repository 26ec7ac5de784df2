// SPDX-License-Identifier: MIT
/*
 * loopscope report DIR [--diff DIR | --json | --html [-o FILE]]: what a recording says of its
 * loops. Needs neither the target nor privilege.
 */
#include <errno.h>
#include <unistd.h>

#include "tracer/output.h"
#include "tracer/report-show.h"
#include "tracer/session.h"

static int print_html(const struct options *options, const struct report *report,
		      struct failure *why)
{
	char *part = NULL;
	int err = output_open(options->output, &part, why);

	if (!err) {
		err = report_print_html(options->path, report, why);
		err = output_close(options->output, part, err, why);
	}
	g_free(part);
	return err;
}

static int check_options(const struct options *options, struct failure *why)
{
	if (options->diff && (options->events || options->histograms))
		return fail(why, -EINVAL, "--diff goes with neither --events nor --histograms");
	if (options->html && (options->diff || options->json || options->events ||
			      options->histograms || options->all))
		return fail(why, -EINVAL,
			    "--html shows all there is: it goes with -o, and no other option");
	if (options->output && !options->html)
		return fail(why, -EINVAL, "-o goes with --html");
	if (options->html && !options->output && isatty(STDOUT_FILENO))
		return fail(why, -EINVAL, "a page is nothing for a terminal: -o FILE");
	return 0;
}

int cmd_report(const struct options *options, struct failure *why)
{
	struct report_options show = { .events = options->events,
				       .histograms = options->histograms,
				       .all = options->all };
	struct report *report = NULL, *other = NULL;
	int err = check_options(options, why);

	if (!err)
		err = report_read(options->path, &report, why);
	if (!err && options->diff)
		err = report_read(options->diff, &other, why);
	if (err) {
		report_free(report);
		return err;
	}
	if (options->html)
		err = print_html(options, report, why);
	else if (other)
		report_print_diff(report, other, options->json, options->all);
	else if (options->json)
		report_print_json(report);
	else
		report_print_text(report, &show);
	report_free(other);
	report_free(report);
	return err;
}

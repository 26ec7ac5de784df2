// SPDX-License-Identifier: MIT
/* The metadata of a recording: the input is the text. What was read has to come out as it went in.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "trace/ctf-metadata.h"

static void check_again(const struct ctf_metadata *first)
{
	struct ctf_metadata again;
	char *text = NULL;
	size_t size = 0;

	/* What our writer would refuse to write, another one may have written. */
	if (ctf_metadata_print(first, &text, &size))
		return;
	if (ctf_metadata_parse(text, size, &again))
		abort();
	if (again.epoch_ns != first->epoch_ns || again.n_env != first->n_env ||
	    memcmp(again.uuid, first->uuid, sizeof(again.uuid)))
		abort();
	for (size_t i = 0; i < first->n_env; i++)
		if (strcmp(again.env[i].key, first->env[i].key) ||
		    strcmp(again.env[i].value, first->env[i].value))
			abort();
	ctf_metadata_release(&again);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ctf_metadata metadata;

	if (ctf_metadata_parse((const char *)data, size, &metadata))
		return 0;
	check_again(&metadata);
	ctf_metadata_release(&metadata);
	return 0;
}

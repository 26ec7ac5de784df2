// SPDX-License-Identifier: MIT
/* A layout that somebody made elsewhere (--layout FILE): the input is the JSON. What is taken has
 * to come out as JSON that is taken again. */
#include <jansson.h>
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"
#include "tracer/layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct image program = { .name = "fuzz", .build_id = "abcd" };
	struct layout *l = NULL, *again = NULL;
	struct failure why;
	json_t *json = json_loadb((const char *)data, size, 0, NULL), *printed;

	if (json && !layout_from_json(json, &program, &l, &why)) {
		printed = layout_to_json(l);
		if (!printed || layout_from_json(printed, &program, &again, &why))
			abort();
		json_decref(printed);
	}
	layout_free(again);
	layout_free(l);
	json_decref(json);
	return 0;
}

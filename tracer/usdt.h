/* SPDX-License-Identifier: MIT */
/*
 * The USDT probes of an image: its .note.stapsdt notes, checked.
 */
#ifndef TRACER_USDT_H
#define TRACER_USDT_H

#include "tracer/site.h"

struct usdt_probe {
	const char *provider, *name; /* in the image's memory */
	struct site site;
};

/*
 * The probes of @provider in @img: an array of struct usdt_probe, empty where there are none. A
 * note is believed only if its nop lies in a function that an FDE proves, is the one-byte nop, and
 * its arguments are in the registers of a call, in order; @ret_refused counts the others.
 */
GArray *usdt_probes(const struct image *img, const char *provider, int *ret_refused);

#endif

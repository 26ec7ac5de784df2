/* SPDX-License-Identifier: MIT */
/*
 * A listening Unix socket that plays the part of "-vnc unix:PATH" in the main loop: a GSource of
 * its own type, beside the AioContexts, in the default GMainContext.  Each client is greeted as a
 * VNC server greets ("RFB 003.008") and hung up on, so the poll set stays what it is.
 */
#ifndef DEMO_VNC_H
#define DEMO_VNC_H

#include "error.h"

typedef struct VncDisplay VncDisplay;

/* NULL on failure: the path is too long, taken, not writable. */
VncDisplay *vnc_display_open(const char *path, Error **errp);

/* Closes and removes the socket. */
void vnc_display_close(VncDisplay *vd);

/* Clients so far. */
unsigned vnc_display_connections(VncDisplay *vd);

#endif

/* SPDX-License-Identifier: MIT */
/* The version of everything here: the one place it is written. */
#ifndef TRACE_VERSION_H
#define TRACE_VERSION_H

#define LOOPSCOPE_VERSION "0.1.0"

#endif

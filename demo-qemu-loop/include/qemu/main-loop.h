/* SPDX-License-Identifier: MIT */
/* The main loop, where a program written for QEMU looks for it. */
#include "../../main-loop.h"

/* SPDX-License-Identifier: MIT */
/* Atomics and barriers, where a program written for QEMU looks for it. */
#include "../../atomic.h"

/* SPDX-License-Identifier: MIT */
/* Intrusive lists, where a program written for QEMU looks for it. */
#include "../../queue.h"

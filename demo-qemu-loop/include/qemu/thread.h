/* SPDX-License-Identifier: MIT */
/* Threads and locks, where a program written for QEMU looks for it. */
#include "../../thread.h"

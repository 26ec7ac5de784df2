/* SPDX-License-Identifier: MIT */
/* The thread pool, where a program written for QEMU looks for it. */
#include "../../thread-pool.h"

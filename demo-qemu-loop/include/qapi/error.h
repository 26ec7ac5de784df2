/* SPDX-License-Identifier: MIT */
/* Error objects, where a program written for QEMU looks for it. */
#include "../../error.h"

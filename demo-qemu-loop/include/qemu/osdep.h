/* SPDX-License-Identifier: MIT */
/* What every file includes first, where a program written for QEMU looks for it. */
#include "../../osdep.h"

/* SPDX-License-Identifier: MIT */
/* Guest time, where a program written for QEMU looks for it. */
#include "../../cpu-timers.h"

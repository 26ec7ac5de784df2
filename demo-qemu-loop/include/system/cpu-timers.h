/* SPDX-License-Identifier: MIT */
/* Guest time, by its name since 10.0, where a program written for QEMU looks for it. */
#include "../../cpu-timers.h"

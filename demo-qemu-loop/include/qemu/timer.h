/* SPDX-License-Identifier: MIT */
/* Clocks and timers, where a program written for QEMU looks for it. */
#include "../../timer.h"

/* SPDX-License-Identifier: MIT */
/* Coroutines, where a program written for QEMU looks for it. */
#include "../../coroutine.h"

/* SPDX-License-Identifier: MIT */
/* Waiting for a condition while polling, where a program written for QEMU looks for it. */
#include "../../aio-wait.h"

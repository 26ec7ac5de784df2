/* SPDX-License-Identifier: MIT */
/* AioContext, by its name since 11.0, where a program written for QEMU looks for it. */
#include "../../aio.h"

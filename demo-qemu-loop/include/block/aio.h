/* SPDX-License-Identifier: MIT */
/* AioContext, where a program written for QEMU looks for it. */
#include "../../aio.h"

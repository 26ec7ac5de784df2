/* SPDX-License-Identifier: MIT */
/* IOThreads, where a program written for QEMU looks for it. */
#include "../../iothread.h"

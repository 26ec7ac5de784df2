/* SPDX-License-Identifier: MIT */
/* IOThreads, by their name since 10.0, where a program written for QEMU looks for it. */
#include "../../iothread.h"

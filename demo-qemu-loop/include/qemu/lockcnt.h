/* SPDX-License-Identifier: MIT */
/* The count of visitors that is a lock too, where a program written for QEMU looks for it. */
#include "../../lockcnt.h"

/* SPDX-License-Identifier: MIT */
/* Locks that unlock themselves, where a program written for QEMU looks for it. */
#include "../../lockable.h"

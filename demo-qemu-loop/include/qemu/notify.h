/* SPDX-License-Identifier: MIT */
/* Notifier lists, where a program written for QEMU looks for it. */
#include "../../notify.h"

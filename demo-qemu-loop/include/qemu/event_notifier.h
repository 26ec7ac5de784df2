/* SPDX-License-Identifier: MIT */
/* Event notifiers, where a program written for QEMU looks for it. */
#include "../../event_notifier.h"

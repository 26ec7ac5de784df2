/* SPDX-License-Identifier: MIT */
/* Messages to a person, where a program written for QEMU looks for it. */
#include "../../error-report.h"

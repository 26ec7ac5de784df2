/* SPDX-License-Identifier: MIT */
/*
 * The guest's time: nanoseconds during which the VM ran (QEMU: system/cpu-timers.h).  It stands
 * still until vm_start() and between vm_stop() and the next vm_start().
 */
#ifndef DEMO_CPU_TIMERS_H
#define DEMO_CPU_TIMERS_H

int64_t cpu_get_clock(void);
void cpu_enable_ticks(void);
void cpu_disable_ticks(void);

/* The part of QEMU's functions of these names that the loop can see: QEMU_CLOCK_VIRTUAL. */
void vm_start(void);
void vm_stop(void);

#endif

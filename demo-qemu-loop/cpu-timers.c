/* SPDX-License-Identifier: MIT */
/* The guest's time; the header says what it is. */
#include "osdep.h"
#include "cpu-timers.h"
#include "timer.h"

/*
 * While ticks are on, guest time is host time plus the offset; while off, it is the offset.
 * QEMU reads the pair under a seqlock, since vCPUs read it all the time.
 */
static pthread_mutex_t vm_clock_lock = PTHREAD_MUTEX_INITIALIZER;
static int64_t cpu_clock_offset;
static bool cpu_ticks_enabled;

int64_t cpu_get_clock(void)
{
	int64_t now;

	pthread_mutex_lock(&vm_clock_lock);
	now = cpu_clock_offset + (cpu_ticks_enabled ? get_clock() : 0);
	pthread_mutex_unlock(&vm_clock_lock);
	return now;
}

void cpu_enable_ticks(void)
{
	pthread_mutex_lock(&vm_clock_lock);
	if (!cpu_ticks_enabled)
		cpu_clock_offset -= get_clock();
	cpu_ticks_enabled = true;
	pthread_mutex_unlock(&vm_clock_lock);
}

void cpu_disable_ticks(void)
{
	pthread_mutex_lock(&vm_clock_lock);
	if (cpu_ticks_enabled)
		cpu_clock_offset += get_clock();
	cpu_ticks_enabled = false;
	pthread_mutex_unlock(&vm_clock_lock);
}

void vm_start(void)
{
	cpu_enable_ticks();
	qemu_clock_enable(QEMU_CLOCK_VIRTUAL, true);
}

void vm_stop(void)
{
	qemu_clock_enable(QEMU_CLOCK_VIRTUAL, false);
	cpu_disable_ticks();
}

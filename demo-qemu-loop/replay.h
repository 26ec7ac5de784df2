/* SPDX-License-Identifier: MIT */
/*
 * The replay lock (QEMU: replay/, system/replay.h): in record/replay mode it serialises vCPUs and
 * main loop, so that events get one order.  Outside that mode locking it does nothing.  Taken
 * before the BQL, released after it.
 */
#ifndef DEMO_REPLAY_H
#define DEMO_REPLAY_H

typedef enum ReplayMode {
	REPLAY_MODE_NONE,
	REPLAY_MODE_RECORD,
	REPLAY_MODE_PLAY,
} ReplayMode;

extern ReplayMode replay_mode;

void replay_mutex_lock(void);
void replay_mutex_unlock(void);
bool replay_mutex_locked(void);

#endif

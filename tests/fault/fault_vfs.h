/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An SQLite VFS that fails. It is the platform's own VFS with a counter in front of every open,
 * write, sync and truncate: the Nth fails, once or from then on. It can also lose power: what was
 * written after a file's last sync is remembered and taken back, whole or in part.
 *
 * Use: arm, run the scenario, disarm (which tells whether anything fired); N = 1, 2, 3 ... until
 * nothing fires. State is global and guarded by a mutex; one scenario at a time.
 */
#ifndef FAULT_VFS_H
#define FAULT_VFS_H

#include <stdbool.h>

enum fault {
	FAULT_NONE,  /* only counts */
	FAULT_EIO,   /* the call fails and does nothing */
	FAULT_FULL,  /* no space: writes and truncates fail with SQLITE_FULL, the others with EIO */
	FAULT_SHORT, /* half of the write is done, then no space */
	FAULT_SYNC,  /* only syncs count and fail: what was to be synced may be lost later */
};

/* Registers the VFS (once) and returns its name for journal_options.vfs. */
const char *fault_vfs(void);
/* The nth call from now on fails (n = 1: the next). forever: all that follow, too. */
void fault_arm(enum fault how, int nth, bool forever);
/* Everything works again. True: the fault had fired. */
bool fault_disarm(void);
/* Calls counted since fault_arm. */
int fault_calls(void);

/*
 * Power. From power_on() writes are remembered until their file is synced. power_fail_at(n): at the
 * nth call from now the power goes: it and all later calls fail. After everything is closed,
 * power_lose() takes back what was not synced: seed 0 all of it, otherwise each 512-byte sector
 * stays or goes as the seed decides. Returns the number of writes that were not synced.
 */
void power_on(void);
void power_fail_at(int nth);
int power_lose(unsigned seed);

#endif

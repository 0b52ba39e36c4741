/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See fault_vfs.h. Each file wraps one of the platform's VFS, which lies directly behind it in
 * memory. For power loss every write keeps the bytes it replaced (undo) and its own (redo); a sync
 * forgets both. Shared memory is not touched: after a power loss the -shm file is removed.
 */
#include "fault_vfs.h"

#include <cdc/mem.h>

#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR 512

struct wrapped {
	sqlite3_file base;
	char *path; /* NULL: a temporary file */
	sqlite3_file *real;
};

struct undo {
	struct undo *older;
	char *path;
	int64_t at, size_before;
	size_t n;        /* bytes written; 0: a truncation to `at` */
	size_t replaced; /* bytes there were */
	uint8_t *old, *new;
};

static struct {
	pthread_mutex_t lock;
	enum fault how;
	int countdown, calls;
	bool armed, forever, fired;
	bool power, dark; /* remembering; the power is gone */
	int power_countdown;
	struct undo *log; /* newest first */
} g = {.lock = PTHREAD_MUTEX_INITIALIZER};

enum call { CALL_OPEN, CALL_WRITE, CALL_SYNC, CALL_TRUNCATE, CALL_DELETE };

/* What this call is to answer: SQLITE_OK to go on. */
static int counted(enum call call)
{
	static const int eio[] = {SQLITE_CANTOPEN, SQLITE_IOERR_WRITE, SQLITE_IOERR_FSYNC,
				  SQLITE_IOERR_TRUNCATE, SQLITE_IOERR_DELETE};
	int rc = SQLITE_OK;

	if (g.dark)
		return eio[call];
	if (g.power && g.power_countdown > 0 && --g.power_countdown == 0) {
		g.dark = true;
		return eio[call];
	}
	if (!g.armed || call == CALL_DELETE || (g.how == FAULT_SYNC && call != CALL_SYNC))
		return rc;
	g.calls++;
	if (g.countdown > 0 && --g.countdown == 0)
		g.fired = true;
	else if (!g.fired || !g.forever)
		return rc;
	if (g.how == FAULT_NONE)
		return rc;
	if (g.how != FAULT_EIO && (call == CALL_WRITE || call == CALL_TRUNCATE))
		return SQLITE_FULL;
	return eio[call];
}

static int decide(enum call call)
{
	int rc;

	pthread_mutex_lock(&g.lock);
	rc = counted(call);
	pthread_mutex_unlock(&g.lock);
	return rc;
}

static void undo_free(struct undo *u)
{
	free(u->path);
	free(u->old);
	free(u->new);
	free(u);
}

static void forget(const char *path)
{
	struct undo **p = &g.log;

	while (*p) {
		struct undo *u = *p;

		if (path && !STREQ(u->path, path)) {
			p = &u->older;
			continue;
		}
		*p = u->older;
		undo_free(u);
	}
}

/* Before the write: what is there now. */
static void remember(struct wrapped *f, const void *data, size_t n, int64_t at)
{
	struct undo *u;

	if (!g.power || !f->path)
		return;
	u = xcalloc(1, sizeof(*u));
	u->path = xstrdup(f->path);
	u->at = at;
	u->n = n;
	f->real->pMethods->xFileSize(f->real, (sqlite3_int64 *)&u->size_before);
	u->replaced = n ? n : (size_t)(u->size_before > at ? u->size_before - at : 0);
	if (u->size_before < at)
		u->replaced = 0;
	else if (at + (int64_t)u->replaced > u->size_before)
		u->replaced = (size_t)(u->size_before - at);
	u->old = xmalloc(u->replaced);
	if (u->replaced)
		f->real->pMethods->xRead(f->real, u->old, (int)u->replaced, at);
	u->new = n ? xmemdup(data, n) : NULL;
	u->older = g.log;
	g.log = u;
}

static int x_close(sqlite3_file *p)
{
	struct wrapped *f = (struct wrapped *)p;
	int rc = f->real->pMethods ? f->real->pMethods->xClose(f->real) : SQLITE_OK;

	free(f->path);
	f->path = NULL;
	return rc;
}

static int x_read(sqlite3_file *p, void *data, int n, sqlite3_int64 at)
{
	sqlite3_file *r = ((struct wrapped *)p)->real;

	return r->pMethods->xRead(r, data, n, at);
}

static int x_write(sqlite3_file *p, const void *data, int n, sqlite3_int64 at)
{
	struct wrapped *f = (struct wrapped *)p;
	bool half;
	int rc;

	pthread_mutex_lock(&g.lock);
	rc = counted(CALL_WRITE);
	half = rc != SQLITE_OK && g.how == FAULT_SHORT && !g.dark;
	if (half)
		n /= 2;
	if (rc == SQLITE_OK || half) {
		int wrote;

		remember(f, data, (size_t)n, at);
		wrote = f->real->pMethods->xWrite(f->real, data, n, at);
		rc = rc == SQLITE_OK ? wrote : rc;
	}
	pthread_mutex_unlock(&g.lock);
	return rc;
}

static int x_truncate(sqlite3_file *p, sqlite3_int64 size)
{
	struct wrapped *f = (struct wrapped *)p;
	int rc;

	pthread_mutex_lock(&g.lock);
	rc = counted(CALL_TRUNCATE);
	if (rc == SQLITE_OK) {
		remember(f, NULL, 0, size);
		rc = f->real->pMethods->xTruncate(f->real, size);
	}
	pthread_mutex_unlock(&g.lock);
	return rc;
}

static int x_sync(sqlite3_file *p, int flags)
{
	struct wrapped *f = (struct wrapped *)p;
	int rc;

	pthread_mutex_lock(&g.lock);
	rc = counted(CALL_SYNC);
	/* with power simulated the disk is the undo log; a real sync would only cost time */
	if (rc == SQLITE_OK && !g.power)
		rc = f->real->pMethods->xSync(f->real, flags);
	if (rc == SQLITE_OK && f->path)
		forget(f->path);
	pthread_mutex_unlock(&g.lock);
	return rc;
}

static int x_size(sqlite3_file *p, sqlite3_int64 *ret)
{
	sqlite3_file *r = ((struct wrapped *)p)->real;

	return r->pMethods->xFileSize(r, ret);
}

static int x_lock(sqlite3_file *p, int level)
{
	sqlite3_file *r = ((struct wrapped *)p)->real;

	return r->pMethods->xLock(r, level);
}

static int x_unlock(sqlite3_file *p, int level)
{
	sqlite3_file *r = ((struct wrapped *)p)->real;

	return r->pMethods->xUnlock(r, level);
}

static int x_reserved(sqlite3_file *p, int *ret)
{
	sqlite3_file *r = ((struct wrapped *)p)->real;

	return r->pMethods->xCheckReservedLock(r, ret);
}

static int x_control(sqlite3_file *p, int op, void *arg)
{
	sqlite3_file *r = ((struct wrapped *)p)->real;

	if (op == SQLITE_FCNTL_SIZE_HINT || op == SQLITE_FCNTL_CHUNK_SIZE) /* would write behind our back */
		return SQLITE_NOTFOUND;
	return r->pMethods->xFileControl(r, op, arg);
}

static int x_sector(sqlite3_file *p)
{
	sqlite3_file *r = ((struct wrapped *)p)->real;

	return r->pMethods->xSectorSize(r);
}

static int x_character(sqlite3_file *p)
{
	sqlite3_file *r = ((struct wrapped *)p)->real;

	return r->pMethods->xDeviceCharacteristics(r);
}

static int x_shm_map(sqlite3_file *p, int page, int size, int extend, void volatile **ret)
{
	sqlite3_file *r = ((struct wrapped *)p)->real;

	return r->pMethods->xShmMap(r, page, size, extend, ret);
}

static int x_shm_lock(sqlite3_file *p, int offset, int n, int flags)
{
	sqlite3_file *r = ((struct wrapped *)p)->real;

	return r->pMethods->xShmLock(r, offset, n, flags);
}

static void x_shm_barrier(sqlite3_file *p)
{
	sqlite3_file *r = ((struct wrapped *)p)->real;

	r->pMethods->xShmBarrier(r);
}

static int x_shm_unmap(sqlite3_file *p, int delete)
{
	sqlite3_file *r = ((struct wrapped *)p)->real;

	return r->pMethods->xShmUnmap(r, delete);
}

static const sqlite3_io_methods methods = {
	.iVersion = 2, /* no xFetch: nothing may bypass us through a mapping */
	.xClose = x_close,
	.xRead = x_read,
	.xWrite = x_write,
	.xTruncate = x_truncate,
	.xSync = x_sync,
	.xFileSize = x_size,
	.xLock = x_lock,
	.xUnlock = x_unlock,
	.xCheckReservedLock = x_reserved,
	.xFileControl = x_control,
	.xSectorSize = x_sector,
	.xDeviceCharacteristics = x_character,
	.xShmMap = x_shm_map,
	.xShmLock = x_shm_lock,
	.xShmBarrier = x_shm_barrier,
	.xShmUnmap = x_shm_unmap,
};

static sqlite3_vfs *real_vfs(const sqlite3_vfs *v)
{
	return v->pAppData;
}

static int v_open(sqlite3_vfs *v, const char *name, sqlite3_file *file, int flags, int *out)
{
	struct wrapped *f = (struct wrapped *)file;
	int rc = decide(CALL_OPEN);

	f->base.pMethods = NULL;
	f->path = NULL;
	if (rc != SQLITE_OK)
		return rc;
	f->real = (sqlite3_file *)(f + 1);
	memset(f->real, 0, (size_t)real_vfs(v)->szOsFile);
	rc = real_vfs(v)->xOpen(real_vfs(v), name, f->real, flags, out);
	if (rc != SQLITE_OK)
		return rc;
	f->path = xstrdup(name);
	f->base.pMethods = &methods;
	return SQLITE_OK;
}

static int v_delete(sqlite3_vfs *v, const char *name, int sync)
{
	int rc = decide(CALL_DELETE);

	if (rc != SQLITE_OK)
		return rc;
	rc = real_vfs(v)->xDelete(real_vfs(v), name, sync);
	if (rc == SQLITE_OK) {
		pthread_mutex_lock(&g.lock);
		forget(name);
		pthread_mutex_unlock(&g.lock);
	}
	return rc;
}

static int v_access(sqlite3_vfs *v, const char *name, int flags, int *ret)
{
	return real_vfs(v)->xAccess(real_vfs(v), name, flags, ret);
}

static int v_full(sqlite3_vfs *v, const char *name, int n, char *ret)
{
	return real_vfs(v)->xFullPathname(real_vfs(v), name, n, ret);
}

const char *fault_vfs(void)
{
	static sqlite3_vfs vfs;
	sqlite3_vfs *real;

	pthread_mutex_lock(&g.lock);
	if (!vfs.zName) {
		real = sqlite3_vfs_find(NULL);
		vfs = *real;
		vfs.zName = "fault";
		vfs.pNext = NULL;
		vfs.pAppData = real;
		vfs.szOsFile = (int)sizeof(struct wrapped) + real->szOsFile;
		vfs.xOpen = v_open;
		vfs.xDelete = v_delete;
		vfs.xAccess = v_access;
		vfs.xFullPathname = v_full;
		sqlite3_vfs_register(&vfs, 0);
	}
	pthread_mutex_unlock(&g.lock);
	return vfs.zName;
}

void fault_arm(enum fault how, int nth, bool forever)
{
	pthread_mutex_lock(&g.lock);
	g.how = how;
	g.countdown = nth;
	g.calls = 0;
	g.forever = forever;
	g.fired = false;
	g.armed = true;
	pthread_mutex_unlock(&g.lock);
}

bool fault_disarm(void)
{
	bool fired;

	pthread_mutex_lock(&g.lock);
	fired = g.fired;
	g.armed = false;
	g.how = FAULT_NONE;
	pthread_mutex_unlock(&g.lock);
	return fired;
}

int fault_calls(void)
{
	int n;

	pthread_mutex_lock(&g.lock);
	n = g.calls;
	pthread_mutex_unlock(&g.lock);
	return n;
}

void power_on(void)
{
	pthread_mutex_lock(&g.lock);
	forget(NULL);
	g.power = true;
	g.dark = false;
	g.power_countdown = 0;
	pthread_mutex_unlock(&g.lock);
}

void power_fail_at(int nth)
{
	pthread_mutex_lock(&g.lock);
	g.power_countdown = nth;
	pthread_mutex_unlock(&g.lock);
}

/* A file that was renamed from NAME.new to NAME has its unsynced writes there. */
static int open_written(const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	size_t n = strlen(path);
	AUTO_FREE char *renamed = NULL;

	if (fd >= 0 || n < 5 || !STREQ(path + n - 4, ".new"))
		return fd;
	renamed = xasprintf("%.*s", (int)n - 4, path);
	return open(renamed, O_WRONLY | O_CLOEXEC);
}

/* The file as it was before the write. A file that is gone stays gone. */
static void take_back(const struct undo *u)
{
	int fd = open_written(u->path);

	if (fd < 0)
		return;
	if (u->replaced && pwrite(fd, u->old, u->replaced, u->at) != (ssize_t)u->replaced)
		abort();
	if (ftruncate(fd, u->size_before) < 0)
		abort();
	close(fd);
}

static unsigned next_random(unsigned *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 16;
}

/* Some sectors of a write reached the disk all the same, in any order. */
static void keep_some(const struct undo *u, unsigned *seed)
{
	int fd = open_written(u->path);

	if (fd < 0)
		return;
	for (size_t at = 0; at < u->n; at += SECTOR) {
		size_t n = u->n - at < SECTOR ? u->n - at : SECTOR;

		if (next_random(seed) & 1 && pwrite(fd, u->new + at, n, u->at + (int64_t)at) != (ssize_t)n)
			abort();
	}
	close(fd);
}

static void redo(const struct undo *u, unsigned *seed)
{
	if (!u)
		return;
	redo(u->older, seed); /* oldest first */
	if (u->n)
		keep_some(u, seed);
}

int power_lose(unsigned seed)
{
	int n = 0;

	pthread_mutex_lock(&g.lock);
	for (const struct undo *u = g.log; u; u = u->older, n++)
		take_back(u);
	if (seed)
		redo(g.log, &seed);
	for (const struct undo *u = g.log; u; u = u->older) {
		AUTO_FREE char *shm = NULL;
		size_t len = strlen(u->path);

		if (len > 4 && STREQ(u->path + len - 4, "-wal"))
			len -= 4;
		shm = xasprintf("%.*s-shm", (int)len, u->path);
		unlink(shm);
	}
	forget(NULL);
	g.power = g.dark = false;
	pthread_mutex_unlock(&g.lock);
	return n;
}

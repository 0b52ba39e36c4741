/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Folders of the data directory. A task's folder goes away by one rename (atomic) and is removed
 * afterwards, so that no half-removed folder ever stands under tasks/ (R30).
 */
#include <cdc/worker.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "task_folder.h"

static int fail(const char *path, const char *what, struct err *err)
{
	int number = errno;

	return err_system(err_set(err, ERR_STATE_IO, "%s: %s: %s", path, what, strerror(number)), err,
			  number);
}

static int make_dir(const char *path, struct err *err)
{
	if (mkdir(path, 0700) == 0 || errno == EEXIST)
		return 0;
	return fail(path, "cannot be made", err);
}

static int sync_dir(const char *path, struct err *err)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return fail(path, "cannot be opened", err);
	if (fsync(fd) < 0)
		rc = fail(path, "cannot be synced", err);
	close(fd);
	return rc;
}

/* The holder writes its process id, so that the message can name it. */
static int lock_dir(int *ret_fd, const char *dir, struct err *err)
{
	AUTO_FREE char *path = xasprintf("%s/lock", dir);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	char pid[32] = "";
	ssize_t n;

	if (fd < 0)
		return fail(path, "cannot be opened", err);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if ((n = pread(fd, pid, sizeof(pid) - 1, 0)) > 0)
			pid[strcspn(pid, "\n")] = 0;
		close(fd);
		return err_set(err, ERR_LOCKED,
			       "%s: another milvus-cdc uses this data directory (process %s): stop it, "
			       "or give this one another dataDir",
			       dir, n > 0 ? pid : "unknown");
	}
	n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, (size_t)n, 0) != n) {
		int rc = fail(path, "cannot be written", err);

		close(fd);
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

int task_folder_open(int *ret_fd, const char *dir, struct err *err)
{
	AUTO_FREE char *tasks = xasprintf("%s/tasks", dir);
	AUTO_FREE char *trash = xasprintf("%s/trash", dir);
	int fd = -1, rc;

	if ((rc = make_dir(dir, err)) < 0)
		return rc;
	if (chmod(dir, 0700) < 0) /* credentials and user data are inside */
		return fail(dir, "cannot be made private", err);
	if ((rc = lock_dir(&fd, dir, err)) < 0)
		return rc;
	if ((rc = make_dir(tasks, err)) < 0 || (rc = make_dir(trash, err)) < 0 ||
	    (rc = sync_dir(dir, err)) < 0) {
		close(fd);
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

char *task_folder_path(const char *dir, const char *id)
{
	return xasprintf("%s/tasks/%s", dir, id);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	if (type == FTW_DP)
		rmdir(path);
	else
		unlink(path);
	return 0;
}

static void remove_tree(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* Renames tasks/<id> into another folder of dir. 0: there was none, 1: done; *ret: its new place. */
static int move_away(const char *dir, const char *id, const char *to, char **ret, struct err *err)
{
	AUTO_FREE char *from = task_folder_path(dir, id);
	AUTO_FREE char *tasks = xasprintf("%s/tasks", dir);
	AUTO_FREE char *there = xasprintf("%s/%s/%s.%lld", dir, to, id, (long long)clock_real_ms());
	int rc;

	if (rename(from, there) < 0)
		return errno == ENOENT ? 0 : fail(from, "cannot be moved away", err);
	if ((rc = sync_dir(tasks, err)) < 0)
		return rc;
	*ret = TAKE(there);
	return 1;
}

int task_folder_remove(const char *dir, const char *id, struct err *err)
{
	AUTO_FREE char *there = NULL;
	int rc = move_away(dir, id, "trash", &there, err);

	if (rc > 0)
		remove_tree(there);
	return rc < 0 ? rc : 0;
}

void task_folder_empty_trash(const char *dir)
{
	AUTO_FREE char *trash = xasprintf("%s/trash", dir);

	remove_tree(trash);
	mkdir(trash, 0700);
}

int task_folder_sweep(const char *dir, bool (*known)(void *arg, const char *id),
		      void (*moved)(void *arg, const char *id), void *arg, struct err *err)
{
	AUTO_FREE char *tasks = xasprintf("%s/tasks", dir);
	AUTO_FREE char *orphaned = xasprintf("%s/orphaned", dir);
	DIR *d = opendir(tasks);
	struct dirent *e;
	int rc = 0;

	if (!d)
		return fail(tasks, "cannot be read", err);
	while (rc >= 0 && (e = readdir(d))) {
		AUTO_FREE char *there = NULL;

		if (e->d_name[0] == '.' || known(arg, e->d_name))
			continue;
		if ((rc = make_dir(orphaned, err)) == 0 &&
		    (rc = move_away(dir, e->d_name, "orphaned", &there, err)) > 0)
			moved(arg, e->d_name);
	}
	closedir(d);
	return rc < 0 ? rc : 0;
}

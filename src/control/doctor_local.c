/* SPDX-License-Identifier: Apache-2.0 */
/* The doctor on this machine: the data directory, the disk, SQLite, files with secrets. */
#include "doctor_priv.h"

#include <cdc/worker.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#define SYNCS 9
#define SYNC_SLOW_MS 50.0
#define SQLITE_LEAST 3037000 /* STRICT tables */

/* ---- the data directory ---- */

static const char *user_name(uid_t uid, char *buf, size_t n)
{
	const struct passwd *pw = getpwuid(uid);

	if (pw)
		snprintf(buf, n, "%s", pw->pw_name);
	else
		snprintf(buf, n, "user %u", (unsigned)uid);
	return buf;
}

/*
 * Who holds the lock of the directory: its process, 0 nobody. From the kernel's list, because a lock of our
 * own, however short, could make a starting service fail.
 */
static int64_t lock_holder(const char *dir)
{
	AUTO_FREE char *path = xasprintf("%s/lock", dir);
	FILE *f = fopen("/proc/locks", "re");
	char line[256], type[32];
	struct stat st;
	int64_t ret = 0;

	while (f && stat(path, &st) == 0 && fgets(line, sizeof(line), f)) {
		unsigned long long inode;
		unsigned maj, min;
		long long pid;

		if (sscanf(line, "%*s %31s %*s %*s %lld %x:%x:%llu", type, &pid, &maj, &min, &inode) == 5 &&
		    STREQ(type, "FLOCK") && inode == st.st_ino && maj == major(st.st_dev) &&
		    min == minor(st.st_dev))
			ret = pid;
	}
	if (f)
		fclose(f);
	return ret;
}

/* Files of another owner than the directory's: somebody has run the service as another user. */
static void check_owners(struct doctor *d, const struct stat *dir)
{
	static const char *const names[] = {"control.db", "lock", "instance", "tasks", "trash"};
	char ours[64], other[64];

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		AUTO_FREE char *path = xasprintf("%s/%s", d->conf->data_dir, names[i]);
		AUTO_FREE char *remedy =
			xasprintf("chown -R --reference=%s %s", d->conf->data_dir, d->conf->data_dir);
		struct stat st;

		if (stat(path, &st) == 0 && st.st_uid != dir->st_uid)
			doctor_say(d, FAIL, "data directory", remedy, "%s belongs to %s, the directory to %s",
				   path, user_name(st.st_uid, other, sizeof(other)),
				   user_name(dir->st_uid, ours, sizeof(ours)));
	}
}

void doctor_data_dir(struct doctor *d)
{
	const char *dir = d->conf->data_dir;
	char owner[64];
	struct stat st;

	if (stat(dir, &st) < 0) {
		doctor_say(d, errno == ENOENT ? WARN : FAIL, "data directory",
			   errno == ENOENT ? "the service makes it when it starts: systemctl start milvus-cdc"
					   : "run doctor as root or as the service's user",
			   "%s: %s", dir, strerror(errno));
		return;
	}
	if (!S_ISDIR(st.st_mode)) {
		doctor_say(d, FAIL, "data directory", "dataDir must name a directory", "%s is none", dir);
		return;
	}
	user_name(st.st_uid, owner, sizeof(owner));
	if (access(dir, R_OK | W_OK | X_OK) < 0) {
		doctor_say(d, FAIL, "data directory", "run doctor as root or as that user",
			   "%s belongs to %s: %s", dir, owner, strerror(errno));
		return;
	}
	d->data_dir = true;
	d->service = lock_holder(dir);
	check_owners(d, &st);
	if (st.st_mode & 077)
		doctor_say(d, WARN, "data directory", "chmod 700, there are credentials in it",
			   "%s (mode %03o) is open to others than %s", dir, st.st_mode & 0777, owner);
	else if (d->service)
		doctor_say(d, OK, "data directory", "",
			   "%s of %s, in use by the service (process %" PRId64 ")", dir, owner, d->service);
	else
		doctor_say(d, OK, "data directory", "", "%s of %s; the service is not running", dir, owner);
}

/* ---- the disk ---- */

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* Median time of a small write with its sync, in a file without a name. < 0: errno says why. */
static double sync_time(const char *dir)
{
	static const char page[4096];
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), n = 0;
	double times[SYNCS], begin = now_ms();

	if (fd < 0)
		return -1;
	for (; n < SYNCS && now_ms() - begin < CHECK_MS / 2.0; n++) {
		double start = now_ms();

		if (pwrite(fd, page, sizeof(page), (off_t)n * (off_t)sizeof(page)) != (ssize_t)sizeof(page) ||
		    fdatasync(fd) < 0) {
			int e = errno;

			close(fd);
			errno = e;
			return -1;
		}
		times[n] = now_ms() - start;
	}
	close(fd);
	qsort(times, (size_t)n, sizeof(times[0]), by_size);
	return times[n / 2];
}

static void check_room(struct doctor *d)
{
	const struct conf_journal *j = &d->conf->journal;
	double left, growth = 0;
	struct statvfs st;

	if (statvfs(d->conf->data_dir, &st) < 0) {
		doctor_say(d, FAIL, "disk space", "", "%s: %s", d->conf->data_dir, strerror(errno));
		return;
	}
	left = (double)st.f_bavail * (double)st.f_frsize;
	for (size_t i = 0; i < d->task_count; i++)
		if (d->journals[i].bytes < j->max_size)
			growth += (double)(j->max_size - d->journals[i].bytes);
	doctor_say(d,
		   left < (double)j->segment_size ? FAIL
		   : left < growth                ? WARN
						  : OK,
		   "disk space",
		   left < growth || left < (double)j->segment_size
			   ? "when it is full, reading waits; give it more room, or set journal.maxSize lower"
			   : "",
		   "%.1f GiB free; the journals of %zu task%s may grow by %.1f GiB (journal.maxSize)",
		   left / (1 << 30), d->task_count, d->task_count == 1 ? "" : "s", growth / (1 << 30));
}

void doctor_disk(struct doctor *d)
{
	double ms;

	if (!d->data_dir)
		return;
	check_room(d);
	ms = sync_time(d->conf->data_dir);
	if (ms < 0 && errno == EOPNOTSUPP)
		doctor_say(d, WARN, "disk speed",
			   "a local ext4, XFS or btrfs is the right place for a journal",
			   "not known: this file system has no files without a name");
	else if (ms < 0)
		doctor_say(d, FAIL, "disk speed", "the service must be able to write there", "%s: %s",
			   d->conf->data_dir, strerror(errno));
	else
		doctor_say(d, ms > SYNC_SLOW_MS ? WARN : OK, "disk speed",
			   ms > SYNC_SLOW_MS ? "each change waits for a sync; move dataDir to a faster disk"
					     : "",
			   "a synced write takes %.1f ms", ms);
}

void doctor_sqlite(struct doctor *d)
{
	bool old = sqlite3_libversion_number() < SQLITE_LEAST;
	bool threads = sqlite3_threadsafe() != 0, wal = !sqlite3_compileoption_used("OMIT_WAL");

	doctor_say(d, old || !threads || !wal ? FAIL : OK, "SQLite",
		   old                ? "3.37 or newer is needed"
		   : !threads || !wal ? "a library with threads and write-ahead log is needed"
				      : "",
		   "%s, %s, %s", sqlite3_libversion(), threads ? "thread-safe" : "without threads",
		   wal ? "with write-ahead log" : "without write-ahead log");
}

/* ---- files with secrets ---- */

/* May the user open the file? By its mode alone. */
static bool may_read(const struct stat *st, const struct passwd *pw)
{
	gid_t groups[256];
	int n = ARRAY_LEN(groups);

	if (pw->pw_uid == 0)
		return true;
	if (st->st_uid == pw->pw_uid)
		return st->st_mode & S_IRUSR;
	if (getgrouplist(pw->pw_name, pw->pw_gid, groups, &n) < 0)
		n = 0;
	for (int i = 0; i < n; i++)
		if (groups[i] == st->st_gid)
			return st->st_mode & S_IRGRP;
	return st->st_mode & S_IROTH;
}

/* The file has been read by us; others should not, and the service must. */
static void check_secret(struct doctor *d, const char *key, const char *name)
{
	const char *credentials = getenv("CREDENTIALS_DIRECTORY");
	bool credential = !strchr(name, '/') && credentials;
	AUTO_FREE char *path = credential ? xasprintf("%s/%s", credentials, name) : xstrdup(name);
	const struct passwd *service;
	struct stat st, dir;

	if (stat(path, &st) < 0) {
		doctor_say(d, FAIL, key, "", "%s: %s", path, strerror(errno));
		return;
	}
	service = stat(d->conf->data_dir, &dir) == 0 ? getpwuid(dir.st_uid) : NULL;
	if (!credential && st.st_mode & S_IROTH)
		doctor_say(d, WARN, key, "chmod o-r", "%s can be read by everybody", path);
	else if (!credential && service && !may_read(&st, service))
		doctor_say(d, WARN, key, "chgrp it to the service's group and chmod g+r, or LoadCredential=",
			   "%s cannot be read by %s, who owns the data directory", path, service->pw_name);
	else
		doctor_say(d, OK, key, "", "%s can be read", path);
}

void doctor_secrets(struct doctor *d)
{
	const struct conf_etcd *e = &d->conf->source.etcd;
	const struct conf_kafka *k = &d->conf->source.kafka;
	bool inside = (e->password && !e->password_file) || (k->sasl_password && !k->sasl_password_file);
	struct stat st;

	if (inside && stat(d->file, &st) == 0 && st.st_mode & S_IROTH)
		doctor_say(d, WARN, "passwords",
			   "chmod 640 and chgrp it to the service's group, or passwordFile",
			   "%s has passwords in it and can be read by everybody", d->file);
	if (e->password_file)
		check_secret(d, "sourceConfig.etcd.passwordFile", e->password_file);
	if (k->sasl_password_file)
		check_secret(d, "sourceConfig.kafka.saslPasswordFile", k->sasl_password_file);
	if (e->tls.enable && e->tls.key_path)
		check_secret(d, "sourceConfig.etcd.tlsKeyPath", e->tls.key_path);
	if (k->tls.enable && k->tls.key_path)
		check_secret(d, "sourceConfig.kafka.ssl.tlsKey", k->tls.key_path);
}

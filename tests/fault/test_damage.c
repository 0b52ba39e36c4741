/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Damage to a journal's files: bits flipped in every page and every frame, files cut off at every page. What
 * is damaged is never handed out (J7): reading finds it or is right. After the repair (R16) and what the
 * source is read again for, every entry is there, once; where nothing is before the damage nothing is
 * touched.
 */
#include "../unit/journal_kit.h"

#define BODY 5000
#define CUTS 14
#define PAGE 16384

static const struct journal_options options = {.segment_size = 40000, .keep_s = 3600};
static char made[300]; /* a copy of the journal, not closed: its newest file has a write-ahead log */

/* Without what is in folders. */
static void copy(const char *from, const char *to)
{
	DIR *d = opendir(from);
	struct dirent *e;

	nftw(to, kit_remove, 16, FTW_DEPTH | FTW_PHYS);
	CHECK(d && mkdir(to, 0750) == 0);
	while ((e = readdir(d))) {
		AUTO_FREE char *in = xasprintf("%s/%s", from, e->d_name),
			       *out = xasprintf("%s/%s", to, e->d_name);
		int a = open(in, O_RDONLY | O_CLOEXEC), b;
		struct stat st;

		if (fstat(a, &st) == 0 && S_ISREG(st.st_mode)) {
			AUTO_FREE char *text = xmalloc((size_t)st.st_size + 1);

			b = open(out, O_WRONLY | O_CREAT | O_CLOEXEC, st.st_mode & 0777);
			CHECK(b >= 0 && read(a, text, (size_t)st.st_size) == st.st_size &&
			      write(b, text, (size_t)st.st_size) == st.st_size);
			close(b);
		}
		close(a);
	}
	closedir(d);
}

static void make(bool closed)
{
	const char *dir = kit_dir();
	struct journal *j = NULL;
	struct err err = {0};

	snprintf(made, sizeof(made), "%s-made", dir);
	CHECKF(journal_open(&j, dir, &options, &err) == 0, "%s", err.text);
	for (int k = 1; k <= CUTS; k++)
		CHECKF(kit_append(j, k, BODY, &err) == 0, "%s", err.text);
	if (closed)
		journal_close(TAKE(j));
	copy(dir, made);
	journal_close(j);
}

static void make_done(void)
{
	nftw(made, kit_remove, 16, FTW_DEPTH | FTW_PHYS);
	kit_clean();
}

static int64_t file_size(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? st.st_size : -1;
}

static void flip(const char *path, int64_t at)
{
	uint8_t byte;
	int fd;

	chmod(path, 0640);
	fd = open(path, O_RDWR);
	CHECK(fd >= 0 && pread(fd, &byte, 1, at) == 1);
	byte ^= 0x41;
	CHECK(pwrite(fd, &byte, 1, at) == 1);
	close(fd);
}

/* Reads all. 0: all that is there is right. JOURNAL_BAD: damage was found. */
static int look(struct journal *j, struct err *err)
{
	AUTO(arena_free) struct arena *arena = arena_new();
	AUTO(journal_cursor_close) struct journal_cursor *c = NULL;
	struct journal_batch b;
	int rc = journal_cursor_open(&c, j, err), k = kit_check_head(j);

	if (rc < 0)
		return rc;
	if ((rc = journal_read(c, 0, 1 << 24, 10000, arena, &b, err)) < 0)
		return rc;
	kit_check_entries(j, k, BODY, 1, 1 << 24);
	return 0;
}

/* Opens, reads all, goes on to the last cut, reads all again. */
static int live(const char *dir, struct err *err)
{
	AUTO(journal_close) struct journal *j = NULL;
	struct journal_options o = options;
	int rc;

	if ((rc = journal_open(&j, dir, &o, err)) < 0 || (rc = look(j, err)) < 0)
		return rc;
	for (int k = (int)(journal_watermark(j) / 100) + 1; k <= CUTS + 2; k++)
		if ((rc = kit_append(j, k, BODY, err)) < 0)
			return rc;
	CHECK_INT(kit_check_head(j), CUTS + 2);
	return look(j, err);
}

/* What the daemon does with such a folder. 1: repaired; 0: not needed; < 0: held. */
static int live_on(const char *dir, const char *what)
{
	struct err err = {0}, why = {0};
	int rc = live(dir, &err);

	if (rc == 0)
		return 0;
	CHECKF(rc == -ERR_JOURNAL_BAD, "%s: %s: %s", what, err_name(err.code), err.text);
	if ((rc = journal_repair(dir, 0, &why)) < 0)
		return rc;
	CHECKF(rc == 1, "%s: used it said %s, the repair found nothing", what, err.text);
	CHECKF(live(dir, &err) == 0, "%s: after the repair: %s", what, err.text);
	return 1;
}

/* The n-th file of the journal in that folder; false: there are less. */
static bool file_at(const char *dir, int n, char ret[600])
{
	int found = -1;

	for (int64_t i = 1; i <= kit_total(CUTS) + 1 && found < n; i++) {
		snprintf(ret, 600, "%s", kit_segment(made, i));
		if (access(ret, F_OK) < 0)
			continue;
		snprintf(ret, 600, "%s", kit_segment(dir, i));
		found++;
	}
	return found == n;
}

struct tally {
	int tried, repaired, harmless, held;
};

/* One damage to the copy, told by what; then the daemon's life with it. */
static void try(struct tally *t, const char *dir, int file, const char *what)
{
	int rc = live_on(dir, what);

	t->tried++;
	t->repaired += rc > 0;
	t->harmless += rc == 0;
	t->held += rc < 0;
	CHECKF(rc >= 0 || file == 0, "%s: held, though there are files to go back to", what);
}

static void tell(const struct tally *t, int repaired)
{
	printf("# %d places: %d repaired, %d harmless, %d held\n", t->tried, t->repaired, t->harmless,
	       t->held);
	CHECKF(t->repaired >= repaired, "only %d repairs", t->repaired);
}

TEST(J7_R16_a_flipped_bit_in_any_page_of_any_file)
{
	static const int64_t places[] = {3, 40, 107, PAGE / 3, PAGE / 2, PAGE - 700, PAGE - 9};
	struct tally t = {0};
	const char *dir;
	char path[600], what[700];

	make(true);
	dir = kit_dir();
	for (int file = 0; file_at(dir, file, path); file++) {
		int64_t size;

		copy(made, dir);
		size = file_size(path);
		for (int64_t page = 0; page < size; page += PAGE)
			for (size_t i = 0; i < ARRAY_LEN(places); i++) {
				copy(made, dir);
				flip(path, page + places[i]);
				snprintf(what, sizeof(what), "%s at %lld", path,
					 (long long)(page + places[i]));
				try(&t, dir, file, what);
			}
	}
	tell(&t, 50);
	make_done();
}

TEST(J7_R16_a_file_that_is_cut_off_at_any_page_or_emptied_or_gone)
{
	struct tally t = {0};
	const char *dir;
	char path[600], what[700];

	make(true);
	dir = kit_dir();
	for (int file = 0; file_at(dir, file, path); file++) {
		int64_t size;

		copy(made, dir);
		size = file_size(path);
		for (int64_t at = -1; at < size; at += at % PAGE == 700 ? PAGE - 700 : at < 0 ? 1 : 700) {
			copy(made, dir);
			chmod(path, 0640);
			CHECK_INT(at < 0 ? unlink(path) : truncate(path, at), 0);
			snprintf(what, sizeof(what), "%s cut off at %lld", path, (long long)at);
			try(&t, dir, file, what);
		}
	}
	tell(&t, 10);
	make_done();
}

/* SQLite ends a log at the first frame whose checksum is wrong: a lost tail, which is read again (R13). */
TEST(J5_R13_a_flipped_bit_in_any_frame_of_the_log_or_a_log_cut_off)
{
	struct tally t = {0};
	const char *dir;
	char path[600], wal[640], what[700];
	int last = 0;
	int64_t size;

	make(false);
	dir = kit_dir();
	while (file_at(dir, last + 1, path))
		last++;
	CHECK(file_at(dir, last, path));
	snprintf(wal, sizeof(wal), "%s-wal", path);
	copy(made, dir);
	size = file_size(wal);
	CHECK(size > 4 * PAGE);
	for (int64_t at = 5; at < size; at += PAGE / 2 + 100)
		for (int cut = 0; cut < 2; cut++) {
			copy(made, dir);
			if (cut)
				CHECK_INT(truncate(wal, at), 0);
			else
				flip(wal, at);
			snprintf(what, sizeof(what), "%s %s at %lld", wal, cut ? "cut off" : "flipped",
				 (long long)at);
			try(&t, dir, last, what);
		}
	tell(&t, 0);
	make_done();
}

TEST_MAIN()

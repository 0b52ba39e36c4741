/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MB/s of journal_append with commits of 1, 2 and 4 MB against plain write + fdatasync of the same
 * bytes, in one run on the same disk, turn by turn. Usage: bench_journal [FOLDER [MB per run]]
 */
#include <cdc/journal.h>
#include <cdc/worker.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define MESSAGE ((size_t)64 << 10) /* bytes of one body */

static double seconds(void)
{
	return (double)clock_mono_ms() / 1000;
}

static void remove_all(const char *dir)
{
	AUTO_FREE char *cmd = xasprintf("rm -rf '%s'", dir);

	if (system(cmd) != 0)
		perror(dir);
}

static double plain(const char *dir, const uint8_t *data, size_t commit, int n)
{
	AUTO_FREE char *path = xasprintf("%s/plain", dir);
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	double begin = seconds();

	for (int i = 0; i < n; i++)
		for (size_t at = 0; at < commit;) {
			ssize_t w = write(fd, data + at, commit - at);

			if (w < 0) {
				perror(path);
				exit(1);
			}
			at += (size_t)w;
			if (at == commit && fdatasync(fd) < 0) {
				perror(path);
				exit(1);
			}
		}
	begin = seconds() - begin;
	close(fd);
	unlink(path);
	return begin;
}

static double journal(const char *dir, const uint8_t *data, size_t commit, int n)
{
	AUTO_FREE char *folder = xasprintf("%s/journal", dir);
	size_t count = commit / MESSAGE;
	struct entry *e = xcalloc(count, sizeof(*e));
	struct position p = {.pchannel = "by-dev-rootcoord-dml_0"};
	struct journal *j;
	struct err err;
	double begin;

	if (journal_open(&j, folder, &(struct journal_options){0}, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		exit(1);
	}
	begin = seconds();
	for (int i = 1; i <= n; i++) {
		struct cut c = {.watermark = (cdc_ts)i,
				.entries = e,
				.entry_count = count,
				.positions = &p,
				.position_count = 1};

		for (size_t k = 0; k < count; k++)
			e[k] = (struct entry){.ts = (cdc_ts)i,
					      .kind = KIND_INSERT,
					      .db = "default",
					      .collection = "c",
					      .vchannel = "by-dev-rootcoord-dml_0_1v0",
					      .pchannel = p.pchannel,
					      .rows = 100,
					      .body = data + k * MESSAGE,
					      .size = MESSAGE};
		if (journal_append(j, &c, 1, &err) < 0) {
			fprintf(stderr, "%s\n", err.text);
			exit(1);
		}
	}
	begin = seconds() - begin;
	journal_close(j);
	free(e);
	remove_all(folder);
	return begin;
}

int main(int argc, char **argv)
{
	AUTO_FREE char *dir = xasprintf("%s/bench-journal-%d", argc > 1 ? argv[1] : ".", (int)getpid());
	int mb = argc > 2 ? atoi(argv[2]) : 256;
	uint8_t *data = xmalloc((size_t)4 << 20);
	AUTO_FREE char *mkdir = xasprintf("mkdir -p '%s'", dir);
	struct rusage ru;

	for (size_t i = 0; i < (size_t)4 << 20; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 13);
	if (system(mkdir) != 0)
		return 1;
	printf("commit  plain MB/s  journal MB/s  ratio\n");
	for (size_t commit = (size_t)1 << 20; commit <= (size_t)4 << 20; commit *= 2) {
		int n = (int)(((size_t)mb << 20) / commit);
		double a = plain(dir, data, commit, n), b = journal(dir, data, commit, n);

		a += plain(dir, data, commit, n);
		b += journal(dir, data, commit, n);
		printf("%3zu MB  %10.0f  %12.0f  %5.2f\n", commit >> 20, 2 * mb / a, 2 * mb / b, a / b);
	}
	getrusage(RUSAGE_SELF, &ru);
	printf("peak memory %ld MB\n", ru.ru_maxrss >> 10);
	remove_all(dir);
	free(data);
	return 0;
}

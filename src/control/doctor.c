/* SPDX-License-Identifier: Apache-2.0 */
/* The doctor: arguments, the order of the checks, and how a line looks. */
#include "doctor.h"

#include "doctor_priv.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#define DEFAULT_FILE "/etc/milvus-cdc/cdc.yaml"
enum { EXIT_USAGE = 64 };

void doctor_say(struct doctor *d, enum verdict v, const char *what, const char *remedy, const char *fmt, ...)
{
	static const char *const words[] = {"ok  ", "warn", "FAIL"};
	va_list ap;

	fprintf(d->out, "%s  %s: ", words[v], what);
	va_start(ap, fmt);
	vfprintf(d->out, fmt, ap);
	va_end(ap);
	fprintf(d->out, *remedy ? " (%s)\n" : "%s\n", remedy);
	fflush(d->out);
	d->failed += v == FAIL;
	d->warned += v == WARN;
}

static void note(void *arg, const char *file, int line, const char *text)
{
	doctor_say(arg, OK, "configuration", "", "%s:%d: %s", file, line, text);
}

/*
 * Credentials of the running service can be read where systemd has put them: for "FILE.yaml" in
 * /etc/milvus-cdc that is milvus-cdc@FILE, for cdc.yaml milvus-cdc.
 */
static void find_credentials(const char *file)
{
	const char *base = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;
	int n = (int)strcspn(base, ".");
	AUTO_FREE char *dir = strncmp(base, "cdc.yaml", 8) == 0
				      ? xstrdup("/run/credentials/milvus-cdc.service")
				      : xasprintf("/run/credentials/milvus-cdc@%.*s.service", n, base);

	if (!getenv("CREDENTIALS_DIRECTORY") && access(dir, R_OK | X_OK) == 0)
		setenv("CREDENTIALS_DIRECTORY", dir, 1);
}

static bool load(struct doctor *d)
{
	struct err err = {0};

	find_credentials(d->file);
	if (conf_load(&d->conf, d->file, note, d, &err) == 0) {
		doctor_say(d, OK, "configuration", "", "%s", d->file);
		return true;
	}
	doctor_say(d, FAIL, "configuration",
		   getenv("CREDENTIALS_DIRECTORY") || !strstr(err.text, "asswordFile")
			   ? "correct it; milvus-cdc --help lists the keys"
			   : "a name without a slash is a credential of the service, it can be read by root "
			     "while the service runs",
		   "%s", err.text);
	return false;
}

static void check_source(struct doctor *d)
{
	const struct conf_source *s = &d->conf->source;
	AUTO_FREE char *remedy =
		xasprintf("write the addresses of the source Milvus' etcd and Kafka into %s, then: systemctl "
			  "restart milvus-cdc",
			  d->file);

	const char *missing = s->etcd.address[0] ? "sourceConfig.kafka.address is"
			      : s->kafka.address
				      ? "sourceConfig.etcd.address is"
				      : "sourceConfig.etcd.address and sourceConfig.kafka.address are";

	if (conf_has_source(d->conf)) {
		doctor_etcd(d);
		doctor_kafka(d);
	} else {
		doctor_say(d, FAIL, "source", remedy, "no source Milvus is configured: %s not set in %s",
			   missing, d->file);
	}
}

int doctor_run(FILE *out, const char *file)
{
	struct doctor d = {.out = out, .file = file, .arena = arena_new()};

	if (load(&d)) {
		doctor_secrets(&d);
		doctor_sqlite(&d);
		doctor_data_dir(&d);
		doctor_read_tasks(&d);
		doctor_disk(&d);
		check_source(&d);
		doctor_tasks(&d);
	}
	fprintf(out, "%d failed, %d warning%s\n", d.failed, d.warned, d.warned == 1 ? "" : "s");
	for (size_t i = 0; i < d.task_count; i++) {
		task_row_clear(&d.tasks[i]);
		peek_task_clear(&d.journals[i]);
	}
	free(d.tasks);
	free(d.journals);
	etcd_free(d.etcd);
	conf_free(d.conf);
	arena_free(d.arena);
	return d.failed;
}

static int usage(FILE *f, int code)
{
	fputs("Usage: milvus-cdc doctor [--config FILE]\n\n"
	      "Looks at everything that the service needs and prints a line each: ok, warn or FAIL, what "
	      "was\n"
	      "found, and the remedy. Changes nothing; the service may be running. Exit status 1 if "
	      "anything\n"
	      "failed.\n\n"
	      "  -c, --config FILE    configuration [" DEFAULT_FILE "]\n"
	      "  -h, --help           print this text\n",
	      f);
	return code;
}

int doctor_main(int argc, char **argv)
{
	static const struct option options[] = {{"config", required_argument, NULL, 'c'},
						{"help", no_argument, NULL, 'h'},
						{NULL, 0, NULL, 0}};
	const char *file = DEFAULT_FILE;
	int opt;

	while ((opt = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		if (opt != 'c')
			return usage(opt == 'h' ? stdout : stderr, opt == 'h' ? 0 : EXIT_USAGE);
		file = optarg;
	}
	if (optind < argc)
		return usage(stderr, EXIT_USAGE);
	wire_init();
	return doctor_run(stdout, file) > 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * milvus-cdc: arguments, configuration, exit codes. 0 clean stop; 1 could not run; 64 wrong arguments;
 * 75 the data directory is in use; 78 the configuration is wrong (systemd does not restart on it).
 */
#include <cdc/conf.h>
#include <cdc/log.h>
#include <cdc/wire.h>

#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>

#include "control/doctor.h"
#include "control/journal_tool.h"
#include "control/supervisor.h"

enum { EXIT_USAGE = 64, EXIT_LOCKED = 75, EXIT_CONFIG = 78 };

static int usage(FILE *f, int code)
{
	fputs("Usage: milvus-cdc --config FILE [--check-config]\n"
	      "       milvus-cdc doctor [--config FILE]\n"
	      "       milvus-cdc journal [--pending] [DIR]\n\n"
	      "Replicates a source Milvus into target Milvus servers through a durable journal.\n\n"
	      "  -c, --config FILE    configuration, YAML\n"
	      "      --check-config   read the configuration, say what is wrong, and end\n"
	      "      --version        print the version\n"
	      "  -h, --help           print this text\n",
	      f);
	if (code == 0) {
		fputs("\nKeys of the configuration, with [defaults]:\n", f);
		conf_help(f);
		fputs("\nExit codes: 0 stopped, 1 could not run, 64 wrong arguments, 75 data directory in "
		      "use,\n"
		      "78 wrong configuration.\n",
		      f);
	}
	return code;
}

/*
 * Messages are megabytes and short-lived, threads are many: left alone, malloc keeps such blocks in an
 * arena a thread, and a burst stays resident for good (120 MB instead of 80 in the benchmark).
 */
static void keep_memory_small(void)
{
	mallopt(M_MMAP_THRESHOLD, 256 << 10);
	mallopt(M_TRIM_THRESHOLD, 1 << 20);
	mallopt(M_ARENA_MAX, 2);
}

static int exit_code(int code)
{
	if (code == ERR_CONFIG)
		return EXIT_CONFIG;
	return code == ERR_LOCKED ? EXIT_LOCKED : 1;
}

/* For systemctl status: what the system said, else the nearest that it has. */
static int system_error(const struct err *err)
{
	if (err->system)
		return err->system;
	switch (err->code) {
	case ERR_CONFIG:
		return EINVAL;
	case ERR_LOCKED:
		return EBUSY;
	case ERR_JOURNAL_NEWER:
		return EPROTONOSUPPORT;
	default:
		return EIO;
	}
}

static void note_to_log(void *arg, const char *file, int line, const char *text)
{
	(void)arg;
	log_event(CONFIG_NOTE, "%s:%d: %s", file, line, text);
}

static void note_to_stdout(void *arg, const char *file, int line, const char *text)
{
	(void)arg;
	printf("%s:%d: %s\n", file, line, text);
}

static int check_config(const char *file)
{
	struct err err = {0};
	struct conf *conf = NULL;

	if (conf_load(&conf, file, note_to_stdout, NULL, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return EXIT_CONFIG;
	}
	printf("%s: ok%s\n", file, conf_has_source(conf) ? "" : ", no source configured");
	conf_free(conf);
	return 0;
}

static int run(const char *file)
{
	AUTO(conf_free) struct conf *conf = NULL;
	struct err err = {0};
	int rc;

	log_open(LOG_LVL_INFO);
	umask(077);
	supervisor_signals();
	if ((rc = conf_load(&conf, file, note_to_log, NULL, &err)) == 0) {
		log_level_set((enum log_level)conf->log_level);
		keep_memory_small();
		wire_init();
		rc = supervisor_run(conf, &err);
	}
	if (rc == 0)
		return 0;
	log_event(NOT_STARTED, "%s", err.text);
	sd_notifyf(0, "STATUS=%s\nERRNO=%d", err.text, system_error(&err));
	return exit_code(-rc);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"config", required_argument, NULL, 'c'},
						{"check-config", no_argument, NULL, 'C'},
						{"version", no_argument, NULL, 'v'},
						{"help", no_argument, NULL, 'h'},
						{NULL, 0, NULL, 0}};
	const char *file = NULL;
	int opt, check = 0;

	if (argc > 1 && STREQ(argv[1], "doctor"))
		return doctor_main(argc - 1, argv + 1);
	if (argc > 1 && STREQ(argv[1], "journal"))
		return journal_tool_main(argc - 1, argv + 1);
	while ((opt = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		if (opt == 'c')
			file = optarg;
		else if (opt == 'C')
			check = 1;
		else if (opt == 'v')
			return printf("milvus-cdc %s\n", CDC_VERSION) < 0;
		else
			return usage(opt == 'h' ? stdout : stderr, opt == 'h' ? 0 : EXIT_USAGE);
	}
	if (optind < argc) {
		fprintf(stderr, "milvus-cdc: what is '%s'?\n", argv[optind]);
		return usage(stderr, EXIT_USAGE);
	}
	if (!file) {
		fputs("milvus-cdc: --config FILE is missing\n", stderr);
		return usage(stderr, EXIT_USAGE);
	}
	return check ? check_config(file) : run(file);
}

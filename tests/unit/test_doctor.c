/* SPDX-License-Identifier: Apache-2.0 */
/* The doctor's lines, against a real etcd that the test starts itself and a Kafka that is not there. */
#include "../../src/control/doctor.h"

#include <cdc/conf.h>
#include <cdc/wire.h>

#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../fake/etcd_process.h"
#include "../t.h"

#define DEFAULT_DATABASE \
	"\x12\x07" \
	"default"

static char dir[64], *text;
static int fails;
static struct etcd_process *server;

__attribute__((constructor)) static void begin(void)
{
	wire_init();
	snprintf(dir, sizeof(dir), "/tmp/cdc-doctor-XXXXXX");
	if (!mkdtemp(dir))
		abort();
}

__attribute__((destructor)) static void end(void)
{
	AUTO_FREE char *cmd = xasprintf("rm -rf %s", dir);

	etcd_process_free(server);
	free(text);
	if (system(cmd) != 0)
		perror(cmd);
}

static struct etcd_process *plain(void)
{
	if (!server) {
		server = etcd_process_new(false);
		etcd_process_start(server);
	}
	return server;
}

/* Runs the doctor on a configuration. */
static void look(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void look(const char *fmt, ...)
{
	AUTO_FREE char *file = xasprintf("%s/cdc.yaml", dir);
	FILE *f = fopen(file, "w"), *out;
	size_t n = 0;
	va_list ap;

	CHECK(f);
	va_start(ap, fmt);
	vfprintf(f, fmt, ap);
	va_end(ap);
	fclose(f);
	free(TAKE(text));
	out = open_memstream(&text, &n);
	fails = doctor_run(out, file);
	fclose(out);
}

/* A source at the address of p, with more lines below etcd; the data directory is dir/data. */
static void look_at(const struct etcd_process *p, const char *more)
{
	look("dataDir: %s/data\nsourceConfig:\n  etcd:\n    address: ['%s']\n%s  kafka:\n    address: "
	     "127.0.0.1:1\n",
	     dir, p->address, more);
}

/* There is one line that begins like that and has these words in it. */
static void told(const char *start, const char *words)
{
	const char *at = text;
	size_t n = strlen(start);

	while (at && strncmp(at, start, n) != 0) {
		at = strchr(at, '\n');
		at = at ? at + 1 : NULL;
	}
	CHECKF(at, "no line '%s' in:\n%s", start, text);
	CHECKF(memmem(at, strcspn(at, "\n"), words, strlen(words)), "'%s' is not told in:\n%s", words, text);
}

static void data_dir(mode_t mode)
{
	AUTO_FREE char *path = xasprintf("%s/data", dir);

	mkdir(path, mode);
	CHECK_INT(chmod(path, mode), 0);
}

TEST(R34_without_a_source_it_says_what_is_missing_and_where)
{
	data_dir(0700);
	look("dataDir: %s/data\n", dir);
	CHECK_INT(fails, 1);
	told("FAIL  source: ", "sourceConfig.etcd.address and sourceConfig.kafka.address are not set in ");
	told("FAIL  source: ", "/cdc.yaml, then: systemctl restart milvus-cdc)");
	look("dataDir: %s/data\nsourceConfig: {etcd: {address: ['h:1']}}\n", dir);
	CHECK_INT(fails, 1);
	told("FAIL  source: ", "no source Milvus is configured: sourceConfig.kafka.address is not set in ");
	look("dataDir: %s/data\nsourceConfig: {kafka: {address: 'h:1'}}\n", dir);
	CHECK_INT(fails, 1);
	told("FAIL  source: ", "no source Milvus is configured: sourceConfig.etcd.address is not set in ");
}

TEST(a_wrong_configuration_is_told_with_its_line)
{
	look("logLevel: loud\n");
	CHECK_INT(fails, 1);
	told("FAIL  configuration: ", "cdc.yaml:1: logLevel: ");
	look("sourceConfig: {etcd: {enableAuth: true, username: u, passwordFile: cred}}\n");
	CHECK_INT(fails, 1);
	told("FAIL  configuration: ", "credential of the service");
}

TEST(the_data_directory_the_disk_and_SQLite_are_looked_at)
{
	data_dir(0755);
	look("dataDir: %s/data\n", dir);
	told("warn  data directory: ", "(mode 755) is open to others");
	data_dir(0700);
	look("dataDir: %s/data\n", dir);
	told("ok    data directory: ", "the service is not running");
	told("ok    SQLite: ", "thread-safe");
	told("ok    tasks: ", "none was ever made");
	told("ok    disk space: ", "the journals of 0 tasks may grow by 0.0 GiB");
	CHECK(strstr(text, "disk speed: a synced write takes "));
	look("dataDir: %s/none\n", dir);
	told("warn  data directory: ", "the service makes it");
	look("dataDir: %s/cdc.yaml\n", dir);
	told("FAIL  data directory: ", "is none");
}

TEST(etcd_is_told_with_version_and_what_is_at_the_root_path)
{
	etcd_process_put(plain(), "by-dev/meta/root-coord/database/db-info/1", DEFAULT_DATABASE);
	look_at(plain(), "");
	told("ok    etcd: 3.", plain()->address);
	told("ok    etcd metadata: by-dev/meta: 1 database, 0 collections on 0 pchannels", "");
	told("FAIL  Kafka: ", "127.0.0.1:1");
	CHECK_INT(fails, 1);
	look_at(plain(), "    rootPath: other\n");
	told("FAIL  etcd metadata: no default database below other/meta", "set sourceConfig.etcd.rootPath");
	CHECK_INT(fails, 2);
	look_at(plain(), "    metaSubPath: other\n");
	told("FAIL  etcd metadata: no default database below by-dev/other", "metaSubPath");
}

TEST(an_etcd_that_is_away_is_told_in_time)
{
	look("dataDir: %s/data\nsourceConfig:\n  etcd:\n    address: ['127.0.0.1:2']\n  kafka:\n    address: "
	     "127.0.0.1:1\n",
	     dir);
	CHECK_INT(fails, 2);
	told("FAIL  etcd: ", "127.0.0.1:2");
	told("FAIL  Kafka: ", "127.0.0.1:1");
}

TEST(a_password_that_etcd_refuses_is_told_and_never_shown)
{
	AUTO(etcd_process_free) struct etcd_process *p = etcd_process_new(false);
	AUTO_FREE char *file = xasprintf("%s/secret", dir);
	AUTO_FREE char *by_file = NULL;
	FILE *f;

	etcd_process_start(p);
	etcd_process_put(p, "by-dev/meta/root-coord/database/db-info/1", DEFAULT_DATABASE);
	etcd_process_auth(p, "by-dev/");
	look_at(p, "");
	told("FAIL  etcd: ", "set sourceConfig.etcd.enableAuth");
	look_at(p, "    enableAuth: true\n    username: root\n    password: geheim\n");
	told("FAIL  etcd: ", "user 'root' is refused");
	told("warn  passwords: ", "can be read by everybody");
	CHECK(!strstr(text, "geheim"));
	f = fopen(file, "w");
	fputs("rootpw\n", f);
	fclose(f);
	chmod(file, 0600);
	by_file = xasprintf("    enableAuth: true\n    username: root\n    passwordFile: %s\n", file);
	look_at(p, by_file);
	told("ok    etcd: 3.", "logged in as root");
	told("ok    sourceConfig.etcd.passwordFile: ", "can be read");
	CHECK(!strstr(text, "rootpw"));
	chmod(file, 0644);
	look_at(p, by_file);
	told("warn  sourceConfig.etcd.passwordFile: ", "can be read by everybody");
}

TEST(dates_of_certificates_are_told_before_they_are_over)
{
	AUTO(etcd_process_free) struct etcd_process *p = etcd_process_new(true);
	AUTO_FREE char *more = NULL;

	etcd_process_start(p);
	more = xasprintf("    enableTLS: true\n    tlsCACertPath: %s/ca.pem\n    tlsCertPath: %s/client.pem\n"
			 "    tlsKeyPath: %s/client.key\n",
			 p->dir, p->dir, p->dir);
	look_at(p, more);
	/* both are made for two days, of which a second may be over */
	told("warn  etcd, our certificate: good until ", " day");
	told("warn  etcd, our certificate: good until ", "(renew it)");
	told("warn  etcd, the server's certificate: good until ", "(renew it)");
	told("ok    etcd: 3.", p->address);
}

TEST_MAIN()

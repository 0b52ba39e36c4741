/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration: defaults, the peer's file, every kind of refusal with file, line and key. */
#include <cdc/conf.h>
#include <cdc/log.h>

#include <sys/stat.h>
#include <unistd.h>

#include "../t.h"

static char path[64];
static char notes[8192];
static struct err err;

static void take_note(void *arg, const char *file, int line, const char *text)
{
	size_t n = strlen(notes);

	(void)arg;
	(void)file;
	snprintf(notes + n, sizeof(notes) - n, "%d %s\n", line, text);
}

static int load_bytes(struct conf **ret, const char *text, size_t n)
{
	FILE *f;
	int rc;

	snprintf(path, sizeof(path), "/tmp/cdc-conf-%d.yaml", (int)getpid());
	f = fopen(path, "w");
	CHECK(f && fwrite(text, 1, n, f) == n);
	fclose(f);
	notes[0] = 0;
	err = (struct err){0};
	rc = conf_load(ret, path, take_note, NULL, &err);
	unlink(path);
	return rc;
}

static int load(struct conf **ret, const char *text)
{
	return load_bytes(ret, text, strlen(text));
}

/* The text is refused, and the answer is "FILE:line: rest..." */
static void refused(const char *text, int line, const char *rest)
{
	struct conf *c = NULL;
	char want[512];

	CHECK_INT(load(&c, text), -ERR_CONFIG);
	CHECK_INT(err.code, ERR_CONFIG);
	CHECK(!c);
	snprintf(want, sizeof(want), "%s:%d: %s", path, line, rest);
	CHECKF(strncmp(err.text, want, strlen(want)) == 0, "got \"%s\", want \"%s\"", err.text, want);
}

TEST(an_empty_file_gives_the_defaults_and_no_source)
{
	struct conf *c;

	CHECK_INT(load(&c, ""), 0);
	CHECK_STR(c->address, "127.0.0.1:8444");
	CHECK_STR(c->data_dir, "/var/lib/milvus-cdc");
	CHECK_INT(c->log_level, LOG_LVL_INFO);
	CHECK_INT(c->max_task_num, 100);
	CHECK_INT(c->max_name_length, 256);
	CHECK_INT(c->journal.segment_size, 256 << 20);
	CHECK_INT(c->journal.keep_s, 86400);
	CHECK_STR(c->source.etcd.root_path, "by-dev");
	CHECK_STR(c->source.etcd.meta_sub_path, "meta");
	CHECK_STR(c->source.replicate_chan, "by-dev-replicate-msg");
	CHECK_STR(c->source.default_partition_name, "_default");
	CHECK(!c->source.etcd.address[0] && !c->source.kafka.address && !conf_has_source(c));
	CHECK_STR(c->file, path);
	conf_free(c);
}

TEST(defaults_of_conf_default_are_those_of_an_empty_file)
{
	struct conf *c = conf_default();

	CHECK_STR(c->address, "127.0.0.1:8444");
	CHECK_INT(c->request_timeout_ms, 10000);
	CHECK_INT(c->idle_tick_ms, 400);
	CHECK(!conf_has_source(c));
	conf_free(c);
	conf_free(NULL);
}

TEST(a_file_of_the_peer_is_taken_and_says_what_is_unused)
{
	struct conf *c;

	CHECK_INT(load(&c, "address: 0.0.0.0:8444\n"
			   "maxTaskNum: 7\n"
			   "metaStoreConfig:\n"
			   "  storeType: etcd\n"
			   "  etcd:\n"
			   "    address:\n"
			   "      - http://127.0.0.1:2379\n"
			   "sourceConfig:\n"
			   "  etcd:\n"
			   "    address:\n"
			   "      - http://127.0.0.1:2379\n"
			   "      - https://b:1\n"
			   "    rootPath: other\n"
			   "    enableAuth: true\n"
			   "    username: root\n"
			   "    password: hush\n"
			   "    tlsCertPath: no/such.pem # only read with enableTLS\n"
			   "    tlsMinVersion: 1.3\n"
			   "  readChanLen: 10\n"
			   "  pulsar:\n"
			   "    address:\n"
			   "    tenant: public\n"
			   "  kafka:\n"
			   "    address: a:9092,b:9093\n"
			   "maxNameLength: 255\n"
			   "logLevel: debug\n"
			   "detectDeadLock: false\n"),
		  0);
	CHECK(conf_has_source(c));
	CHECK_STR(c->source.etcd.address[1], "https://b:1");
	CHECK(!c->source.etcd.address[2]);
	CHECK_STR(c->source.etcd.root_path, "other");
	CHECK_STR(c->source.etcd.password, "hush");
	CHECK_STR(c->source.kafka.address, "a:9092,b:9093");
	CHECK_INT(c->max_task_num, 7);
	CHECK_INT(c->log_level, LOG_LVL_DEBUG);
	CHECK(strstr(notes, "3 metaStoreConfig: accepted and not used"));
	CHECK(strstr(notes, "18 sourceConfig.etcd.tlsMinVersion: accepted"));
	CHECK(strstr(notes, "19 sourceConfig.readChanLen: accepted"));
	CHECK(strstr(notes, "20 sourceConfig.pulsar: accepted"));
	CHECK(strstr(notes, "27 detectDeadLock: accepted"));
	CHECK(!strstr(notes, "hush"));
	conf_free(c);
}

TEST(the_peers_deprecated_names_stand_for_the_new_ones)
{
	struct conf *c;

	CHECK_INT(load(&c,
		       "sourceConfig:\n  etcdAddress:\n    - h:1\n  etcdRootPath: r\n  etcdMetaSubPath: m\n"),
		  0);
	CHECK_STR(c->source.etcd.address[0], "h:1");
	CHECK_STR(c->source.etcd.root_path, "r");
	CHECK_STR(c->source.etcd.meta_sub_path, "m");
	CHECK(strstr(notes, "there is no source yet"));
	CHECK(!conf_has_source(c));
	conf_free(c);
}

TEST(sizes_and_durations_have_units)
{
	struct conf *c;

	CHECK_INT(load(&c, "journal:\n  segmentSize: 2 MiB\n  maxSize: \"3GB\"\n  keep: 90m\n"
			   "apply:\n  requestTimeout: 1500ms\n  idleTick: 1s\n"),
		  0);
	CHECK_INT(c->journal.segment_size, 2 << 20);
	CHECK_INT(c->journal.max_size, 3000000000LL);
	CHECK_INT(c->journal.keep_s, 5400);
	CHECK_INT(c->request_timeout_ms, 1500);
	CHECK_INT(c->idle_tick_ms, 1000);
	conf_free(c);
}

TEST(a_section_or_key_without_a_value_keeps_the_default)
{
	struct conf *c;

	CHECK_INT(load(&c, "sourceConfig:\n  kafka:\njournal:\nlogLevel:\naddress: ~\n"), 0);
	CHECK_STR(c->address, "127.0.0.1:8444");
	CHECK(!c->source.kafka.address);
	conf_free(c);
}

TEST(kafka_security_follows_from_what_is_given)
{
	struct conf *c;

	CHECK_INT(
		load(&c,
		     "sourceConfig:\n  kafka:\n    address: k:1\n    saslUsername: u\n    saslPassword: p\n"),
		0);
	CHECK_STR(c->source.kafka.security_protocol, "SASL_PLAINTEXT");
	CHECK_STR(c->source.kafka.sasl_mechanism, "PLAIN");
	CHECK(!c->source.kafka.tls.enable);
	conf_free(c);
	CHECK_INT(load(&c, "sourceConfig:\n  kafka:\n    address: k:1\n    sasl:\n      username: u\n"
			   "      password: p\n      mechanisms: SCRAM-SHA-512\n      securityProtocol: "
			   "SASL_SSL\n"),
		  0);
	CHECK_STR(c->source.kafka.sasl_mechanism, "SCRAM-SHA-512");
	CHECK_STR(c->source.kafka.sasl_password, "p");
	CHECK(c->source.kafka.tls.enable);
	conf_free(c);
	CHECK_INT(load(&c, "sourceConfig:\n  kafka:\n    address: k:1\n    ssl:\n      enabled: true\n"), 0);
	CHECK_STR(c->source.kafka.security_protocol, "SSL");
	conf_free(c);
}

TEST(an_unknown_key_is_refused_with_its_line_and_what_is_known_there)
{
	refused("address: a:1\nmaxTaskNumber: 3\n", 2,
		"maxTaskNumber: unknown key; known here: address dataDir");
	refused("sourceConfig:\n  etcd:\n    adress: [x]\n", 3,
		"sourceConfig.etcd.adress: unknown key; known here: address rootPath");
	refused("Address: a:1\n", 1, "Address: unknown key");
	refused("journal:\n  keep: 1h\n  segments: 3\n", 3,
		"journal.segments: unknown key; known here: segmentSize");
}

TEST(a_wrong_type_is_refused)
{
	refused("maxTaskNum: many\n", 1, "maxTaskNum: must be a whole number");
	refused("maxTaskNum: \"3\"\n", 1, "maxTaskNum: must be a whole number, without quotes");
	refused("maxTaskNum: 3.5\n", 1, "maxTaskNum: must be a whole number");
	refused("maxTaskNum: [3]\n", 1, "maxTaskNum: must be a single value");
	refused("\nsourceConfig:\n  etcd:\n    enableTLS: yes\n", 4,
		"sourceConfig.etcd.enableTLS: must be true or false");
	refused("sourceConfig:\n  etcd:\n    address: h:1\n", 3, "sourceConfig.etcd.address: must be a list");
	refused("sourceConfig:\n  etcd:\n    address:\n      - h:1\n      - {a: b}\n", 5,
		"sourceConfig.etcd.address: every item");
	refused("sourceConfig: 5\n", 1, "sourceConfig: must be a block of keys");
	refused("journal:\n  keep: 24\n", 2, "journal.keep: must be a duration");
	refused("journal:\n  maxSize: 1e3\n", 2, "journal.maxSize: must be a size");
	refused("journal:\n  maxSize: -1MiB\n", 2, "journal.maxSize: must be a size");
	refused("logLevel: loud\n", 1, "logLevel: must be debug");
	refused("- a\n", 1, "file: must be a block of keys");
	refused("[1]: 2\n", 1, "file: keys must be plain names");
}

TEST(a_value_out_of_range_is_refused_with_the_range)
{
	refused("maxTaskNum: 0\n", 1, "maxTaskNum: must be from 1 to 1000");
	refused("maxTaskNum: 99999999999999999999\n", 1, "maxTaskNum: must be a whole number");
	refused("journal:\n  segmentSize: 1KiB\n", 2, "journal.segmentSize: must be from 1MiB to");
	refused("journal:\n  segmentSize: 9999999999TiB\n", 2, "journal.segmentSize: must be a size");
	refused("journal:\n  keep: 99999d\n", 2, "journal.keep: must be from 0s to");
	refused("apply:\n  idleTick: 1ms\n", 2, "apply.idleTick: must be from 10ms to 60000ms");
	refused("journal:\n  segmentSize: 1GiB\n  maxSize: 1GiB\n", 3,
		"journal.maxSize: must be at least twice");
}

TEST(addresses_are_checked)
{
	refused("address: nonsense\n", 1, "address: must be host:port");
	refused("address: h:0\n", 1, "address: must be host:port");
	refused("address: h:65536\n", 1, "address: must be host:port");
	refused("address: ::1:80\n", 1, "address: must be host:port");
	refused("address: \"\"\n", 1, "address: must not be empty");
	refused("dataDir: here\n", 1, "dataDir: must be an absolute path");
	refused("sourceConfig:\n  etcd:\n    address: [ftp://h:1]\n", 3,
		"sourceConfig.etcd.address: only http");
	refused("sourceConfig:\n  etcd:\n    address: [h]\n", 3,
		"sourceConfig.etcd.address: every item must be");
	refused("sourceConfig:\n  kafka:\n    address: h:1,,g:2\n", 3,
		"sourceConfig.kafka.address: must be host:port");
}

TEST(what_two_keys_say_must_fit)
{
	refused("sourceConfig:\n  etcd:\n    enableAuth: true\n", 3,
		"sourceConfig.etcd.enableAuth: needs username");
	refused("sourceConfig:\n  etcd:\n    enableTLS: true\n    tlsCACertPath: /no/such.pem\n", 4,
		"sourceConfig.etcd.tlsCACertPath: cannot read /no/such.pem: No such file");
	refused("sourceConfig:\n  etcd:\n    enableTLS: true\n    tlsCertPath: /dev/null\n", 4,
		"sourceConfig.etcd.tlsKeyPath: certificate and key go together");
	refused("sourceConfig:\n  kafka:\n    securityProtocol: SSLY\n", 3,
		"sourceConfig.kafka.securityProtocol: must be PLAINTEXT");
	refused("sourceConfig:\n  kafka:\n    securityProtocol: SASL_SSL\n", 3,
		"sourceConfig.kafka.securityProtocol: SASL needs");
	refused("sourceConfig:\n  kafka:\n    saslUsername: u\n    saslPassword: p\n    saslMechanisms: "
		"GSSAPI\n",
		5, "sourceConfig.kafka.saslMechanisms: must be PLAIN");
	refused("sourceConfig:\n  kafka:\n    securityProtocol: PLAINTEXT\n    ssl:\n      enabled: true\n",
		3, "sourceConfig.kafka.securityProtocol: says no TLS");
}

TEST(pulsar_with_an_address_is_refused_in_words)
{
	refused("sourceConfig:\n  pulsar:\n    address: pulsar://localhost:6650\n", 3,
		"sourceConfig.pulsar.address: this version reads Kafka only");
}

TEST(a_key_given_twice_is_refused_also_by_its_other_name)
{
	refused("address: a:1\naddress: b:2\n", 2, "address: is given twice, first in line 1");
	refused("sourceConfig:\n  etcdRootPath: r\n  etcd:\n    rootPath: s\n", 4,
		"sourceConfig.etcd.rootPath: is given twice, first in line 2");
}

TEST(a_file_that_is_no_yaml_is_refused_with_its_line)
{
	refused("address: a:1\nfoo: [1, 2\nbar: 3\n", 3, "file: ");
	refused("a: \"unfinished\n", 2, "file: ");
	refused("a:\tb: c\n", 1, "file: ");
}

TEST(a_loop_of_references_ends)
{
	refused("sourceConfig: &a\n  etcd: *a\n", 2, "sourceConfig.etcd.etcd: unknown key");
}

TEST(a_missing_or_huge_file_is_refused)
{
	static char big[(1 << 20) + 10];
	struct conf *c = NULL;

	CHECK_INT(conf_load(&c, "/no/such/cdc.yaml", NULL, NULL, &err), -ERR_CONFIG);
	CHECK(strstr(err.text, "/no/such/cdc.yaml") && strstr(err.text, "No such file"));
	memset(big, '#', sizeof(big));
	CHECK_INT(load_bytes(&c, big, sizeof(big)), -ERR_CONFIG);
	CHECK(strstr(err.text, "larger than 1 MiB"));
	CHECK_INT(conf_load(&c, "/tmp", NULL, NULL, &err), -ERR_CONFIG);
	CHECK(!c);
}

TEST(a_nul_in_a_value_is_refused)
{
	refused("address: \"a\\0b:1\"\n", 1, "address: has a NUL");
}

TEST(no_refusal_repeats_a_secret)
{
	struct conf *c = NULL;

	CHECK_INT(load(&c, "sourceConfig:\n  kafka:\n    saslPassword: [s3cr3t]\n"), -ERR_CONFIG);
	CHECK(!strstr(err.text, "s3cr3t"));
	CHECK_INT(load(&c, "sourceConfig:\n  etcd:\n    password: s3cr3t\n    enableAuth: true\n"),
		  -ERR_CONFIG);
	CHECK(!strstr(err.text, "s3cr3t"));
}

TEST(help_names_every_key_and_no_line_twice)
{
	char *text = NULL;
	size_t n = 0, lines = 0;
	FILE *f = open_memstream(&text, &n);

	conf_help(f);
	fclose(f);
	for (size_t i = 0; i < conf_key_count; i++)
		CHECKF(strstr(text, conf_keys[i].path), "%s", conf_keys[i].path);
	for (char *p = text; (p = strchr(p, '\n')); p++)
		lines++;
	CHECK_INT(lines, conf_key_count);
	free(text);
}

TEST(a_service_keeps_its_data_in_its_own_folder_unless_configured)
{
	struct conf *c = NULL;

	setenv("STATE_DIRECTORY", "/var/lib/milvus-cdc-b:/var/lib/more", 1);
	CHECK_INT(load(&c, "maxTaskNum: 3\n"), 0);
	CHECK_STR(c->data_dir, "/var/lib/milvus-cdc-b");
	conf_free(TAKE(c));
	CHECK_INT(load(&c, "dataDir: /srv/cdc\n"), 0);
	CHECK_STR(c->data_dir, "/srv/cdc");
	conf_free(TAKE(c));
	unsetenv("STATE_DIRECTORY");
	CHECK_INT(load(&c, "maxTaskNum: 3\n"), 0);
	CHECK_STR(c->data_dir, "/var/lib/milvus-cdc");
	conf_free(c);
}

TEST(differences_are_told_by_key_and_never_by_value)
{
	struct conf *a = NULL, *b = NULL;
	AUTO_BUF struct buf diff = {0};

	CHECK_INT(load(&a, "maxTaskNum: 3\nsourceConfig:\n  etcd:\n    address: [\"h:1\"]\n"), 0);
	CHECK_INT(load(&b, "maxTaskNum: 3\nsourceConfig:\n  etcd:\n    address: [\"h:1\"]\n"), 0);
	CHECK_INT(conf_diff(a, b, &diff), 0);
	conf_free(TAKE(b));
	CHECK_INT(load(&b, "journal:\n  keep: 2h\nsourceConfig:\n  etcd:\n    address: [\"h:1\", \"h:2\"]\n"
			   "    password: s3cr3t\n    enableTLS: true\n"),
		  0);
	CHECK_INT(conf_diff(a, b, &diff), 5);
	CHECK_STR((char *)diff.data, "maxTaskNum, sourceConfig.etcd.address, sourceConfig.etcd.password, "
				     "sourceConfig.etcd.enableTLS, journal.keep");
	conf_free(a);
	conf_free(b);
}

TEST(host_and_port_are_split)
{
	char *host;
	int port;

	CHECK(conf_host_port("[::1]:80", &host, &port));
	CHECK_STR(host, "::1");
	CHECK_INT(port, 80);
	free(host);
	CHECK(conf_host_port("h:0", &host, &port));
	CHECK_INT(port, 0);
	free(host);
	CHECK(!conf_host_port("h", &host, &port));
	CHECK(!conf_host_port(":1", &host, &port));
	CHECK(!conf_host_port("a b:1", &host, &port));
	CHECK(!conf_host_port("h:+1", &host, &port));
	CHECK(!conf_host_port("[]:1", &host, &port));
	CHECK(!conf_host_port("h:1x", &host, &port));
}

TEST_MAIN()

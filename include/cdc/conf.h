/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration: one table (src/base/conf.def) gives every key its place in struct conf, type,
 * default, range and text; parser, --help, --check-config and documentation are made from it.
 * A superset of the Go peer's cdc.yaml. Read-only once loaded; shared by all threads.
 */
#ifndef CDC_CONF_H
#define CDC_CONF_H

#include <cdc/err.h>
#include <cdc/mem.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct conf_tls {
	bool enable;
	char *ca_path, *cert_path, *key_path; /* PEM files; NULL: system CAs, no client certificate */
	char *server_name;                    /* NULL: the host of the address */
};

struct conf_etcd {
	char **address; /* "host:port" or "http[s]://host:port", NULL-terminated; empty: not configured */
	char *root_path, *meta_sub_path; /* "by-dev", "meta" */
	bool enable_auth;
	char *username, *password, *password_file; /* a file's password is in password once loaded */
	struct conf_tls tls;
};

struct conf_kafka {
	char *address; /* "host:port,host:port"; NULL: not configured */
	char *security_protocol, *sasl_mechanism, *sasl_username, *sasl_password; /* NULL: none */
	char *sasl_password_file;
	struct conf_tls tls;
};

struct conf_source {
	struct conf_etcd etcd;
	struct conf_kafka kafka;
	char *replicate_chan; /* "by-dev-replicate-msg" */
	char *default_partition_name;
	int64_t read_buffer; /* bytes of records kept for all pchannels of one task */
};

struct conf_journal {
	int64_t segment_size, max_size; /* bytes; max_size per task */
	int64_t keep_s;                 /* applied segments are kept this long */
};

struct conf {
	char *file;    /* where it came from */
	char *address; /* API, "127.0.0.1:8444" */
	int max_task_num, max_name_length, log_level;
	char *data_dir;
	struct conf_source source;
	struct conf_journal journal;
	int64_t window_size;    /* bytes of entries of one window */
	int idle_tick_ms;       /* between idle ticks */
	int request_timeout_ms; /* one RPC to the target */
};

/* Called for keys that are accepted and unused, and for other remarks. */
typedef void conf_note_fn(void *arg, const char *file, int line, const char *text);

/* Reads FILE (YAML). ERR_CONFIG: text is "FILE:LINE: KEY: reason". Does not log. */
int conf_load(struct conf **ret, const char *file, conf_note_fn *note, void *arg, struct err *err);
/* The defaults alone, for tests. */
struct conf *conf_default(void);
bool conf_has_source(const struct conf *c); /* etcd and a queue are configured (R34) */
void conf_free(struct conf *c);
/* Splits "host:port" or "[v6]:port" (port 0..65535) into copies; false: it is neither. */
bool conf_host_port(const char *address, char **ret_host, int *ret_port);

/*
 * Can the files be used: readable, PEM, the key is the certificate's? Otherwise which one is at fault, and
 * why (with its path). Dates and trust are the handshake's business.
 */
enum conf_tls_part { CONF_TLS_OK, CONF_TLS_CA, CONF_TLS_CERT, CONF_TLS_KEY };
enum conf_tls_part conf_tls_check(const struct conf_tls *t, char *why, size_t n);

/* Has the certificate expired? *ret then says when: "2020-01-31 12:00 UTC". False as well: it cannot be read.
 */
bool conf_certificate_over(const char *path, char *ret, size_t n);
/* When the certificate expires, unix seconds; -1: it cannot be read. */
int64_t conf_certificate_end(const char *path);

/* One row of conf.def, for the parser and the documentation. */
enum conf_type {
	CONF_STRING,
	CONF_LIST,
	CONF_BOOL,
	CONF_INT,
	CONF_LEVEL,
	CONF_SIZE,
	CONF_SECONDS,
	CONF_MILLISECONDS
};
enum { CONF_REQUIRED = 1, CONF_SECRET = 2 }; /* must not be empty; is never shown */
struct conf_key {
	const char *path;
	enum conf_type type;
	size_t offset; /* in struct conf */
	const char *def;
	int64_t min, max;
	int flags;
	const char *text;
};
extern const struct conf_key conf_keys[];
extern const size_t conf_key_count;
/* Names of the keys that differ, "a, b", never their values; *ret is appended to. Returns their number. */
size_t conf_diff(const struct conf *a, const struct conf *b, struct buf *ret);
/* The table for people (--help). */
void conf_help(FILE *f);
DEFINE_AUTO(struct conf, conf_free)

#endif

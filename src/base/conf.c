/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the YAML file into struct conf by the table conf.def. Every refusal names file, line and key.
 * The tree of the file is walked only along keys of the table, so its depth is that of the table;
 * the file's size is limited. No thread of its own; a loaded conf is never written again.
 */
#include <cdc/conf.h>
#include <cdc/log.h>

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>
#include <yaml.h>

#include "conf_value.h"

#define FILE_MAX_BYTES ((size_t)1 << 20)
#define LIST_MAX 64
#define PATH_MAX_BYTES 256

enum { REQUIRED = CONF_REQUIRED, SECRET = CONF_SECRET };

const struct conf_key conf_keys[] = {
#define CONF(path, type, member, def, min, max, flags, text) \
	{path, CONF_##type, offsetof(struct conf, member), def, min, max, flags, text},
#include "conf.def"
};
const size_t conf_key_count = ARRAY_LEN(conf_keys);

static const struct pair {
	const char *path, *other;
} aliases[] =
	{
#define ALIAS(path, target) {path, target},
#include "conf.def"
},
  unused[] = {
#define UNUSED(path, why) {path, why},
#include "conf.def"
};

struct loader {
	const char *file;
	yaml_document_t doc;
	struct conf *conf;
	int line[ARRAY_LEN(conf_keys)]; /* where a key was set; 0: it has its default */
	conf_note_fn *note;
	void *note_arg;
	struct err *err;
};

static int line_of(const yaml_node_t *n)
{
	return (int)n->start_mark.line + 1;
}

static void note(struct loader *l, int line, const char *text)
{
	if (l->note)
		l->note(l->note_arg, l->file, line, text);
}

static int find_key(const char *path)
{
	for (size_t i = 0; i < ARRAY_LEN(aliases); i++)
		if (STREQ(aliases[i].path, path))
			path = aliases[i].other;
	for (size_t i = 0; i < conf_key_count; i++)
		if (STREQ(conf_keys[i].path, path))
			return (int)i;
	return -1;
}

static bool below(const char *path, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(path, prefix, n) == 0 && path[n] == '.';
}

static bool is_section(const char *prefix)
{
	for (size_t i = 0; i < conf_key_count; i++)
		if (below(conf_keys[i].path, prefix))
			return true;
	for (size_t i = 0; i < ARRAY_LEN(aliases); i++)
		if (below(aliases[i].path, prefix))
			return true;
	return false;
}

static const char *scalar(const yaml_node_t *n)
{
	return (const char *)n->data.scalar.value;
}

/* Nothing after the colon, ~ or null: as if the line were not there. */
static bool is_null(const yaml_node_t *n)
{
	const char *s;

	if (n->type != YAML_SCALAR_NODE || n->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
		return false;
	s = scalar(n);
	return !*s || STREQ(s, "~") || STREQ(s, "null") || STREQ(s, "Null") || STREQ(s, "NULL");
}

static int refuse(struct loader *l, int line, const char *path, const char *why)
{
	return err_set(l->err, ERR_CONFIG, "%s:%d: %s: %s", l->file, line, path, why);
}

static int set_list(struct loader *l, const struct conf_key *k, const yaml_node_t *n)
{
	char ***slot = (char ***)((char *)l->conf + k->offset);
	size_t count, i;

	if (n->type != YAML_SEQUENCE_NODE)
		return refuse(l, line_of(n), k->path, "must be a list, one \"- item\" a line");
	count = (size_t)(n->data.sequence.items.top - n->data.sequence.items.start);
	if (count > LIST_MAX)
		return refuse(l, line_of(n), k->path, "has more than 64 items");
	for (i = 0; i < count; i++) {
		const yaml_node_t *item = yaml_document_get_node(&l->doc, n->data.sequence.items.start[i]);

		if (item->type != YAML_SCALAR_NODE || !*scalar(item))
			return refuse(l, line_of(item), k->path,
				      "every item must be a text that is not empty");
		if (strlen(scalar(item)) != item->data.scalar.length)
			return refuse(l, line_of(item), k->path, "has a NUL character in it");
	}
	conf_list_free(*slot);
	*slot = xcalloc(count + 1, sizeof(char *));
	for (i = 0; i < count; i++)
		(*slot)[i] =
			xstrdup(scalar(yaml_document_get_node(&l->doc, n->data.sequence.items.start[i])));
	return 0;
}

static int set_key(struct loader *l, int i, const yaml_node_t *n)
{
	const struct conf_key *k = &conf_keys[i];
	char why[160];
	bool plain;

	if (l->line[i]) {
		snprintf(why, sizeof(why), "is given twice, first in line %d", l->line[i]);
		return refuse(l, line_of(n), k->path, why);
	}
	l->line[i] = line_of(n);
	if (is_null(n))
		return 0;
	if (k->type == CONF_LIST)
		return set_list(l, k, n);
	if (n->type != YAML_SCALAR_NODE)
		return refuse(l, line_of(n), k->path, "must be a single value");
	if (strlen(scalar(n)) != n->data.scalar.length)
		return refuse(l, line_of(n), k->path, "has a NUL character in it");
	plain = n->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	if (!plain && (k->type == CONF_BOOL || k->type == CONF_INT))
		return refuse(l, line_of(n), k->path,
			      k->type == CONF_BOOL ? "must be true or false, without quotes"
						   : "must be a whole number, without quotes");
	if (!conf_value_set(l->conf, k, scalar(n), why, sizeof(why)))
		return refuse(l, line_of(n), k->path, why);
	return 0;
}

/* An unknown key is nearly always a slip: name what is known at this place. */
static int unknown_key(struct loader *l, int line, const char *path, const char *prefix)
{
	AUTO_BUF struct buf b = {0};
	size_t skip = *prefix ? strlen(prefix) + 1 : 0;
	char last[PATH_MAX_BYTES] = "";

	buf_adds(&b, "unknown key; known here:");
	for (size_t i = 0; i < conf_key_count; i++) {
		const char *p = conf_keys[i].path;
		size_t n;

		if (*prefix && !below(p, prefix))
			continue;
		n = strcspn(p + skip, ".");
		if (strlen(last) == n && strncmp(last, p + skip, n) == 0)
			continue;
		snprintf(last, sizeof(last), "%.*s", (int)n, p + skip);
		buf_addf(&b, " %s", last);
	}
	return refuse(l, line, path, (const char *)b.data);
}

/* The peer's example names Pulsar and Kafka side by side; only a Pulsar address means Pulsar. */
static int check_pulsar(struct loader *l, const yaml_node_t *n)
{
	if (n->type != YAML_MAPPING_NODE)
		return 0;
	for (yaml_node_pair_t *p = n->data.mapping.pairs.start; p < n->data.mapping.pairs.top; p++) {
		const yaml_node_t *key = yaml_document_get_node(&l->doc, p->key);
		const yaml_node_t *value = yaml_document_get_node(&l->doc, p->value);

		if (key->type == YAML_SCALAR_NODE && STREQ(scalar(key), "address") && !is_null(value) &&
		    !(value->type == YAML_SCALAR_NODE && !*scalar(value)))
			return refuse(l, line_of(value), "sourceConfig.pulsar.address",
				      "this version reads Kafka only: remove the pulsar block and set "
				      "sourceConfig.kafka.address");
	}
	return 0;
}

/* 1: the key is one of the peer's that we do not need; a remark was made. */
static int check_unused(struct loader *l, const char *path, int line, const yaml_node_t *value)
{
	for (size_t i = 0; i < ARRAY_LEN(unused); i++) {
		char text[512];
		int rc;

		if (!STREQ(unused[i].path, path))
			continue;
		if (STREQ(path, "sourceConfig.pulsar") && (rc = check_pulsar(l, value)) < 0)
			return rc;
		snprintf(text, sizeof(text), "%s: accepted and not used, %s", path, unused[i].other);
		note(l, line, text);
		return 1;
	}
	return 0;
}

static int walk(struct loader *l, const yaml_node_t *map, const char *prefix)
{
	for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
		const yaml_node_t *key = yaml_document_get_node(&l->doc, p->key);
		const yaml_node_t *value = yaml_document_get_node(&l->doc, p->value);
		const char *dot = *prefix ? "." : "";
		char path[PATH_MAX_BYTES];
		int rc, i;

		if (key->type != YAML_SCALAR_NODE)
			return refuse(l, line_of(key), *prefix ? prefix : "file", "keys must be plain names");
		if (snprintf(path, sizeof(path), "%s%s%s", prefix, dot, scalar(key)) >= (int)sizeof(path))
			return refuse(l, line_of(key), *prefix ? prefix : "file",
				      "a key here is far too long");
		if ((i = find_key(path)) >= 0)
			rc = set_key(l, i, value);
		else if ((rc = check_unused(l, path, line_of(key), value)) != 0)
			rc = rc < 0 ? rc : 0;
		else if (!is_section(path))
			rc = unknown_key(l, line_of(key), path, prefix);
		else if (value->type == YAML_MAPPING_NODE)
			rc = walk(l, value, path);
		else
			rc = is_null(value) ? 0 : refuse(l, line_of(value), path, "must be a block of keys");
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int set_by(const struct loader *l, const char *path)
{
	return l->line[find_key(path)];
}

static int check_tls(struct loader *l, const struct conf_tls *t, const char *ca, const char *cert,
		     const char *key)
{
	const char *at;
	char why[2 * PATH_MAX + 128];

	if (!t->enable)
		return 0;
	if (!t->cert_path != !t->key_path)
		return refuse(l, t->cert_path ? set_by(l, cert) : set_by(l, key), t->cert_path ? key : cert,
			      "certificate and key go together: one of them is missing");
	switch (conf_tls_check(t, why, sizeof(why))) {
	case CONF_TLS_OK:
		return 0;
	case CONF_TLS_CA:
		at = ca;
		break;
	case CONF_TLS_CERT:
		at = cert;
		break;
	default:
		at = key;
	}
	return refuse(l, set_by(l, at), at, why);
}

/* A password given by file takes the place of one that stands in the configuration. */
static int load_secret(struct loader *l, char **secret, const char *file, const char *at)
{
	char why[PATH_MAX + 128];

	if (!file)
		return 0;
	if (*secret)
		return refuse(l, set_by(l, at), at, "the password itself is given, too: remove one");
	if (conf_secret_read(file, secret, why, sizeof(why)))
		return 0;
	return refuse(l, set_by(l, at), at, why);
}

static int check_etcd(struct loader *l)
{
	struct conf_etcd *e = &l->conf->source.etcd;
	int rc;

	for (char **a = e->address; *a; a++) {
		const char *rest = strstr(*a, "://");

		if (rest && strncmp(*a, "http://", 7) != 0 && strncmp(*a, "https://", 8) != 0)
			return refuse(l, set_by(l, "sourceConfig.etcd.address"), "sourceConfig.etcd.address",
				      "only http:// and https:// are known");
		if (!conf_value_endpoint(rest ? rest + 3 : *a))
			return refuse(l, set_by(l, "sourceConfig.etcd.address"), "sourceConfig.etcd.address",
				      "every item must be host:port or http[s]://host:port");
	}
	if ((rc = load_secret(l, &e->password, e->password_file, "sourceConfig.etcd.passwordFile")) < 0)
		return rc;
	if (e->enable_auth && (!e->username || !e->password))
		return refuse(l, set_by(l, "sourceConfig.etcd.enableAuth"), "sourceConfig.etcd.enableAuth",
			      "needs username, and password or passwordFile");
	return check_tls(l, &e->tls, "sourceConfig.etcd.tlsCACertPath", "sourceConfig.etcd.tlsCertPath",
			 "sourceConfig.etcd.tlsKeyPath");
}

/* Completes what follows from other keys: protocol from SSL and SASL, TLS from the protocol. */
static int check_kafka_security(struct loader *l)
{
	static const char *const protocols[] = {"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"};
	static const char *const mechanisms[] = {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"};
	const char *at = "sourceConfig.kafka.securityProtocol";
	struct conf_kafka *k = &l->conf->source.kafka;

	if (!k->security_protocol && (k->sasl_username || k->tls.enable))
		k->security_protocol =
			xstrdup(protocols[(k->sasl_username ? 2 : 0) + (k->tls.enable ? 1 : 0)]);
	if (!k->security_protocol)
		return 0;
	if (!conf_value_choice(k->security_protocol, protocols, ARRAY_LEN(protocols)))
		return refuse(l, set_by(l, at), at, "must be PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL");
	if (strstr(k->security_protocol, "SSL"))
		k->tls.enable = true;
	else if (k->tls.enable)
		return refuse(l, set_by(l, at), at,
			      "says no TLS, but sourceConfig.kafka.ssl.enabled is true");
	if (strncmp(k->security_protocol, "SASL", 4) != 0)
		return 0;
	if (!k->sasl_username || !k->sasl_password)
		return refuse(l, set_by(l, at), at,
			      "SASL needs saslUsername, and saslPassword or saslPasswordFile");
	if (!k->sasl_mechanism)
		k->sasl_mechanism = xstrdup("PLAIN");
	if (!conf_value_choice(k->sasl_mechanism, mechanisms, ARRAY_LEN(mechanisms)))
		return refuse(l, set_by(l, "sourceConfig.kafka.saslMechanisms"),
			      "sourceConfig.kafka.saslMechanisms",
			      "must be PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512");
	return 0;
}

static int check_kafka(struct loader *l)
{
	struct conf_kafka *k = &l->conf->source.kafka;
	int rc;

	if (k->address && !conf_value_endpoints(k->address))
		return refuse(l, set_by(l, "sourceConfig.kafka.address"), "sourceConfig.kafka.address",
			      "must be host:port, several with commas");
	if ((rc = load_secret(l, &k->sasl_password, k->sasl_password_file,
			      "sourceConfig.kafka.saslPasswordFile")) < 0 ||
	    (rc = check_kafka_security(l)) < 0)
		return rc;
	return check_tls(l, &k->tls, "sourceConfig.kafka.ssl.tlsCACert", "sourceConfig.kafka.ssl.tlsCert",
			 "sourceConfig.kafka.ssl.tlsKey");
}

/* A service has a folder of its own (systemd.exec: StateDirectory=); of several it is the first. */
static void default_data_dir(struct loader *l)
{
	const char *dirs = getenv("STATE_DIRECTORY");

	if (!dirs || dirs[0] != '/' || set_by(l, "dataDir"))
		return;
	free(l->conf->data_dir);
	l->conf->data_dir = xasprintf("%.*s", (int)strcspn(dirs, ":"), dirs);
}

/* What one key alone cannot tell. */
static int check(struct loader *l)
{
	struct conf *c = l->conf;
	int rc;

	default_data_dir(l);
	if (!conf_value_endpoint(c->address))
		return refuse(l, set_by(l, "address"), "address", "must be host:port, e.g. 127.0.0.1:8444");
	if (c->data_dir[0] != '/')
		return refuse(l, set_by(l, "dataDir"), "dataDir", "must be an absolute path");
	if (c->journal.max_size < 2 * c->journal.segment_size)
		return refuse(l,
			      set_by(l, "journal.maxSize") ? set_by(l, "journal.maxSize")
							   : set_by(l, "journal.segmentSize"),
			      "journal.maxSize", "must be at least twice journal.segmentSize");
	if ((rc = check_etcd(l)) < 0 || (rc = check_kafka(l)) < 0)
		return rc;
	if (c->source.etcd.address[0] && !c->source.kafka.address)
		note(l, set_by(l, "sourceConfig.etcd.address"),
		     "sourceConfig.etcd is set but sourceConfig.kafka.address is not: there is no source "
		     "yet");
	if (!c->source.etcd.address[0] && c->source.kafka.address)
		note(l, set_by(l, "sourceConfig.kafka.address"),
		     "sourceConfig.kafka is set but sourceConfig.etcd.address is not: there is no source "
		     "yet");
	return 0;
}

static int read_file(struct buf *ret, const char *file, struct err *err)
{
	FILE *f = fopen(file, "re");
	char chunk[16384];
	size_t n;
	bool failed;

	if (!f)
		return err_set(err, ERR_CONFIG, "%s:0: file: cannot open: %s", file, strerror(errno));
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0 && ret->len <= FILE_MAX_BYTES)
		buf_add(ret, chunk, n);
	failed = ferror(f);
	fclose(f);
	if (failed)
		return err_set(err, ERR_CONFIG, "%s:0: file: cannot read: %s", file, strerror(errno));
	if (ret->len > FILE_MAX_BYTES)
		return err_set(err, ERR_CONFIG, "%s:0: file: larger than 1 MiB, this is no configuration",
			       file);
	return 0;
}

static int parse(struct loader *l, const struct buf *text)
{
	yaml_parser_t parser;
	yaml_node_t *root;
	int rc = 0;

	if (!yaml_parser_initialize(&parser))
		return err_set(l->err, ERR_INTERNAL, "the YAML parser cannot be made");
	yaml_parser_set_input_string(&parser, text->data ? text->data : (const uint8_t *)"", text->len);
	if (!yaml_parser_load(&parser, &l->doc)) {
		int line = (int)(parser.problem_mark.line ? parser.problem_mark.line
							  : parser.context_mark.line) +
			   1;

		rc = refuse(l, line, "file", parser.problem ? parser.problem : "is not YAML");
		yaml_parser_delete(&parser);
		return rc;
	}
	root = yaml_document_get_root_node(&l->doc);
	if (root && root->type == YAML_MAPPING_NODE)
		rc = walk(l, root, "");
	else if (root && !is_null(root))
		rc = refuse(l, line_of(root), "file", "must be a block of keys");
	yaml_document_delete(&l->doc);
	yaml_parser_delete(&parser);
	return rc;
}

int conf_load(struct conf **ret, const char *file, conf_note_fn *note_fn, void *arg, struct err *err)
{
	AUTO(conf_free) struct conf *c = conf_default();
	AUTO_BUF struct buf text = {0};
	struct loader l = {.file = file, .conf = c, .note = note_fn, .note_arg = arg, .err = err};
	int rc;

	free(c->file);
	c->file = xstrdup(file);
	if ((rc = read_file(&text, file, err)) < 0 || (rc = parse(&l, &text)) < 0 || (rc = check(&l)) < 0)
		return rc;
	*ret = TAKE(c);
	return 0;
}

struct conf *conf_default(void)
{
	struct conf *c = xcalloc(1, sizeof(*c));
	char why[160];

	c->file = xstrdup("");
	for (size_t i = 0; i < conf_key_count; i++) {
		const struct conf_key *k = &conf_keys[i];

		if (k->type == CONF_LIST)
			*(char ***)((char *)c + k->offset) = xcalloc(1, sizeof(char *));
		else if (k->def && !conf_value_set(c, k, k->def, why, sizeof(why)))
			abort(); /* conf.def is wrong: its own default is refused */
	}
	return c;
}

bool conf_has_source(const struct conf *c)
{
	return c->source.etcd.address[0] && c->source.kafka.address;
}

void conf_free(struct conf *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < conf_key_count; i++) {
		char *slot = (char *)c + conf_keys[i].offset;

		if (conf_keys[i].flags & CONF_SECRET && *(char **)slot)
			explicit_bzero(*(char **)slot, strlen(*(char **)slot));
		if (conf_keys[i].type == CONF_STRING)
			free(*(char **)slot);
		else if (conf_keys[i].type == CONF_LIST)
			conf_list_free(*(char ***)slot);
	}
	free(c->source.kafka.tls.server_name);
	free(c->file);
	free(c);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * milvus_connect_param of a create request: from JSON to a target, and what get and list show of it.
 * Credentials go into target_conf only; no message and no answer repeats one.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "api_priv.h"

#define SECRET_MAX 4096
#define CONNECT_TIMEOUT_S 10
#define CONNECT_TIMEOUT_MAX_S 300
#define TARGET "milvus_connect_param"

static char *text_or_null(const char *s)
{
	return s && *s ? xstrdup(s) : NULL;
}

static void set_text(char **slot, const char *s)
{
	free(*slot);
	*slot = text_or_null(s);
}

/* "[http[s]://]host[:port][/]". The value may hold credentials, so no message repeats it. */
static int parse_uri(struct request *r, const char *uri, struct target_conf *t)
{
	const char *rest = strstr(uri, "://");
	AUTO_FREE char *copy = NULL;
	size_t n;

	if (rest && strncasecmp(uri, "http://", 7) != 0 && strncasecmp(uri, "https://", 8) != 0)
		return request_refuse(r, TARGET, "uri", "only http:// and https:// are known");
	if (rest && strncasecmp(uri, "https", 5) == 0)
		t->tls.enable = true;
	rest = rest ? rest + 3 : uri;
	if (strchr(rest, '@'))
		return request_refuse(r, TARGET, "uri", "must not hold credentials: use token");
	n = strlen(rest);
	if (n && rest[n - 1] == '/')
		n--;
	copy = xasprintf("%.*s", (int)n, rest);
	if (strpbrk(copy, "/?#"))
		return request_refuse(r, TARGET, "uri",
				      "must end after the port: a database or path is not supported");
	if (*copy && (*copy == '[' ? copy[n - 1] == ']' : !strchr(copy, ':'))) {
		AUTO_FREE char *bare = TAKE(copy);

		copy = xasprintf("%s:%d", bare, rest != uri && t->tls.enable ? 443 : 19530);
	}
	if (!conf_host_port(copy, &t->host, &t->port) || t->port == 0)
		return request_refuse(r, TARGET, "uri", "must be http[s]://host:port");
	return 0;
}

static int parse_address(struct request *r, const json_t *obj, struct target_conf *t)
{
	const char *uri = "", *host = "";
	int64_t port = 0;
	int rc;

	if ((rc = field_bool(r, obj, TARGET, "enable_tls", &t->tls.enable)) < 0 ||
	    (rc = field_string(r, obj, TARGET, "uri", API_TEXT_MAX, &uri)) < 0 ||
	    (rc = field_string(r, obj, TARGET, "host", 253, &host)) < 0 ||
	    (rc = field_int(r, obj, TARGET, "port", *uri ? 0 : 1, 65535, &port)) < 0)
		return rc;
	if (*uri) {
		if (*host || port)
			request_warn(r, TARGET ".host, port: ignored, uri is given");
		return parse_uri(r, uri, t);
	}
	if (!*host)
		return request_refuse(r, TARGET, port ? "host" : "uri", "is missing or empty");
	if (!port)
		return request_refuse(r, TARGET, "port", "is missing");
	for (const char *p = host; *p; p++)
		if (isspace((unsigned char)*p) || !isprint((unsigned char)*p) || strchr("/@?#,[]", *p))
			return request_refuse(r, TARGET, "host", "is no host name and no address");
	t->host = xstrdup(host);
	t->port = (int)port;
	return 0;
}

static int parse_credentials(struct request *r, const json_t *obj, struct target_conf *t)
{
	const char *token = "", *user = "", *password = "";
	int rc;

	if ((rc = field_string(r, obj, TARGET, "token", SECRET_MAX, &token)) < 0 ||
	    (rc = field_string(r, obj, TARGET, "username", API_TEXT_MAX, &user)) < 0 ||
	    (rc = field_string(r, obj, TARGET, "password", SECRET_MAX, &password)) < 0)
		return rc;
	if (*token) {
		if (*user || *password)
			request_warn(r, TARGET ".username, password: ignored, token is given");
		t->authorization = xstrdup(token);
		return 0;
	}
	if (!*user != !*password)
		return request_refuse(r, TARGET, *user ? "password" : "username",
				      "is missing: username and password go together");
	if (strchr(user, ':'))
		return request_refuse(r, TARGET, "username", "must not have a colon in it");
	if (*user)
		t->authorization = xasprintf("%s:%s", user, password);
	return 0;
}

static int parse_dial_config(struct request *r, const json_t *obj, struct target_conf *t)
{
	static const char *const known[] = {"server_name",     "server_pem_path", "ca_pem_path",
					    "client_pem_path", "client_key_path", NULL};
	static const char where[] = TARGET ".dial_config";
	const char *name = "", *server = "", *ca = "", *cert = "", *key = "";
	json_t *dial = NULL;
	int rc;

	if ((rc = field_object(r, obj, TARGET, "dial_config", &dial)) <= 0)
		return rc;
	if ((rc = field_string(r, dial, where, "server_name", 253, &name)) < 0 ||
	    (rc = field_string(r, dial, where, "server_pem_path", API_TEXT_MAX, &server)) < 0 ||
	    (rc = field_string(r, dial, where, "ca_pem_path", API_TEXT_MAX, &ca)) < 0 ||
	    (rc = field_string(r, dial, where, "client_pem_path", API_TEXT_MAX, &cert)) < 0 ||
	    (rc = field_string(r, dial, where, "client_key_path", API_TEXT_MAX, &key)) < 0)
		return rc;
	field_warn_unknown(r, dial, where, known);
	if (!*cert != !*key)
		return request_refuse(r, where, *cert ? "client_key_path" : "client_pem_path",
				      "is missing: certificate and key go together");
	if (*ca && *server)
		request_warn(r, "%s.server_pem_path: ignored, ca_pem_path is given", where);
	if (!t->tls.enable && (*ca || *server || *cert))
		request_warn(r, "%s: has no effect without enable_tls or https", where);
	set_text(&t->tls.server_name, name);
	set_text(&t->tls.ca_path, *ca ? ca : server);
	set_text(&t->tls.cert_path, cert);
	set_text(&t->tls.key_path, key);
	return 0;
}

int parse_target(struct request *r, struct target_conf *t)
{
	static const char *const known[] = {"host",
					    "port",
					    "username",
					    "password",
					    "enable_tls",
					    "uri",
					    "token",
					    "connect_timeout",
					    "dial_config",
					    "channel_num",
					    "ignore_partition",
					    NULL};
	int64_t timeout = 0, channels = 0;
	bool ignore = false;
	json_t *obj = NULL;
	int rc;

	if ((rc = field_object(r, r->data, "", TARGET, &obj)) < 0)
		return rc;
	if (!obj || !json_object_size(obj))
		return request_refuse(r, "", TARGET, "is missing or empty");
	if ((rc = parse_address(r, obj, t)) < 0 || (rc = parse_credentials(r, obj, t)) < 0 ||
	    (rc = parse_dial_config(r, obj, t)) < 0 ||
	    (rc = field_int(r, obj, TARGET, "connect_timeout", 0, CONNECT_TIMEOUT_MAX_S, &timeout)) < 0 ||
	    (rc = field_int(r, obj, TARGET, "channel_num", 0, 65536, &channels)) < 0 ||
	    (rc = field_bool(r, obj, TARGET, "ignore_partition", &ignore)) < 0)
		return rc;
	t->connect_timeout_ms = (int)(timeout ? timeout : CONNECT_TIMEOUT_S) * 1000;
	if (channels)
		request_warn(r, TARGET
			     ".channel_num: has no effect, the target's channels are found by themselves");
	if (ignore)
		request_warn(r, TARGET ".ignore_partition: has no effect, partitions are always replicated");
	field_warn_unknown(r, obj, TARGET, known);
	return 0;
}

json_t *shown_target(struct request *r, const struct target_conf *t)
{
	const json_t *obj = json_object_get(r->data, TARGET);
	const json_t *uri = json_object_get(obj, "uri");
	bool v6 = strchr(t->host, ':') != NULL;
	json_t *o = json_object(), *dial = json_object();

	json_object_set_new(o, "host", json_text(t->host));
	json_object_set_new(o, "port", json_integer(t->port));
	json_object_set_new(o, "enable_tls", json_boolean(t->tls.enable));
	if (json_is_string(uri) && json_string_length(uri))
		json_object_set_new(o, "uri", json_text(json_string_value(uri)));
	else
		json_object_set_new(o, "uri",
				    json_sprintf("%s://%s%s%s:%d", t->tls.enable ? "https" : "http",
						 v6 ? "[" : "", t->host, v6 ? "]" : "", t->port));
	json_object_set_new(o, "connect_timeout", json_integer(t->connect_timeout_ms / 1000));
	json_object_set_new(o, "channel_num",
			    json_integer((json_int_t)json_number_value(json_object_get(obj, "channel_num"))));
	json_object_set_new(o, "ignore_partition",
			    json_boolean(json_is_true(json_object_get(obj, "ignore_partition"))));
	if (t->tls.server_name)
		json_object_set_new(dial, "server_name", json_text(t->tls.server_name));
	if (t->tls.ca_path)
		json_object_set_new(dial, "ca_pem_path", json_text(t->tls.ca_path));
	if (t->tls.cert_path) {
		json_object_set_new(dial, "client_pem_path", json_text(t->tls.cert_path));
		json_object_set_new(dial, "client_key_path", json_text(t->tls.key_path));
	}
	json_object_set_new(o, "dial_config", dial);
	return o;
}

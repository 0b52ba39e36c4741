/* SPDX-License-Identifier: Apache-2.0 */
/* The librdkafka client of the Kafka source: its settings, and what it says of its connections. */
#include "source_kafka.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/*
 * Memory (R35): about 8 MB in the queue, 4 MB in the answer that is on its way, and the messages
 * that the caller holds; one message larger than that comes all the same. Waiting: an idle broker
 * answers after fetch.wait.max.ms, at once when it has anything; a pchannel that is started waits
 * for the answer that is on its way. A broker that hangs is given up after socket.timeout.ms.
 */
static const char *const fixed[][2] = {
	{"enable.auto.commit", "false"},
	{"enable.auto.offset.store", "false"},
	{"allow.auto.create.topics", "false"},
	{"auto.offset.reset", "error"},
	{"enable.partition.eof", "false"},
	{"check.crcs", "true"},
	{"queued.max.messages.kbytes", "8192"},
	{"queued.min.messages", "10000"},
	{"fetch.message.max.bytes", "1048576"},
	{"fetch.max.bytes", "4194304"},
	{"fetch.wait.max.ms", "50"},
	{"fetch.min.bytes", "1"},
	{"fetch.error.backoff.ms", "100"},
	{"reconnect.backoff.ms", "100"},
	{"reconnect.backoff.max.ms", "2000"},
	{"socket.timeout.ms", "10000"},
	{"socket.connection.setup.timeout.ms", "5000"},
	{"socket.nagle.disable", "true"},
	{"client.id", "milvus-cdc"},
};

int64_t kafka_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void set_why(struct source *s, const char *text)
{
	/* "[thrd:host:1/1]: " tells nobody anything */
	const char *rest = strncmp(text, "[thrd:", 6) == 0 ? strstr(text, "]: ") : NULL;
	const char *after;

	pthread_mutex_lock(&s->lock);
	if (s->refusal[0] &&
	    (strstr(text, "certificate verify failed") || strstr(text, "verification callback failed")))
		text = s->refusal; /* both are said of one refusal, in this order or the other */
	else if (rest)
		text = rest + 3;
	/* nor does "(after 3ms in state AUTH_REQ, 1 identical error(s) suppressed)" */
	after = strstr(text, " (after ");
	snprintf(s->why, sizeof(s->why), "%.*s", (int)(after ? after - text : (ptrdiff_t)strlen(text)), text);
	pthread_mutex_unlock(&s->lock);
}

/* In any thread of librdkafka. Nothing is printed: what matters reaches the caller as an error. */
static void on_log(const rd_kafka_t *rk, int level, const char *fac, const char *text)
{
	struct source *s = rd_kafka_opaque(rk);

	if (level <= 4 || STREQ(fac, "FAIL")) /* warnings; and connections that end, which are "info" */
		set_why(s, text);
}

/*
 * OpenSSL's judgement of a broker's certificate, in any thread of librdkafka: it stands, but librdkafka
 * itself would only say that something was wrong. Its own words come afterwards, see set_why().
 */
static int on_certificate(rd_kafka_t *rk, const char *broker, int32_t id, int *error, int depth,
			  const char *cert, size_t size, char *text, size_t text_size, void *opaque)
{
	struct source *s = opaque;
	const char *reason = X509_verify_cert_error_string(*error);

	(void)rk;
	(void)id;
	(void)depth;
	(void)cert;
	(void)size;
	if (*error == X509_V_OK)
		return 1;
	pthread_mutex_lock(&s->lock);
	snprintf(s->refusal, sizeof(s->refusal), "%s: the broker's certificate is refused: %s", broker,
		 reason);
	pthread_mutex_unlock(&s->lock);
	snprintf(text, text_size, "%s", reason);
	return 0;
}

/* From rd_kafka_poll(), in the reader's thread. */
static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
	struct source *s = opaque;

	(void)rk;
	if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
		s->recheck = true; /* why was said before, broker by broker */
		return;
	}
	s->refused = code == RD_KAFKA_RESP_ERR__AUTHENTICATION;
	s->recheck |= s->refused;
	set_why(s, reason);
}

void kafka_client_well(struct source *s)
{
	s->refused = false;
	pthread_mutex_lock(&s->lock);
	s->why[0] = s->refusal[0] = 0;
	pthread_mutex_unlock(&s->lock);
}

/* What to set, from what librdkafka says. */
static const char *hint_of(const struct conf_kafka *conf, const char *why, char *buf, size_t n)
{
	char date[64];

	if (strstr(why, "SASL") && strstr(why, "mechanism") && strstr(why, "supported"))
		return "check sourceConfig.kafka.saslMechanisms and securityProtocol";
	if (strstr(why, "SASL authentication error"))
		return "check sourceConfig.kafka.saslUsername, saslPassword and saslMechanisms";
	if (strstr(why, "mismatch"))
		return "the brokers must be addressed, and advertise themselves, by the names in their "
		       "certificates";
	if (strstr(why, "has expired"))
		return "renew the broker's certificate or check the clock";
	if (strstr(why, "certificate is refused"))
		return "check sourceConfig.kafka.ssl.tlsCACert and that this is the right broker";
	if (strstr(why, "alert") && !conf->tls.cert_path)
		return "the broker wants a client certificate: set sourceConfig.kafka.ssl.tlsCert and tlsKey";
	if (strstr(why, "alert") && conf_certificate_over(conf->tls.cert_path, date, sizeof(date))) {
		snprintf(buf, n, "our client certificate (sourceConfig.kafka.ssl.tlsCert) has expired on %s",
			 date);
		return buf;
	}
	if (strstr(why, "alert"))
		return "the broker refuses our client certificate: check sourceConfig.kafka.ssl.tlsCert";
	if (strstr(why, "SSL handshake failed"))
		return "the broker may not use TLS on this port: check sourceConfig.kafka.securityProtocol";
	if (strstr(why, "security.protocol"))
		return "check sourceConfig.kafka.securityProtocol";
	return "";
}

int kafka_failed(struct source *s, const char *pchannel, rd_kafka_resp_err_t code, struct err *err)
{
	char why[sizeof(s->why)], date[160];
	const char *hint;
	bool refused;
	int rc;

	rd_kafka_poll(s->rk, 0); /* what it has to say about this failure */
	refused = s->refused || code == RD_KAFKA_RESP_ERR__AUTHENTICATION ||
		  code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
		  code == RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED ||
		  code == RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED;
	pthread_mutex_lock(&s->lock);
	memcpy(why, s->why, sizeof(why));
	pthread_mutex_unlock(&s->lock);
	hint = hint_of(s->conf, why, date, sizeof(date));
	rc = err_set(err, refused ? ERR_SOURCE_AUTH : ERR_SOURCE_LOST, "Kafka %s%s%s %s: %s%s%s",
		     s->conf->address, pchannel ? ", topic " : "", pchannel ? pchannel : "",
		     refused ? "refuses our credentials" : "does not answer",
		     why[0] ? why : rd_kafka_err2str(code), *hint ? "; " : "", hint);
	return pchannel ? err_about(rc, err, pchannel) : rc;
}

static int set(rd_kafka_conf_t *kc, const char *name, const char *value, struct err *err)
{
	char text[256];

	if (!value || rd_kafka_conf_set(kc, name, value, text, sizeof(text)) == RD_KAFKA_CONF_OK)
		return 0;
	if (strcmp(name, "sasl.password") == 0) /* librdkafka's text may quote the value */
		snprintf(text, sizeof(text), "value not usable");
	return err_set(err, ERR_CONFIG, "Kafka source: %s: %s", name, text);
}

/* What conf does not say follows from what it does say: TLS on, a user given. */
static const char *protocol(const struct conf_kafka *conf)
{
	if (conf->security_protocol && *conf->security_protocol)
		return conf->security_protocol;
	if (conf->sasl_username && *conf->sasl_username)
		return conf->tls.enable ? "sasl_ssl" : "sasl_plaintext";
	return conf->tls.enable ? "ssl" : NULL;
}

static const char *given(const char *s)
{
	return s && *s ? s : NULL;
}

static int set_security(rd_kafka_conf_t *kc, const struct conf_kafka *conf, struct err *err)
{
	const char *mechanism = given(conf->sasl_mechanism);
	const struct {
		const char *name, *value;
	} settings[] = {
		{"security.protocol", protocol(conf)},
		{"sasl.mechanisms", mechanism                    ? mechanism
				    : given(conf->sasl_username) ? "PLAIN"
								 : NULL},
		{"sasl.username", given(conf->sasl_username)},
		{"sasl.password", given(conf->sasl_password)},
		{"ssl.ca.location", given(conf->tls.ca_path)},
		{"ssl.certificate.location", given(conf->tls.cert_path)},
		{"ssl.key.location", given(conf->tls.key_path)},
	};
	int rc;

	if (given(conf->tls.server_name))
		return err_set(err, ERR_CONFIG,
			       "Kafka source: a TLS server name cannot be given: each broker is checked "
			       "against the name that it advertises");
	for (size_t i = 0; i < ARRAY_LEN(settings); i++)
		if ((rc = set(kc, settings[i].name, settings[i].value, err)) < 0)
			return rc;
	return 0;
}

/*
 * In librdkafka's threads. A network that was away may have lost the end of a connection that waits for an
 * answer: the other side's kernel tells so at the next probe, and long before socket.timeout.ms.
 */
static int on_socket(int domain, int type, int protocol_number, void *opaque)
{
	static const int on = 1, probe_s = 1, probes = 8;
	int fd = socket(domain, type | SOCK_CLOEXEC, protocol_number);

	(void)opaque;
	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &probe_s, sizeof(probe_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &probe_s, sizeof(probe_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
	return fd;
}

static int make_conf(rd_kafka_conf_t *kc, struct source *s, struct err *err)
{
	int rc;

	for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
		if ((rc = set(kc, fixed[i][0], fixed[i][1], err)) < 0)
			return rc;
	if ((rc = set(kc, "bootstrap.servers", s->conf->address, err)) < 0)
		return rc;
	if ((rc = set_security(kc, s->conf, err)) < 0)
		return rc;
	rd_kafka_conf_set_opaque(kc, s);
	rd_kafka_conf_set_log_cb(kc, on_log);
	rd_kafka_conf_set_error_cb(kc, on_error);
	rd_kafka_conf_set_socket_cb(kc, on_socket);
	rd_kafka_conf_set_ssl_cert_verify_cb(kc, on_certificate);
	return 0;
}

int kafka_client_open(struct source *s, struct err *err)
{
	rd_kafka_conf_t *kc = rd_kafka_conf_new();
	char text[512];
	int rc;

	if ((rc = make_conf(kc, s, err)) < 0) {
		rd_kafka_conf_destroy(kc);
		return rc;
	}
	s->rk = rd_kafka_new(RD_KAFKA_CONSUMER, kc, text, sizeof(text)); /* takes kc when it succeeds */
	if (!s->rk) {
		rd_kafka_conf_destroy(kc);
		return err_set(err, ERR_CONFIG, "Kafka source %s: %s", s->conf->address, text);
	}
	return 0;
}

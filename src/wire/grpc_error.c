/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What came of a gRPC exchange, as an error code and a sentence: the reason in plain words and what
 * to do. Pure: reads the exchange, changes nothing. Never shows metadata, even if the peer does.
 */
#include "grpc_priv.h"

#include <errno.h>

#define BIG_REQUEST (1 << 20)   /* a stream reset in the middle of more than this: "too big" */
#define HUGE_REQUEST (60 << 20) /* a lost connection in the middle of more than this, too */

enum {
	GRPC_DEADLINE_EXCEEDED = 4,
	GRPC_PERMISSION_DENIED = 7,
	GRPC_RESOURCE_EXHAUSTED = 8,
	GRPC_UNIMPLEMENTED = 12,
	GRPC_UNAUTHENTICATED = 16,
};

static const char *const status_names[] = {
	"OK",        "CANCELLED",       "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
	"NOT_FOUND", "ALREADY_EXISTS",  "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
	"ABORTED",   "OUT_OF_RANGE",    "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
	"DATA_LOSS", "UNAUTHENTICATED",
};

/* Bytes of the valid UTF-8 character at s (1..4), 0 if there is none. */
static size_t utf8_size(const unsigned char *s, size_t n)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t len = s[0] < 0x80 ? 1 : s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
	uint32_t c;

	if (len == 1)
		return 1;
	if (s[0] < 0xc2 || s[0] > 0xf4 || len > n)
		return 0;
	c = s[0] & (0xffu >> (len + 1));
	for (size_t i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	return c < least[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) ? 0 : len;
}

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

void grpc_decode_message(const char *s, size_t n, char *ret, size_t ret_size)
{
	unsigned char raw[2048];
	size_t len = 0, out = 0;

	for (size_t i = 0; i < n && len < sizeof(raw); i++) {
		if (s[i] == '%' && i + 2 < n && hex(s[i + 1]) >= 0 && hex(s[i + 2]) >= 0) {
			raw[len++] = (unsigned char)(hex(s[i + 1]) << 4 | hex(s[i + 2]));
			i += 2;
		} else {
			raw[len++] = (unsigned char)s[i];
		}
	}
	for (size_t i = 0, size; i < len; i += size) {
		bool ok = (size = utf8_size(raw + i, len - i)) > 0 && raw[i] >= 0x20 && raw[i] != 0x7f;

		if (size == 0)
			size = 1;
		if (out + size >= ret_size)
			break;
		if (ok)
			memcpy(ret + out, raw + i, size);
		else
			ret[out] = '?';
		out += ok ? size : 1;
	}
	ret[out] = 0;
}

bool grpc_answered(const struct grpc_exchange *x)
{
	return x->end == END_NONE && x->http_major == 2 && x->grpc_content && x->grpc_status == 0 &&
	       x->frame_size == FRAME_HEAD && x->reply->len == x->want;
}

/* A peer that repeats our credentials in its message must not put them into our log. */
static const char *safe_message(const struct grpc_exchange *x)
{
	const char *secret = x->g->c.metadata ? strchr(x->g->c.metadata, ':') : NULL;

	if (secret)
		secret += 1 + strspn(secret + 1, " ");
	if (secret && *secret && strstr(x->message, secret))
		return "(the message is not shown: it repeats our credentials)";
	return x->message[0] ? x->message : "(without a message)";
}

static int fail_by_status(const struct grpc_exchange *x, struct err *err)
{
	const struct grpc_conf *c = &x->g->c;
	int code = c->lost, status = x->grpc_status;
	const char *name = (size_t)status < ARRAY_LEN(status_names) ? status_names[status] : "unknown status";
	const char *hint = "";

	switch (status) {
	case GRPC_UNAUTHENTICATED:
		code = c->auth;
		hint = "; check user, password or token";
		break;
	case GRPC_PERMISSION_DENIED:
		code = c->auth;
		hint = "; grant this user what it needs";
		break;
	case GRPC_UNIMPLEMENTED:
		code = c->foreign;
		hint = "; is this the right server and version?";
		break;
	case GRPC_RESOURCE_EXHAUSTED:
		if (strstr(x->message, "larger than max")) {
			code = ERR_TOO_LARGE;
			hint = "; raise the server's limit for messages";
		}
		break;
	case GRPC_DEADLINE_EXCEEDED:
		return err_set(err, code, "%s: %s: timed out after %g s: %s", x->g->where, x->method,
			       x->timeout_ms / 1000.0, safe_message(x));
	}
	return err_set(err, code, "%s: %s: %s (gRPC status %d, %s)%s", x->g->where, x->method,
		       safe_message(x), status, name, hint);
}

/* We ended it. */
static int fail_by_end(const struct grpc_exchange *x, struct err *err)
{
	const char *where = x->g->where;

	switch (x->end) {
	case END_STOPPED:
		return err_set(err, ERR_STOPPED, "%s: %s: not finished, we are stopping", where, x->method);
	case END_TOO_BIG:
		return err_set(err, x->g->c.foreign,
			       "%s: %s: the answer has %zu bytes, more than our limit of %zu", where,
			       x->method, x->want, GRPC_MAX_REPLY);
	case END_BAD_FRAME:
		return err_set(
			err, x->g->c.foreign,
			"%s: %s: the answer is not one uncompressed gRPC message; is a proxy in between?",
			where, x->method);
	default:
		return err_set(
			err, x->g->c.foreign,
			"%s: %s: the answer has headers that are not gRPC's; is this the right address?",
			where, x->method);
	}
}

/* The exchange as such worked, but no grpc-status came. */
static int fail_by_http(const struct grpc_exchange *x, struct err *err)
{
	const struct grpc_conf *c = &x->g->c;

	if (x->http_major == 2 && x->grpc_content)
		return err_set(err, c->lost, "%s: %s: the answer broke off before its end", x->g->where,
			       x->method);
	switch (x->http_status) {
	case 429:
	case 502:
	case 503:
	case 504:
		return err_set(err, c->lost,
			       "%s: %s: a proxy answers HTTP status %d: the server behind it is not up",
			       x->g->where, x->method, x->http_status);
	case 401:
	case 403:
		return err_set(err, c->auth, "%s: %s: HTTP status %d; check user, password or token",
			       x->g->where, x->method, x->http_status);
	}
	return err_set(
		err, c->foreign,
		"%s: %s: this is a web server (HTTP/%d status %d), not gRPC; check the address and the port",
		x->g->where, x->method, x->http_major, x->http_status);
}

static int fail_connect(const struct grpc_exchange *x, struct err *err)
{
	long no = 0;
	const char *reason, *hint = "check the address and the network";

	curl_easy_getinfo(x->g->easy, CURLINFO_OS_ERRNO, &no);
	if (no == ECONNREFUSED) {
		reason = "connection refused";
		hint = "is the server running, and is the port right?";
	} else if (no && (reason = strerrordesc_np((int)no))) {
		;
	} else {
		reason = "no connection";
	}
	return err_set(err, x->g->c.lost, "%s: %s: %s; %s", x->g->where, x->method, reason, hint);
}

static int fail_timeout(const struct grpc_exchange *x, struct err *err)
{
	const struct grpc_conf *c = &x->g->c;
	int limit = x->timeout_ms;

	if (x->started)
		return err_set(err, c->lost,
			       "%s: %s: timed out after %g s: connected, but no complete answer", x->g->where,
			       x->method, limit / 1000.0);
	if (c->connect_timeout_ms > 0 && c->connect_timeout_ms < limit)
		limit = c->connect_timeout_ms;
	return err_set(err, c->lost,
		       "%s: %s: timed out after %g s: no connection; check the address, network and firewall",
		       x->g->where, x->method, limit / 1000.0);
}

/* All of these pass by themselves when an operator has mended the certificate: no stranger, but away. */
static int fail_certificate(const struct grpc_exchange *x, struct err *err)
{
	bool dates = strstr(x->curl_text, "expired") || strstr(x->curl_text, "not yet valid");
	bool name = strstr(x->curl_text, "subject name") != NULL;

	return err_set(err, x->g->c.lost, "%s: %s: TLS: the server's certificate is refused: %s; %s",
		       x->g->where, x->method, x->curl_text,
		       dates  ? "renew the server's certificate or check the clock"
		       : name ? "set the server name that the certificate is for"
			      : "check the CA file and that this is the right server");
}

/* The server's last word in a TLS handshake is an alert; with TLS 1.3 it may come after it. */
bool grpc_is_certificate_alert(const char *text)
{
	return strstr(text, "alert") &&
	       (strstr(text, "certificate") || strstr(text, "unknown ca") || strstr(text, "access denied"));
}

/* "OpenSSL SSL_read: OpenSSL/3.0.0: error:0A000412:SSL routines::sslv3 alert bad certificate, errno 0" */
static const char *alert_of(const char *text, char *buf, size_t size)
{
	const char *alert = strstr(text, "alert");

	if (!alert)
		return text;
	snprintf(buf, size, "%.*s", (int)strcspn(alert, ","), alert);
	return buf;
}

static int fail_client_certificate(const struct grpc_exchange *x, struct err *err)
{
	const struct conf_tls *tls = &x->g->c.tls;
	char buf[128], date[64];
	const char *alert = alert_of(x->curl_text, buf, sizeof(buf));

	if (!tls->cert_path)
		return err_set(err, x->g->c.auth,
			       "%s: %s: TLS: the server wants a client certificate (%s); set a certificate "
			       "and its key",
			       x->g->where, x->method, alert);
	if (conf_certificate_over(tls->cert_path, date, sizeof(date)))
		return err_set(err, x->g->c.auth,
			       "%s: %s: TLS: the server refuses our client certificate (%s): %s has expired "
			       "on %s; renew it",
			       x->g->where, x->method, alert, tls->cert_path, date);
	return err_set(err, x->g->c.auth,
		       "%s: %s: TLS: the server refuses our client certificate (%s); check that its CA has "
		       "signed %s",
		       x->g->where, x->method, alert, tls->cert_path);
}

static int fail_tls(const struct grpc_exchange *x, struct err *err)
{
	const struct grpc_conf *c = &x->g->c;

	if (strstr(x->curl_text, "wrong version number") || (x->peer != PEER_UNKNOWN && x->peer != PEER_TLS))
		return err_set(err, c->lost,
			       "%s: %s: TLS: the server does not use TLS on this port; use http:// "
			       "or turn TLS off",
			       x->g->where, x->method);
	if (grpc_is_certificate_alert(x->curl_text) || strstr(x->curl_text, "handshake failure"))
		return fail_client_certificate(x, err);
	return err_set(err, c->lost, "%s: %s: TLS: %s", x->g->where, x->method,
		       x->curl_text[0] ? x->curl_text : "the handshake failed");
}

/* Connected, then the connection or the stream ended without a word of gRPC. */
static int fail_transfer(const struct grpc_exchange *x, CURLcode rc, struct err *err)
{
	const struct grpc_conf *c = &x->g->c;
	const char *hint = "";

	if (grpc_is_certificate_alert(x->curl_text))
		return fail_tls(x, err);
	if ((rc == CURLE_HTTP2_STREAM && x->req_size > BIG_REQUEST) ||
	    (rc == CURLE_SEND_ERROR && x->req_size > HUGE_REQUEST))
		return err_set(err, ERR_TOO_LARGE,
			       "%s: %s: the server broke off a request of %zu bytes: it is over the "
			       "server's limit for messages",
			       x->g->where, x->method, x->req_size);
	if (x->peer == PEER_TLS)
		return err_set(err, c->lost, "%s: %s: the server wants TLS: use https:// or turn TLS on",
			       x->g->where, x->method);
	if (x->peer == PEER_HTTP1 || x->peer == PEER_OTHER)
		return err_set(err, c->foreign,
			       "%s: %s: this is %s, not gRPC; check the address and the port", x->g->where,
			       x->method,
			       x->peer == PEER_HTTP1 ? "a web server without HTTP/2" : "no HTTP/2 server");
	if (x->http_status == 0 && c->tls.enable)
		hint = c->tls.cert_path ? " (it may refuse our client certificate)"
					: " (it may want a client certificate)";
	else if (x->http_status == 0 && !c->tls.enable && !x->reuse && x->peer != PEER_HTTP2)
		hint = " (if it wants TLS, use https://)";
	return err_set(err, c->lost, "%s: %s: connection lost%s: %s", x->g->where, x->method, hint,
		       x->curl_text[0] ? x->curl_text : curl_easy_strerror(rc));
}

int grpc_fail(const struct grpc_exchange *x, CURLcode rc, struct err *err)
{
	const struct conf_tls *tls = &x->g->c.tls;

	/* a status is the server's word, whatever happened to the transfer afterwards */
	if (x->http_major == 2 && x->grpc_status > 0)
		return fail_by_status(x, err);
	if (x->end != END_NONE)
		return fail_by_end(x, err);
	if (x->stale && x->started)
		return err_set(err, x->g->c.lost, "%s: %s: connection lost while the request was out",
			       x->g->where, x->method);
	switch (rc) {
	case CURLE_OK:
		return fail_by_http(x, err);
	case CURLE_COULDNT_RESOLVE_HOST:
		return err_set(err, x->g->c.lost,
			       "%s: %s: no such host; check the address and the name server", x->g->where,
			       x->method);
	case CURLE_COULDNT_CONNECT:
		return fail_connect(x, err);
	case CURLE_OPERATION_TIMEDOUT:
		return fail_timeout(x, err);
	case CURLE_PEER_FAILED_VERIFICATION:
		return fail_certificate(x, err);
	case CURLE_SSL_CERTPROBLEM:
		return err_set(err, x->g->c.auth,
			       "%s: %s: TLS: cannot use the client certificate '%s' with key '%s': %s",
			       x->g->where, x->method, tls->cert_path ? tls->cert_path : "(none)",
			       tls->key_path ? tls->key_path : "(none)", x->curl_text);
	case CURLE_SSL_CACERT_BADFILE:
		return err_set(err, x->g->c.auth, "%s: %s: TLS: cannot read the CA certificates '%s'",
			       x->g->where, x->method, tls->ca_path ? tls->ca_path : "of the system");
	case CURLE_SSL_CONNECT_ERROR:
		return fail_tls(x, err);
	default:
		return fail_transfer(x, rc, err);
	}
}

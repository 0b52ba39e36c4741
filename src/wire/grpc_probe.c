/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is at an address that gives no HTTP/2 answer, or no TLS? libcurl tells "nothing came" and "this
 * is a web server" with the same words; the operator needs to know which. So, after such a failure
 * only, the server is greeted once more and its first bytes are looked at. Blocks for PROBE_MS at most.
 */
#include "grpc_priv.h"

#include <cdc/worker.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>

#define SLICE_MS 100
#define ANSWER_MS 300
#define CONNECT_MS ((PROBE_MS - ANSWER_MS - SLICE_MS) / 2)

/* The connection preface and an empty SETTINGS frame: any HTTP/2 server answers with its SETTINGS. */
static const char greeting[24 + 9] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4";

static enum grpc_peer judge(const uint8_t *p, size_t n)
{
	if (n >= 5 && memcmp(p, "HTTP/", 5) == 0)
		return PEER_HTTP1;
	if (n >= 2 && p[0] == 0x15 && p[1] == 3) /* a TLS alert */
		return PEER_TLS;
	if (n < 9)
		return PEER_UNKNOWN;
	return p[3] == 4 && (p[5] | p[6] | p[7] | p[8]) == 0 ? PEER_HTTP2
							     : PEER_OTHER; /* SETTINGS on stream 0 */
}

static enum grpc_peer listen_to(const struct grpc *g, CURL *easy, curl_socket_t fd)
{
	int64_t until = clock_mono_ms() + ANSWER_MS;
	uint8_t bytes[64];
	size_t n = 0, got;

	while (n < 9 && clock_mono_ms() < until) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		CURLcode rc;

		if (poll(&p, 1, SLICE_MS) <= 0) {
			if (g->c.poll && g->c.poll(g->c.poll_arg))
				break;
			continue;
		}
		rc = curl_easy_recv(easy, bytes + n, sizeof(bytes) - n, &got);
		if (rc == CURLE_AGAIN)
			continue;
		if (rc != CURLE_OK || got == 0)
			break;
		n += got;
	}
	return judge(bytes, n);
}

/* Connects with http or https, and sends nothing of HTTP. NULL: that did not work. */
static CURL *connect_only(const struct grpc *g, const char *scheme)
{
	AUTO_FREE char *url = xasprintf("%s://%s", scheme, g->where);
	CURL *easy = curl_easy_init();

	if (!easy)
		return NULL;
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
	curl_easy_setopt(easy, CURLOPT_SSL_ENABLE_ALPN,
			 0L); /* or libcurl greets an HTTP/2 server by itself */
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)CONNECT_MS);
	/* whose certificate it is does not matter: nothing will be said on this connection */
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
	if (curl_easy_perform(easy) == CURLE_OK)
		return easy;
	curl_easy_cleanup(easy);
	return NULL;
}

static enum grpc_peer probe_clear(const struct grpc *g)
{
	CURL *easy = connect_only(g, "http");
	enum grpc_peer peer = PEER_UNKNOWN;
	curl_socket_t fd;
	size_t sent;

	if (!easy)
		return PEER_UNKNOWN;
	if (curl_easy_getinfo(easy, CURLINFO_ACTIVESOCKET, &fd) == CURLE_OK && fd != CURL_SOCKET_BAD &&
	    curl_easy_send(easy, greeting, sizeof(greeting), &sent) == CURLE_OK)
		peer = listen_to(g, easy, fd);
	curl_easy_cleanup(easy);
	return peer;
}

enum grpc_peer grpc_probe(const struct grpc *g)
{
	enum grpc_peer peer = probe_clear(g);

	if (peer == PEER_UNKNOWN && !g->c.tls.enable) {
		/* many TLS servers hang up on a clear greeting without a word */
		CURL *easy = connect_only(g, "https");

		if (easy)
			peer = PEER_TLS;
		curl_easy_cleanup(easy);
	}
	return peer;
}

static SSL *new_session(const struct conf_tls *tls)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = NULL;

	if (ctx && (!tls->cert_path || SSL_CTX_use_certificate_chain_file(ctx, tls->cert_path) == 1) &&
	    (!tls->key_path || SSL_CTX_use_PrivateKey_file(ctx, tls->key_path, SSL_FILETYPE_PEM) == 1))
		ssl = SSL_new(ctx);
	SSL_CTX_free(ctx);
	if (!ssl)
		return NULL;
	SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	SSL_set_connect_state(ssl);
	return ssl;
}

/* What the session wants to say. That the server does not listen any more is no reason not to. */
static void say(SSL *ssl, CURL *easy)
{
	char *bytes;
	long n = BIO_get_mem_data(SSL_get_wbio(ssl), &bytes);
	size_t sent;

	if (n > 0)
		curl_easy_send(easy, bytes, (size_t)n, &sent);
	(void)BIO_reset(SSL_get_wbio(ssl));
}

static bool hear(SSL *ssl, CURL *easy, curl_socket_t fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	uint8_t bytes[4096];
	CURLcode rc;
	size_t got;

	if (poll(&p, 1, SLICE_MS) <= 0)
		return true;
	rc = curl_easy_recv(easy, bytes, sizeof(bytes), &got);
	if (rc == CURLE_AGAIN)
		return true;
	return rc == CURLE_OK && got && BIO_write(SSL_get_rbio(ssl), bytes, (int)got) > 0;
}

/*
 * A server that judges our certificate before it has read all that follows it resets the connection, and
 * what sends then fails before it reads the alert. So sending and reading go through memory here.
 */
static const char *shake_hands(const struct grpc *g, SSL *ssl, CURL *easy, curl_socket_t fd)
{
	int64_t until = clock_mono_ms() + ANSWER_MS;
	bool open = true;
	char byte;
	int rc;

	ERR_clear_error();
	while (clock_mono_ms() < until) {
		rc = SSL_is_init_finished(ssl) ? SSL_read(ssl, &byte, 1) : SSL_do_handshake(ssl);
		say(ssl, easy);
		if (rc > 0)
			continue;
		if (SSL_get_error(ssl, rc) != SSL_ERROR_WANT_READ)
			return ERR_reason_error_string(ERR_peek_last_error());
		if (!open || (g->c.poll && g->c.poll(g->c.poll_arg)))
			break;
		open = hear(ssl, easy, fd);
	}
	return NULL;
}

bool grpc_probe_alert(const struct grpc *g, char ret[CURL_ERROR_SIZE])
{
	CURL *easy = connect_only(g, "http");
	SSL *ssl = easy ? new_session(&g->c.tls) : NULL;
	const char *reason = NULL;
	curl_socket_t fd;

	if (ssl && curl_easy_getinfo(easy, CURLINFO_ACTIVESOCKET, &fd) == CURLE_OK && fd != CURL_SOCKET_BAD)
		reason = shake_hands(g, ssl, easy, fd);
	SSL_free(ssl);
	ERR_clear_error();
	curl_easy_cleanup(easy);
	if (!reason || !grpc_is_certificate_alert(reason))
		return false;
	snprintf(ret, CURL_ERROR_SIZE, "%s", reason);
	return true;
}

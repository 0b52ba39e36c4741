/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is at an address that gives no HTTP/2 answer, or no TLS? libcurl tells "nothing came" and "this
 * is a web server" with the same words; the operator needs to know which. So, after such a failure
 * only, the server is greeted once more and its first bytes are looked at. Blocks for PROBE_MS at most.
 */
#include "grpc_priv.h"

#include <cdc/worker.h>

#include <poll.h>

#define SLICE_MS 100
#define ANSWER_MS 300
#define ALERT_TRIES 8
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

/* Connects with http or https, and sends nothing of HTTP. NULL: that did not work, *text has the reason. */
static CURL *connect_only(const struct grpc *g, const char *scheme, char *text)
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
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, text);
	if (g->c.tls.cert_path)
		curl_easy_setopt(easy, CURLOPT_SSLCERT, g->c.tls.cert_path);
	if (g->c.tls.key_path)
		curl_easy_setopt(easy, CURLOPT_SSLKEY, g->c.tls.key_path);
	if (curl_easy_perform(easy) == CURLE_OK)
		return easy;
	curl_easy_cleanup(easy);
	return NULL;
}

static enum grpc_peer probe_clear(const struct grpc *g)
{
	char text[CURL_ERROR_SIZE];
	CURL *easy = connect_only(g, "http", text);
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
		char text[CURL_ERROR_SIZE];
		CURL *easy = connect_only(g, "https", text);

		if (easy)
			peer = PEER_TLS;
		curl_easy_cleanup(easy);
	}
	return peer;
}

static bool hear_alert(const struct grpc *g, char text[CURL_ERROR_SIZE])
{
	CURL *easy = connect_only(g, "https", text);
	curl_socket_t fd;

	if (easy && curl_easy_getinfo(easy, CURLINFO_ACTIVESOCKET, &fd) == CURLE_OK && fd != CURL_SOCKET_BAD)
		listen_to(g, easy, fd);
	curl_easy_cleanup(easy);
	return grpc_is_certificate_alert(text);
}

bool grpc_probe_alert(const struct grpc *g, char ret[CURL_ERROR_SIZE])
{
	int64_t until = clock_mono_ms() + PROBE_MS / 2;
	char text[CURL_ERROR_SIZE] = "";

	/* a server that judges our certificate before it has read what follows it resets the connection,
	 * and whether the alert or the reset is seen first is chance */
	for (int i = 0; i < ALERT_TRIES && clock_mono_ms() < until; i++) {
		if (!hear_alert(g, text))
			continue;
		memcpy(ret, text, CURL_ERROR_SIZE);
		return true;
	}
	return false;
}

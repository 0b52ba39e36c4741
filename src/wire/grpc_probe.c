/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is at an address that gives no HTTP/2 answer? libcurl tells "nothing came" and "this is a web
 * server" with the same words; the operator needs to know which. So, after such a failure only, the
 * server is greeted once more and its first bytes are looked at. Blocks for a second at most.
 */
#include "grpc_priv.h"

#include <cdc/worker.h>

#include <poll.h>

#define CONNECT_MS 400
#define ANSWER_MS 500
#define SLICE_MS 100

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
	return p[3] == 4 && (p[5] | p[6] | p[7] | p[8]) == 0 ? PEER_HTTP2 : PEER_OTHER; /* SETTINGS on stream 0 */
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

enum grpc_peer grpc_probe(const struct grpc *g)
{
	CURL *easy = curl_easy_init();
	enum grpc_peer peer = PEER_UNKNOWN;
	curl_socket_t fd;
	size_t sent;

	if (!easy)
		return peer;
	curl_easy_setopt(easy, CURLOPT_URL, g->base_url);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)CONNECT_MS);
	if (curl_easy_perform(easy) == CURLE_OK &&
	    curl_easy_getinfo(easy, CURLINFO_ACTIVESOCKET, &fd) == CURLE_OK && fd != CURL_SOCKET_BAD &&
	    curl_easy_send(easy, greeting, sizeof(greeting), &sent) == CURLE_OK)
		peer = listen_to(g, easy, fd);
	curl_easy_cleanup(easy);
	return peer;
}

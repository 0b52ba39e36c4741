/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What grpc.c (makes the exchange), grpc_probe.c and grpc_error.c (say what came of it) share.
 * Nothing here is for anyone else. An exchange is one request and its answer, on the stack of one
 * grpc_call().
 */
#ifndef CDC_WIRE_GRPC_PRIV_H
#define CDC_WIRE_GRPC_PRIV_H

#include <cdc/wire.h>

#include <curl/curl.h>

#define FRAME_HEAD 5 /* one byte "compressed", four bytes length, big-endian */

struct grpc {
	struct grpc_conf c; /* with our own copies of the strings */
	char *where;        /* "host:port", for errors */
	char *base_url;
	struct curl_slist *connect_to;
	CURL *easy;
	CURLM *multi; /* owns the connection; made anew after a failure */
	bool opened;  /* the last call succeeded: a connection should be there to be used again */
};

/* Why we ended a transfer ourselves. */
enum grpc_end { END_NONE, END_STOPPED, END_TOO_BIG, END_BAD_FRAME, END_BAD_HEADERS };

#define PROBE_MS 1000 /* that grpc_probe() may take */

/* What answers at the address, if it is not what it should be. */
enum grpc_peer { PEER_UNKNOWN, PEER_HTTP2, PEER_HTTP1, PEER_TLS, PEER_OTHER };

struct grpc_exchange {
	struct grpc *g;
	const char *method;
	int timeout_ms;
	int64_t begin_ms;
	/* request */
	uint8_t head[FRAME_HEAD];
	const uint8_t *req;
	size_t req_size, sent; /* sent: of head and req together */
	bool reuse;            /* no new connection may be opened: see open_socket() */
	bool stale;            /* libcurl wanted to open one all the same */
	bool started;          /* connected, TLS done; bytes of the request may be out */
	/* answer */
	uint8_t frame[FRAME_HEAD];
	size_t frame_size, want; /* want: size of the message, once frame is complete */
	struct buf *reply;
	size_t header_bytes;
	int http_major, http_status;
	bool grpc_content; /* content-type says application/grpc */
	int grpc_status;   /* -1: none */
	char message[512]; /* grpc-message, decoded, printable UTF-8 */
	enum grpc_end end;
	enum grpc_peer peer;
	char curl_text[CURL_ERROR_SIZE];
};

/* Percent-decodes a header value of n bytes into printable, valid UTF-8 (other bytes become '?'). */
void grpc_decode_message(const char *s, size_t n, char *ret, size_t ret_size);
/* Greets the server in the clear, on a connection of its own, and looks at what it says. */
enum grpc_peer grpc_probe(const struct grpc *g);
/*
 * A TLS server that ends the connection at our request may have said why before: then its alert is lost
 * with the request. Connects once more, says nothing and listens. True: the alert is in *ret.
 */
bool grpc_probe_alert(const struct grpc *g, char ret[CURL_ERROR_SIZE]);
/* Is this text of libcurl an alert about a client certificate? */
bool grpc_is_certificate_alert(const char *text);
/* True if a complete answer with grpc-status 0 is in x->reply. */
bool grpc_answered(const struct grpc_exchange *x);
/* Fills *err for an exchange that did not succeed and returns the negative code. */
int grpc_fail(const struct grpc_exchange *x, CURLcode rc, struct err *err);

#endif

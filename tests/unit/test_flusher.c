/* SPDX-License-Identifier: Apache-2.0 */
/* The thread of flush requests: it helps nobody else to look alive, and ends when it is asked to. */
#include "../t.h"

#include <cdc/worker.h>

#include <arpa/inet.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../src/data/flusher.h"

static atomic_int polls;

static bool applier_poll(void *arg)
{
	(void)arg;
	atomic_fetch_add(&polls, 1); /* flow.c pulses the applier here */
	return false;
}

/* A target that takes connections and never says a word. */
static int silent_target(struct target_conf *ret)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK_INT(bind(fd, (struct sockaddr *)&a, n), 0);
	CHECK_INT(listen(fd, 8), 0);
	CHECK_INT(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	*ret = (struct target_conf){
		.host = (char *)"127.0.0.1", .port = ntohs(a.sin_port), .connect_timeout_ms = 1000};
	return fd;
}

TEST(a_flush_that_waits_gives_no_sign_of_life_for_the_applier_R33)
{
	struct target_conf target;
	int fd = silent_target(&target), peer;
	struct sink_conf c = {.target = &target, .request_timeout_ms = 1500, .poll = applier_poll};
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct flusher *f = flusher_new(&c);
	char byte[512];

	flusher_add(f, "default", "c");
	CHECK_INT(poll(&p, 1, 10000), 1);
	CHECK((peer = accept(fd, NULL, NULL)) >= 0);
	while (read(peer, byte, sizeof(byte)) > 0)
		; /* until it gives up: the whole request timeout, in which it polls */
	CHECK_INT(atomic_load(&polls), 0);
	flusher_free(f);
	close(peer);
	close(fd);
}

TEST(a_flush_in_progress_ends_when_the_flusher_is_freed)
{
	struct target_conf target;
	int fd = silent_target(&target);
	struct sink_conf c = {.target = &target, .request_timeout_ms = 60000, .poll = applier_poll};
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct flusher *f = flusher_new(&c);
	int64_t began;

	flusher_add(f, "default", "c");
	CHECK_INT(poll(&p, 1, 10000), 1);
	began = clock_mono_ms();
	flusher_free(f);
	CHECK(clock_mono_ms() - began < 1500);
	close(fd);
}

TEST_MAIN()

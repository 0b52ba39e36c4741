/* SPDX-License-Identifier: Apache-2.0 */
/* Settings of a topic as its broker tells them (DescribeConfigs), for the operator's tools. */
#include "source_kafka.h"

#include <stdio.h>
#include <stdlib.h>

#define CLIENT_DEFAULT 100000000 /* librdkafka's receive.message.max.bytes */

static int64_t receive_max(const struct source *s)
{
	char text[32];
	size_t n = sizeof(text);

	return rd_kafka_conf_get(rd_kafka_conf(s->rk), "receive.message.max.bytes", text, &n) ==
			       RD_KAFKA_CONF_OK
		       ? strtoll(text, NULL, 10)
		       : CLIENT_DEFAULT;
}

static void take_entries(const rd_kafka_ConfigResource_t *topic, struct source_limits *ret)
{
	size_t n = 0;
	const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(topic, &n);

	for (size_t i = 0; i < n; i++) {
		const char *name = rd_kafka_ConfigEntry_name(entries[i]);
		const char *value = rd_kafka_ConfigEntry_value(entries[i]);
		int64_t *to = STREQ(name, "retention.ms")        ? &ret->keep_ms
			      : STREQ(name, "retention.bytes")   ? &ret->keep_bytes
			      : STREQ(name, "max.message.bytes") ? &ret->message_max
								 : NULL;

		if (to && value)
			*to = strtoll(value, NULL, 10);
	}
}

/* The answer, or NULL and why not. */
static rd_kafka_event_t *ask(struct source *s, rd_kafka_ConfigResource_t *topic, int timeout_ms,
			     rd_kafka_resp_err_t *why)
{
	rd_kafka_AdminOptions_t *options =
		rd_kafka_AdminOptions_new(s->rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
	rd_kafka_queue_t *queue = rd_kafka_queue_new(s->rk);
	rd_kafka_event_t *event;
	char text[256];

	rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, text, sizeof(text));
	rd_kafka_DescribeConfigs(s->rk, &topic, 1, options, queue);
	event = rd_kafka_queue_poll(queue, timeout_ms + 500);
	*why = event ? rd_kafka_event_error(event) : RD_KAFKA_RESP_ERR__TIMED_OUT;
	rd_kafka_queue_destroy(queue);
	rd_kafka_AdminOptions_destroy(options);
	if (event && (*why || !rd_kafka_event_DescribeConfigs_result(event))) {
		rd_kafka_event_destroy(event);
		event = NULL;
	}
	return event;
}

int kafka_limits(struct source *s, const char *pchannel, int timeout_ms, struct source_limits *ret,
		 struct err *err)
{
	struct source_limits limits = {.keep_ms = -1, .keep_bytes = -1, .message_max = -1};
	rd_kafka_ConfigResource_t *topic = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, pchannel);
	rd_kafka_resp_err_t why;
	rd_kafka_event_t *event = ask(s, topic, timeout_ms, &why);

	rd_kafka_ConfigResource_destroy(topic);
	if (event) {
		size_t n = 0;
		const rd_kafka_ConfigResource_t **topics = rd_kafka_DescribeConfigs_result_resources(
			rd_kafka_event_DescribeConfigs_result(event), &n);

		why = n == 1 ? rd_kafka_ConfigResource_error(topics[0]) : RD_KAFKA_RESP_ERR_UNKNOWN;
		if (!why)
			take_entries(topics[0], &limits);
		rd_kafka_event_destroy(event);
	}
	if (why)
		return kafka_failed(s, pchannel, why, err);
	limits.receive_max = receive_max(s);
	*ret = limits;
	return 0;
}

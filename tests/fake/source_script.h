/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source in memory with the contract of source_ops (cdc/source.h). The broker holds topics that a test
 * fills, trims and makes again; it outlives the handles, as a real one does. Everything is deterministic:
 * also the time, which passes only while a read waits (broker.now_ms), and the order in which topics are
 * read, which follows from broker.seed. One thread.
 *
 * A record's body is memory of its own, freed by its release: a use after it is found by a sanitizer.
 */
#ifndef FAKE_SOURCE_SCRIPT_H
#define FAKE_SOURCE_SCRIPT_H

#include <cdc/source.h>

#define BROKER_TOPICS 16

struct broker_message {
	uint8_t *body;
	size_t size;
	int64_t time_ms;
};

struct broker {
	struct broker_topic {
		char name[PCHANNEL_MAX];         /* "": free */
		struct broker_message *messages; /* by offset; the trimmed ones are empty */
		size_t count, cap;
		uint64_t first;
		int generation; /* counts how often it was made again */
	} topics[BROKER_TOPICS];

	/* behaviour */
	int64_t now_ms;
	size_t read_max; /* records of one read; 0: as many as asked for */
	unsigned seed;   /* 0: topic after topic; else mixed, and batches of any size up to read_max */
	int fail_at;     /* the Nth call from now fails (1: the next one); 0: none */
	int fail_for;    /* and so many calls in all; 0: one */
	int fail_code;   /* with this ERR_* */

	/* what was asked */
	int calls, reads, assigns;
	int handles;       /* open ones */
	int records_out;   /* not released yet */
	size_t paused_max; /* most topics that were paused at once */
};

struct broker *broker_new(void);
void broker_free(struct broker *b);
/* Makes the topic if it is not there. */
struct broker_topic *broker_topic(struct broker *b, const char *name);
void broker_append(struct broker *b, const char *name, const void *body, size_t n, int64_t time_ms);
/* Retention: messages below `first` are gone. */
void broker_trim(struct broker *b, const char *name, uint64_t first);
/* Deleted and made again, empty. */
void broker_recreate(struct broker *b, const char *name);
void broker_delete(struct broker *b, const char *name);

extern struct broker *source_script_broker; /* what source_script talks to */
extern const struct source_ops source_script;
/* Of an open handle: is this pchannel assigned, is it paused? */
bool source_script_assigned(const struct source *s, const char *pchannel);
bool source_script_paused(const struct source *s, const char *pchannel);

#endif

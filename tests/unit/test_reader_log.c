/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader over a random log of a whole source: rows out of order between ticks, upserts, collections
 * and partitions that come and go, names used again. However it is interrupted and however the log
 * arrives, the journal must become the same (R1, R12, J1, J2, J5).
 */
#include "reader_kit.h"

#define PCHANNELS 3
#define PHASES 6
#define PHASE_EVENTS 14

static unsigned roll(unsigned *seed, unsigned n)
{
	*seed = *seed * 1664525u + 1013904223u;
	return (*seed >> 8) % n;
}

/* The source as its users know it. */
struct users {
	unsigned seed;
	int64_t now, next_id;
	int64_t tick[PCHANNELS];
	struct {
		int64_t id, part;        /* part 0: none */
		int64_t made, part_made; /* phase */
	} live[8];
	int count, phase;
	int name; /* of the next collection */
};

static const char *const pchannel_name[PCHANNELS] = {"dml_0", "dml_1", "dml_2"};

static void row(struct rig *g, struct users *u)
{
	int i = (int)roll(&u->seed, (unsigned)u->count), shard = (int)roll(&u->seed, 2);
	int64_t id = u->live[i].id;
	bool part = u->live[i].part && u->live[i].part_made < u->phase && roll(&u->seed, 3) == 0;
	/* above every tick and every creation, up to 30 ms ahead: out of order */
	cdc_ts ts = T(u->now + 1 + roll(&u->seed, 30)) + roll(&u->seed, 2);
	int rows = 1 + (int)roll(&u->seed, 4);

	switch (roll(&u->seed, 4)) {
	case 0:
		rig_upsert(g, id, shard, ts);
		break;
	case 1:
		rig_data(g, KIND_DELETE, id, shard, part ? u->live[i].part : 0, ts, rows, 0);
		break;
	default:
		rig_data(g, KIND_INSERT, id, shard, part ? u->live[i].part : 0, ts, rows, 40);
	}
}

static void create(struct rig *g, struct users *u)
{
	char name[16];
	int first = (int)roll(&u->seed, PCHANNELS);

	if (u->count == (int)ARRAY_LEN(u->live))
		return;
	snprintf(name, sizeof(name), "c%d", u->name++ % 4); /* names come again, once they are free */
	for (int i = 0; i < u->count; i++)
		if (STREQ(rig_find(g, u->live[i].id)->name, name))
			return;
	u->now++;
	rig_create(g, u->next_id, name, T(u->now), pchannel_name[first],
		   pchannel_name[(first + 1) % PCHANNELS]);
	memset(&u->live[u->count], 0, sizeof(u->live[0]));
	u->live[u->count].made = u->phase;
	u->live[u->count++].id = u->next_id;
	u->next_id += 10;
}

/* Of something that the reader has seen: what comes and goes unseen is skipped (R7). */
static void drop(struct rig *g, struct users *u)
{
	int i = (int)roll(&u->seed, (unsigned)u->count);

	if (u->count < 2 || u->live[i].made >= u->phase)
		return;
	u->now += 31; /* after all its rows */
	rig_drop(g, u->live[i].id, T(u->now));
	u->live[i] = u->live[--u->count];
}

static void partition(struct rig *g, struct users *u)
{
	int i = (int)roll(&u->seed, (unsigned)u->count);
	int64_t id = u->live[i].id, part = u->live[i].part;

	if (u->live[i].made >= u->phase)
		return;
	if (!part) {
		u->now++;
		u->live[i].part = u->next_id++;
		u->live[i].part_made = u->phase;
		put_part(&g->w, id, u->live[i].part, "p", T(u->now), STATE_CREATED);
	} else if (u->live[i].part_made < u->phase) {
		u->now += 31;
		put_part(&g->w, id, part, "p", T(1), STATE_DROPPING);
		for (int k = 0; k < 2; k++)
			rig_drop_record(g, id, part, k, T(u->now));
		u->live[i].part = 0;
	}
}

static void event(struct rig *g, struct users *u)
{
	unsigned k = roll(&u->seed, 20);
	int p = (int)roll(&u->seed, PCHANNELS);

	u->now += roll(&u->seed, 5);
	if (k < 12) {
		row(g, u);
	} else if (k < 16) {
		u->tick[p] = u->now;
		rig_tick(g, pchannel_name[p], T(u->now));
	} else if (k == 16) {
		create(g, u);
	} else if (k == 17) {
		drop(g, u);
	} else {
		partition(g, u);
	}
}

struct rig_users {
	struct rig *g;
	struct users u;
};

static struct rig_users begin(unsigned seed)
{
	struct rig_users s = {.g = rig_new(), .u = {.seed = seed, .next_id = 1000}};

	for (int i = 0; i < PCHANNELS; i++)
		broker_topic(s.g->broker, pchannel_name[i]);
	broker_topic(s.g->broker, REPLICATE);
	for (int i = 0; i < 3; i++)
		create(s.g, &s.u);
	s.u.now++;
	rig_tick_all(s.g, T(s.u.now));
	rig_start(s.g);
	s.u.phase = 1;
	return s;
}

/* One phase of the users; rows above the last tick are left over for the next. Returns that tick. */
static cdc_ts phase(struct rig_users *s)
{
	for (int i = 0; i < PHASE_EVENTS; i++)
		event(s->g, &s->u);
	s->u.now++;
	rig_tick_all(s->g, T(s->u.now));
	s->u.phase++;
	return T(s->u.now);
}

/* When the reader is killed. */
struct kills {
	int step;  /* after that step of the run */
	bool cuts; /* after every new cut */
	int every; /* after so many steps, then one more each time: else it would never get on */
};

/* A whole run. reading: the broker's seed, read_max: most records of a read. */
static char *run(unsigned seed, struct kills kills, unsigned reading, size_t read_max, int *steps)
{
	struct rig_users s = begin(seed);
	cdc_ts killed = 0;
	int since = 0;
	char *text;

	s.g->broker->seed = reading;
	s.g->broker->read_max = read_max;
	for (int i = 0; i < PHASES; i++) {
		cdc_ts end = phase(&s);

		for (int n = 0; s.g->r->prev < end; n++) {
			CHECKF(n < 3000, "phase %d does not end", i);
			CHECKF(rig_step(s.g) >= 0, "%s", s.g->err.text);
			since++;
			if (s.g->steps == kills.step || (kills.cuts && s.g->r->prev > killed && since > 1) ||
			    (kills.every && since == kills.every)) {
				killed = s.g->r->prev;
				kills.every += kills.every > 0;
				since = 0;
				rig_kill(s.g);
			}
		}
	}
	text = xstrdup(rig_tell(s.g, 0, true));
	if (steps)
		*steps = s.g->steps;
	rig_done(s.g);
	return text;
}

static int count(const char *text, const char *word)
{
	int n = 0;

	while ((text = strstr(text, word))) {
		n++;
		text += strlen(word);
	}
	return n;
}

TEST(R1_J1_J2_J5_a_kill_after_any_step_leaves_the_same_journal)
{
	int steps;
	AUTO_FREE char *want = run(1, (struct kills){0}, 0, 2, &steps);

	/* the log is worth it */
	CHECK(count(want, "insert ") > 20 && count(want, "delete ") > 10);
	CHECK(count(want, "create collection ") > 3 && count(want, "create partition ") > 0);
	CHECK(count(want, "drop collection ") > 0 && steps > 60 && count(want, "drop partition ") > 0);
	for (int k = 1; k <= steps; k++) {
		AUTO_FREE char *got = run(1, (struct kills){.step = k}, 0, 2, NULL);

		rig_same(got, want, "killed after step", k);
	}
}

TEST(R1_many_kills_leave_the_same_journal)
{
	int drops = 0;

	for (unsigned seed = 1; seed <= 8; seed++) {
		AUTO_FREE char *want = run(seed, (struct kills){0}, 0, 0, NULL);
		AUTO_FREE char *each = run(seed, (struct kills){.cuts = true}, 0, 4, NULL);
		AUTO_FREE char *often = run(seed, (struct kills){.every = 3}, seed, 9, NULL);

		drops += count(want, "drop partition ");
		rig_same(each, want, "killed after every cut, seed", (int)seed);
		rig_same(often, want, "killed often, seed", (int)seed);
	}
	CHECK(drops > 2);
}

TEST(R12_batch_sizes_and_arrival_do_not_matter)
{
	for (unsigned seed = 11; seed <= 22; seed++) {
		AUTO_FREE char *want = run(seed, (struct kills){0}, 0, 0, NULL);

		for (unsigned reading = 1; reading <= 4; reading++) {
			AUTO_FREE char *got =
				run(seed, (struct kills){0}, reading * 77 + seed, reading * 3 - 2, NULL);

			rig_same(got, want, "read otherwise, seed", (int)seed);
		}
	}
}

TEST_MAIN()

/* SPDX-License-Identifier: Apache-2.0 */
/* What the doctor says of the queue, case by case, against a source that answers as the test wants; of a
 * disk, of SQLite, and of who writes to a target. Real servers give it most of the good lines and few of the
 * bad ones.
 */
#include "../../src/control/doctor_priv.h"
#include "../../src/control/owner.h"

#include <cdc/mem.h>
#include <cdc/worker.h>

#include <errno.h>
#include <poll.h>
#include <sqlite3.h>
#include <unistd.h>

#include "../fake/etcd_process.h"
#include "../t.h"

#define HOUR (3600 * 1000LL)
#define REPLICATE "by-dev-replicate-msg"
#define DML "by-dev-rootcoord-dml_0"

static struct {
	uint64_t first, end; /* of every pchannel */
	const char *missing; /* no such topic */
	struct source_limits limits;
	bool limits_denied, login_refused, silent;
	int64_t ahead_ms; /* the source's clock before ours */
	uint64_t given;   /* ticks */
} broker;

static struct {
	int version; /* of SQLite; 0: as it is */
	bool slow, broken;
} machine;

static struct conf *conf;
static struct doctor d;
static char *text;

static int fake_open(struct source **ret, const struct conf_source *c, struct err *err)
{
	(void)c, (void)err;
	*ret = (struct source *)&broker;
	return 0;
}

static void fake_close(struct source *s)
{
	(void)s;
}

static int fake_bounds(struct source *s, const char *pchannel, int timeout_ms, struct mq_id *first,
		       struct mq_id *end, struct err *err)
{
	(void)s, (void)timeout_ms;
	if (broker.login_refused)
		return err_set(err, ERR_SOURCE_AUTH, "Kafka refuses the login of cdc");
	if (broker.missing && STREQ(pchannel, broker.missing))
		return err_set(err, ERR_POSITION_GONE, "%s: there is no such topic", pchannel);
	*first = (struct mq_id){.lo = broker.first};
	*end = (struct mq_id){.lo = broker.end};
	return 0;
}

static int fake_assign(struct source *s, int index, const struct position *pos, int timeout_ms,
		       struct err *err)
{
	(void)s, (void)index, (void)pos, (void)timeout_ms, (void)err;
	return 0;
}

static void fake_unassign(struct source *s, int index)
{
	(void)s, (void)index;
}

static int fake_read(struct source *s, struct record *ret, size_t max, int wait_ms, struct err *err)
{
	(void)s, (void)max, (void)wait_ms, (void)err;
	if (broker.silent)
		return 0;
	*ret = (struct record){.kind = KIND_TICK,
			       .id = {.lo = broker.end + broker.given++},
			       .ts = ts_from_ms(clock_real_ms() + broker.ahead_ms)};
	return 1;
}

static int fake_limits(struct source *s, const char *pchannel, int timeout_ms, struct source_limits *ret,
		       struct err *err)
{
	(void)s, (void)pchannel, (void)timeout_ms;
	if (broker.limits_denied)
		return err_set(err, ERR_SOURCE_AUTH, "not authorized");
	*ret = broker.limits;
	return 0;
}

/* These and the one below instead of those of the libraries. */
int sqlite3_libversion_number(void)
{
	return machine.version ? machine.version : SQLITE_VERSION_NUMBER;
}

int fdatasync(int fd)
{
	(void)fd;
	if (machine.slow)
		poll(NULL, 0, 60);
	errno = EIO;
	return machine.broken ? -1 : 0;
}

const struct source_ops *source_select(const struct conf_source *c)
{
	static const struct source_ops ops = {.name = "fake",
					      .open = fake_open,
					      .close = fake_close,
					      .bounds = fake_bounds,
					      .assign = fake_assign,
					      .unassign = fake_unassign,
					      .read = fake_read,
					      .limits = fake_limits};

	(void)c;
	return &ops;
}

__attribute__((constructor)) static void begin(void)
{
	wire_init();
}

/* A broker and a source that are well. */
static void setup(void)
{
	static const char *pchannels[] = {DML};

	memset(&broker, 0, sizeof(broker));
	memset(&machine, 0, sizeof(machine));
	broker.first = 100;
	broker.end = 200;
	broker.limits = (struct source_limits){
		.keep_ms = 72 * HOUR, .keep_bytes = -1, .message_max = 10000000, .receive_max = 100000000};
	if (!conf) {
		conf = conf_default();
		conf->source.kafka.address = xstrdup("kafka:9092");
		free(conf->source.replicate_chan);
		conf->source.replicate_chan = xstrdup(REPLICATE);
	}
	if (d.arena)
		arena_free(d.arena);
	d = (struct doctor){.conf = conf, .arena = arena_new(), .pchannels = pchannels, .pchannel_count = 1};
}

static void look(void (*check)(struct doctor *))
{
	size_t n = 0;

	free(TAKE(text));
	d.failed = d.warned = 0;
	d.out = open_memstream(&text, &n);
	check(&d);
	fclose(d.out);
}

/* One line has all these words in it, in this order. */
static void told(const char *verdict, const char *what, const char *found, const char *remedy)
{
	AUTO_FREE char *start = xasprintf("%s  %s: ", verdict, what), *copy = xstrdup(text);
	char *rest = NULL;
	int n = 0;

	for (char *l = strtok_r(copy, "\n", &rest); l; l = strtok_r(NULL, "\n", &rest))
		if (strncmp(l, start, strlen(start)) == 0) {
			const char *at = strstr(l, found);

			n++;
			CHECKF(at, "'%s' is not told in:\n%s", found, text);
			CHECKF(strstr(at, remedy), "'%s' is not told in:\n%s", remedy, text);
			CHECKF(!*remedy == !strstr(at, " ("), "a remedy or none:\n%s", text);
		}
	CHECKF(n == 1, "%d lines '%s' in:\n%s", n, start, text);
}

TEST(a_source_that_is_well)
{
	setup();
	look(doctor_kafka);
	CHECK_INT(d.failed + d.warned, 0);
	told("ok  ", "Kafka", "answers at kafka:9092", "");
	told("ok  ", "replicate topic", REPLICATE " is there", "");
	told("ok  ", "topics", "1 of 1 pchannels of live collections looked at, all there", "");
	told("ok  ", "message size", "up to 10.0 MB, we take 100.0 MB", "");
	told("ok  ", "clock", "within 0.0 s of the source's", "");
}

TEST(a_login_that_is_refused_is_all_that_is_told_of_the_queue)
{
	setup();
	broker.login_refused = true;
	look(doctor_kafka);
	told("FAIL", "Kafka", "refuses the login", "");
	CHECK_INT(d.failed, 1);
	CHECK(strchr(text, '\n')[1] == 0);
}

TEST(a_topic_of_a_collection_that_is_missing)
{
	setup();
	broker.missing = DML;
	look(doctor_kafka);
	told("FAIL", "topics", DML, "(is sourceConfig.kafka.address the Kafka of this source?)");
}

TEST(a_source_without_its_topic_of_operations_does_not_pass_flushes_on)
{
	setup();
	broker.missing = REPLICATE;
	look(doctor_kafka);
	told("warn", "replicate topic", "there is no topic " REPLICATE,
	     "(sourceConfig.replicateChan must be");
	CHECK_INT(d.failed, 0);
}

TEST(messages_that_are_larger_than_we_take)
{
	setup();
	broker.limits.message_max = 200000000;
	look(doctor_kafka);
	told("FAIL", "message size", "up to 200.0 MB, we take 100.0 MB",
	     "(set max.message.bytes of the topics lower)");
}

TEST(limits_that_nobody_tells_us)
{
	setup();
	broker.limits_denied = true;
	look(doctor_kafka);
	told("warn", "message size", "cannot be read: not authorized",
	     "(allow our Kafka user DescribeConfigs");
	CHECK_INT(d.failed, 0);
}

TEST(a_source_that_is_not_running_or_sends_no_ticks)
{
	setup();
	broker.silent = true;
	look(doctor_kafka);
	told("FAIL", "source's ticks", "none on " DML, "common.ttMsgEnabled must be true in its milvus.yaml");
	told("warn", "clock", "not compared", "");
}

TEST(clocks_that_are_seconds_apart_either_way)
{
	setup();
	broker.ahead_ms = 5000;
	look(doctor_kafka);
	told("warn", "clock", "ours is 5.0 s behind the source's", "(run NTP on both sides");
	setup();
	broker.ahead_ms = -5000;
	look(doctor_kafka);
	told("warn", "clock", "ours is 5.0 s ahead of the source's", "(run NTP on both sides");
}

TEST(without_a_collection_the_clock_in_etcd_is_compared)
{
	setup();
	d.pchannel_count = 0;
	d.etcd_clock_ms = clock_real_ms() + 3000;
	look(doctor_kafka);
	told("ok  ", "clock", "near the source's", "");
	d.etcd_clock_ms = clock_real_ms() + 60000;
	look(doctor_kafka);
	told("warn", "clock", "ahead of ours", "(run NTP on both sides");
	d.etcd_clock_ms = clock_real_ms() - 60000;
	look(doctor_kafka);
	told("warn", "clock", "behind ours", "(run NTP on both sides");
	told("ok  ", "topics", "no pchannel is in use", "");
}

/* A task that goes on at that message, whose time is so many hours ago. */
static void task_at(uint64_t next, int64_t hours_ago)
{
	static struct position pos;
	static struct peek_task journal;

	pos = (struct position){
		.pchannel = DML, .next = {.lo = next}, .ts = ts_from_ms(clock_real_ms() - hours_ago * HOUR)};
	journal = (struct peek_task){.id = (char *)"t1", .positions = &pos, .position_count = 1};
	d.journals = &journal;
	d.task_count = 1;
}

TEST(what_is_not_read_yet_against_the_retention)
{
	setup();
	task_at(150, 10);
	look(doctor_kafka);
	told("ok  ", "task t1, log", "the first one that retention.ms takes is " DML " in 62.0 h", "");
	broker.limits.keep_bytes = 1 << 30;
	look(doctor_kafka);
	told("ok  ", "task t1, log", "sooner if retention.bytes is reached", "");
	task_at(150, 60);
	look(doctor_kafka);
	told("warn", "task t1, log", DML ": retention takes what is not read in 12.0 h",
	     "(start the service soon");
	task_at(200, 500); /* all is read: however old */
	look(doctor_kafka);
	told("ok  ", "task t1, log", "Kafka holds our positions on 1 pchannel", "");
}

TEST(what_is_gone_before_it_was_read)
{
	setup();
	task_at(99, 80);
	look(doctor_kafka);
	told("FAIL", "task t1, log", "we are at 99, Kafka holds 100 up to 200",
	     "delete it and create it anew");
	task_at(201, 1); /* another Kafka, or one that was restored */
	look(doctor_kafka);
	told("FAIL", "task t1, log", "we are at 201, Kafka holds 100 up to 200",
	     "delete it and create it anew");
}

TEST(a_disk_on_which_the_journals_may_not_find_room)
{
	char dir[] = "/tmp/cdc-doctor-disk-XXXXXX";

	setup();
	CHECK(mkdtemp(dir));
	free(conf->data_dir);
	conf->data_dir = xstrdup(dir);
	d.data_dir = true;
	task_at(150, 1);
	conf->journal.max_size = 1LL << 60;
	look(doctor_disk);
	told("warn", "disk space", "the journals of 1 task may grow by", "(when it is full, reading waits");
	conf->journal.segment_size = 1LL << 60;
	look(doctor_disk);
	told("FAIL", "disk space", "free", "(when it is full, reading waits");
	CHECK_INT(rmdir(dir), 0);
	look(doctor_disk);
	told("FAIL", "disk space", dir, "");
	told("FAIL", "disk speed", dir, "(the service must be able to write there)");
}

TEST(a_disk_that_is_slow_or_broken_and_a_library_that_is_too_old)
{
	char dir[] = "/tmp/cdc-doctor-speed-XXXXXX";

	setup();
	CHECK(mkdtemp(dir));
	free(conf->data_dir);
	conf->data_dir = xstrdup(dir);
	d.data_dir = true;
	look(doctor_disk);
	told("ok  ", "disk speed", "a synced write takes ", "");
	machine.slow = true;
	look(doctor_disk);
	told("warn", "disk speed", "a synced write takes ", "(each change waits for a sync; move dataDir");
	machine.broken = true;
	look(doctor_disk);
	told("FAIL", "disk speed", "Input/output error", "(the service must be able to write there)");
	look(doctor_sqlite);
	told("ok  ", "SQLite", "thread-safe, with write-ahead log", "");
	machine.version = 3036000;
	look(doctor_sqlite);
	told("FAIL", "SQLite", "thread-safe", "(3.37 or newer is needed)");
	CHECK_INT(rmdir(dir), 0);
}

TEST(who_is_noted_as_the_writer_of_a_target)
{
	AUTO(etcd_process_free) struct etcd_process *p = etcd_process_new(false);
	char dir[] = "/tmp/cdc-doctor-owner-XXXXXX", *addresses[] = {NULL, NULL};
	struct target_conf target = {.host = (char *)"127.0.0.1", .port = 1};
	struct task_row task = {.id = (char *)"t1",
				.target_key = (char *)"10.0.0.1:19530",
				.mode = (char *)"",
				.state = TASK_READY,
				.target = &target};
	AUTO_FREE char *key = NULL, *instance = NULL;
	struct conf_etcd etcd;
	FILE *f;

	setup();
	etcd_process_start(p);
	CHECK(mkdtemp(dir));
	addresses[0] = p->address;
	etcd = conf->source.etcd;
	conf->source.etcd.address = addresses;
	free(conf->data_dir);
	conf->data_dir = xstrdup(dir);
	instance = xasprintf("%s/instance", dir);
	CHECK((f = fopen(instance, "we")));
	fputs("0123456789abcdef0123456789abcdef", f);
	fclose(f);
	key = owner_path(conf, "", task.target_key);
	d.etcd = etcd_new(&conf->source.etcd, NULL, NULL);
	d.etcd_ok = true;
	d.tasks = &task;
	d.task_count = 1;
	look(doctor_tasks);
	told("FAIL", "task t1, target", "127.0.0.1:1", "");
	told("ok  ", "task t1, only writer", "nobody is noted", "");
	etcd_process_put(p, key, "0123456789abcdef0123456789abcdef this machine");
	look(doctor_tasks);
	told("ok  ", "task t1, only writer", "it is ours", "");
	etcd_process_put(p, key, "ffffffffffffffffffffffffffffffff milvus-cdc on cdc2");
	look(doctor_tasks);
	told("FAIL", "task t1, only writer",
	     "another milvus-cdc writes to 10.0.0.1:19530: milvus-cdc on cdc2",
	     "(stop it, or delete one of the two tasks)");
	etcd_process_kill(p);
	look(doctor_tasks);
	told("warn", "task t1, only writer", "not known: ", "");
	etcd_free(TAKE(d.etcd));
	conf->source.etcd = etcd;
	CHECK_INT(unlink(instance), 0);
	CHECK_INT(rmdir(dir), 0);
}

TEST_MAIN()

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every kind of event that is logged, once. EVENT(name, level, message ID, fields, subject, what it means and
 * what to do): the ID goes with the line into the systemd journal, and the message catalog is made from
 * fields, subject and text, so that journalctl -x explains the line. IDs are for ever. Include with EVENT
 * defined; undefines it.
 *
 * Fields are those of the line beside message and level (CDC_TASK for "task"): task ID; worker, the thread;
 * collection, as database.collection; channel, a pchannel, of the source on lines of the reader, of the
 * target on those of the applier; seq, the number in the journal: of the entry that a collection is on hold
 * from, else the last one that the reader has written or that is on the target; lag_ms, the age of the
 * target's picture of the source. With a question mark: where the line is about one, where it is known.
 */
EVENT(STARTED, INFO, "47eaa0992cb6416d86dc283cf0480ff9", "", "milvus-cdc has started",
      "The program has opened its data directory, checked the journals of its tasks, and answers "
      "requests.\nTasks go on where they stopped.")
EVENT(STOPPED, INFO, "1509bb0a9bf143318a118783593942a4", "lag_ms?", "milvus-cdc stops",
      "What was being sent to a target stays in doubt and is repeated at the next start; the target drops "
      "what it has already, so nothing is doubled.")
EVENT(NOT_STARTED, ERROR, "f5ec52ed0108447592e1bc7656670b14", "", "milvus-cdc could not start",
      "The message says why. With exit status 78 it is the configuration, and systemd does not try again: "
      "correct it, check it with milvus-cdc --config FILE --check-config, and start the service.")
EVENT(NO_SOURCE, WARNING, "59ba1b0d5c904158a909406c2e416788", "", "No source is configured",
      "The program runs, but no task can be made. Set sourceConfig.etcd.address, sourceConfig.etcd.rootPath, "
      "sourceConfig.kafka.address and sourceConfig.replicateChan in the configuration and restart the "
      "service. milvus-cdc doctor checks them.")
EVENT(API_OPEN, WARNING, "5d32fe61985f44e7aa095ee82bb29976", "",
      "Everyone who can reach this machine can manage the tasks",
      "The API has no authentication and listens on more than a loopback address. Set address to "
      "127.0.0.1:8444, or put a proxy that asks for a password in front of it and close the port to others.")
EVENT(API_FAILED, WARNING, "9a1e40b458154a9999e2d15364c7a500", "", "A request failed",
      "The answer to the client has the same text.")
EVENT(TASK_CREATED, INFO, "68b4aef73eaa4e179d8a4eace693ae2d", "task", "A task was created",
      "Everything that the source acknowledges from now on is kept in the task's journal and applied to its "
      "target.")
EVENT(TASK_PAUSED, INFO, "142c83647806457793e783e7eb04b39b", "task lag_ms?", "A task was paused",
      "Nothing is applied to the target any more. Changes are still read into the journal, up to "
      "journal.maxSize. On a target in replicate mode strongly consistent reads may wait until the task goes "
      "on.")
EVENT(TASK_RESUMED, INFO, "3b041641178844f2a60df25453fe2e85", "task lag_ms?", "A task goes on",
      "The journal's changes are applied from where it was paused; collections on hold are tried at once.")
EVENT(TASK_LEVEL, INFO, "3aa4a3d2002d4cb79c70b389e53e7b5a", "task lag_ms",
      "A task is level with the source again",
      "The target was more than half a minute behind, after an outage, a pause or a flood of changes, and "
      "is not any more.")
EVENT(TASK_DELETED, INFO, "00a154d85ed84bccb5c719c2add9ca88", "task", "A task was deleted",
      "Its journal is removed. What is on the target stays there.")
EVENT(TASK_BROKEN, ERROR, "c0290103855d4f5599ec8712e8e3574f", "task channel?", "A task does not start",
      "The message says which file or part is at fault and what to do. The other tasks are not concerned; "
      "the task is tried again by itself when the cause may pass.")
EVENT(TASK_LEFTOVER, WARNING, "6e704245a4ff41e3a7949b80dcb0b82e", "task?",
      "Something of a task was left over",
      "The program had ended while the task was being made or removed, or a folder belongs to no task. What "
      "is named in the message was finished, removed or put aside.")
EVENT(WORKER_RETRYING, WARNING, "de1b1471320a48eab7a788d106762832", "task worker lag_ms? seq channel?",
      "A part of a task cannot go on for the moment",
      "The message says what is missing: source, queue, target or disk. It is tried again for ever, with "
      "pauses of a few seconds; nothing is lost meanwhile, and nothing needs to be done once the cause is "
      "gone. The 1st, 2nd, 4th, 8th ... failure in a row is told.")
EVENT(WORKER_HELD, ERROR, "4350cc1721e54f21acd552a09ddbef12", "task worker lag_ms? seq channel?",
      "A part of a task waits for an operator",
      "Going on by itself would lose, double or damage something. The message says why and what to do. It is "
      "looked at once a minute, and at once after a resume request for the task.")
EVENT(WORKER_RECOVERED, INFO, "9ed89eddd6844325b600e6129ec04ece", "task worker lag_ms? seq channel?",
      "A part of a task goes on again", "The cause of the failures told before is gone. Nothing was lost.")
EVENT(WORKER_STUCK, ERROR, "627bf3225fac4cb6a34acb115ee347dd", "task worker",
      "A worker gives no sign of life",
      "The watchdog of systemd is not fed any more and will restart the service, which is safe at any "
      "moment. If it happens again, the core dump or the backtrace of the worker is worth a report.")
EVENT(COLLECTION_HELD, WARNING, "a930d55d954540f3ae889fe46f2c7a8c", "task worker collection seq lag_ms?",
      "A collection is on hold",
      "The target refused something of this collection for good; its changes wait in the journal from there "
      "on, all others flow. Put right on the target what the message says (often: drop or rename a "
      "collection there that has the same name and another schema). It is tried again once a minute, and at "
      "once after a resume request.")
EVENT(COLLECTION_RELEASED, INFO, "43f2f1936e854f08b5927b0fe339d309", "task worker collection seq lag_ms?",
      "A collection is not on hold any more", "All that had waited for it was applied.")
EVENT(NOT_REPLICATED, WARNING, "990d3cd8381d422f850c86bd84e0164b", "task",
      "Something could not be replicated as it is at the source",
      "The message says what differs on the target and what can be done. Everything else goes on.")
EVENT(JOURNAL_DAMAGED, WARNING, "e07cb5793e7f497bbcc1c0c8b0cdf20a", "task", "A journal file was damaged",
      "The file and all after it were moved to the folder quarantine beside it and are read again from the "
      "source. Nothing was lost; look for a failing disk.")
EVENT(JOURNAL_LOST, ERROR, "78f6d82486ea4214b5c34e7e77ca4499", "task",
      "A journal is damaged and cannot be read again",
      "The message names the file and the range. The task waits. Restore the folder from a backup that is "
      "not older, or make the task anew.")
EVENT(RELOADED, INFO, "1dcd327f761e47cbbb7e8913655c1d15", "", "The configuration was looked at again",
      "The log level was taken over; other changes need a restart and are named in the message.")
EVENT(RELOAD_FAILED, ERROR, "e862bbf05dbb47c8b3bad0142229253b", "", "The configuration was not taken over",
      "The file that was to be read again is wrong, as the message says; everything goes on with the "
      "configuration of the start. Correct it, check it with milvus-cdc --config FILE --check-config, and "
      "reload again. A start with it as it is would fail.")
EVENT(CONFIG_NOTE, INFO, "9672be1a7fed4bb9a92fa271dbc52933", "", "A remark about the configuration",
      "A key is accepted and has no effect, or stands for another one.")
EVENT(INTERNAL, ERROR, "c44a66f4cf2543469cbe4f50bdbcda98", "task?", "Something that must not happen",
      "The message says what. A report with it is welcome.")
EVENT(SOURCE_LOST, WARNING, "32833106536e45df80b2d002cc92d33d", "task worker lag_ms? seq channel?",
      "The source cannot be reached",
      "etcd or Kafka of the source does not answer at the address in the message. Nothing is lost as long as "
      "it keeps its log; it is tried again every few seconds. Check the address, the network and the "
      "service; milvus-cdc doctor does.")
EVENT(SOURCE_WAIT, WARNING, "f08db22fd293456ab170fab23d90fbac", "task worker lag_ms? seq channel?",
      "Waiting for the source",
      "The source has not done yet what must come first, as the message says: a collection is still being "
      "created, or no time tick has come. Ticks need a running source Milvus with common.ttMsgEnabled: true.")
EVENT(SOURCE_AUTH, WARNING, "f3faa8e879ea47238ad5cfbc1d74bd1c", "task worker lag_ms? seq channel?",
      "The source refuses our credentials",
      "User, password or certificate of sourceConfig are not taken, or have no right to read. Correct them "
      "and restart the service, or give the user the right; nothing is lost meanwhile.")
EVENT(SOURCE_FOREIGN, ERROR, "3ce1268c9c8042e3bfec3fee8ed2305d", "task worker lag_ms? seq channel?",
      "The source is not the one that the task was made for",
      "etcd has another cluster ID, root or an older revision: a wrong address or rootPath, a restored "
      "backup, or a source that was set up anew. Nothing is derived from it. Set the configuration back, or "
      "delete the task and make a new one.")
EVENT(SOURCE_FORMAT, ERROR, "a93f32a9a17241028e4edc90253d9e30", "task worker lag_ms? seq channel?",
      "The source sent something that cannot be read",
      "The message names where it is. A source newer than Milvus 2.5 is not supported. The task waits; "
      "nothing is left out in silence.")
EVENT(POSITION_GONE, ERROR, "47aa2dbad9e24c8d809f001680289e32", "task worker lag_ms? seq channel?",
      "The source no longer has the log at our position",
      "The message names the pchannel and the range that is missing: it was removed by Kafka's retention, or "
      "the topic was made anew, while this program did not read. Changes in it cannot be replicated. Delete "
      "the task, bring the target level by other means (a backup of the source), and make a new task. Keep "
      "Kafka's retention longer than the longest outage of this machine.")
EVENT(TARGET_LOST, WARNING, "7f453a0ef5094b4f95de6e91074206e2", "task worker lag_ms? seq channel?",
      "The target cannot be reached",
      "It does not answer at the address in the message. Changes are kept in the journal meanwhile, up to "
      "journal.maxSize, and applied when it is back.")
EVENT(TARGET_AUTH, WARNING, "30f47f35d0384cfb8add40e92c34bf1c", "task worker lag_ms? seq channel?",
      "The target refuses our credentials",
      "User, password, token or certificate of the task are not taken. Changes are kept in the journal "
      "meanwhile. Put them right on the target; credentials of a task cannot be changed, so otherwise delete "
      "it and make it anew.")
EVENT(TARGET_BUSY, WARNING, "63783933d5f04510bf6af8af81df6383", "task worker lag_ms? seq channel?",
      "The target is not ready",
      "It answers, but says that it cannot do this now: it is starting, overloaded or out of memory. It is "
      "tried again every few seconds.")
EVENT(TARGET_REFUSED, ERROR, "1e07ea63524c498f94dc77a72ed0d50a", "task worker lag_ms? seq channel?",
      "The target refuses an operation",
      "The message has its words. The change waits in the journal, with all that must come after it.")
EVENT(TARGET_SCHEMA, ERROR, "42a68fecc75a43c48d0d866b16519537", "task worker lag_ms? seq channel?",
      "The target has another schema",
      "A collection of that name exists on the target, and is another one. Drop or rename it there; it is "
      "tried again by itself.")
EVENT(TARGET_OTHER, WARNING, "39c0d03234794347b83bea5c88b224f0", "task? worker lag_ms? seq? channel?",
      "Another milvus-cdc writes to this target",
      "Two programs that write to one target would double and mix rows. The message says where the other one "
      "runs. Stop it, or delete its task; this one goes on by itself some seconds later. Changes are kept in "
      "the journal meanwhile.")
EVENT(JOURNAL_FULL, WARNING, "d86bb32f14b942579266ef64311275fc", "task worker lag_ms? seq channel?",
      "The journal has reached its size limit",
      "Nothing more is read until changes were applied; the source keeps its log meanwhile, as long as its "
      "retention says. Bring the target back, or make journal.maxSize larger.")
EVENT(JOURNAL_IO, WARNING, "e6b1e07c8f624cd6b27db193333bd939", "task worker lag_ms? seq channel?",
      "The journal cannot be written or read",
      "The disk is full, read-only or failing: the message has the system's words. Nothing is lost; it goes "
      "on by itself when the disk does.")
EVENT(JOURNAL_BAD, ERROR, "89eb3061b44a424c9866f05870093d3e", "task worker lag_ms? seq channel?",
      "The journal is damaged",
      "The message names the file. It is put aside and read again from the source if that still has it.")
EVENT(STATE_IO, WARNING, "cd28d864d6e84c6a998f69a0138851b0", "task worker lag_ms? seq channel?",
      "A state file cannot be written or read",
      "The disk is full, read-only or failing: the message has the system's words. It is tried again by "
      "itself.")

#undef EVENT

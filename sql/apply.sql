-- SPDX-License-Identifier: Apache-2.0
-- apply.db: what the applier must remember. user_version numbers this schema; application_id (set
-- by the program) is "mcda". 64-bit unsigned values are stored as the signed integer of the same
-- bits. crc: CRC-32C, as the program writes it; a row that does not match it is not used.

-- One row. applied_*: everything of the source up to there is on the target (J4). intent_*: what
-- may have been sent beyond it (J6); intent_type 0: nothing. tick_bound: no tick of ours is above.
CREATE TABLE mark(
	id INTEGER PRIMARY KEY CHECK (id = 1),
	applied_seq INTEGER NOT NULL,
	applied_ts INTEGER NOT NULL,
	applied_out INTEGER NOT NULL,
	rows_applied INTEGER NOT NULL,
	intent_type INTEGER NOT NULL,
	intent_seq INTEGER NOT NULL,
	intent_ts INTEGER NOT NULL,
	intent_floor INTEGER NOT NULL,
	intent_version INTEGER NOT NULL,
	intent_merge_limit INTEGER NOT NULL,
	tick_bound INTEGER NOT NULL,
	written_ms INTEGER NOT NULL,
	crc INTEGER NOT NULL
);

-- source object: its twin on the target, or why it is held
CREATE TABLE object(
	key TEXT PRIMARY KEY,
	crc INTEGER NOT NULL,
	value BLOB NOT NULL
);

-- for people: sqlite3 -readonly FILE 'select * from status'
CREATE VIEW status AS
SELECT applied_seq,
	strftime('%Y-%m-%d %H:%M:%f', (applied_ts >> 18) / 1000.0, 'unixepoch') AS applied_time,
	rows_applied,
	CASE intent_type WHEN 0 THEN 'none' WHEN 1 THEN 'data' ELSE 'ddl' END AS intent,
	intent_seq,
	strftime('%Y-%m-%d %H:%M:%f', written_ms / 1000.0, 'unixepoch') AS written
FROM mark;

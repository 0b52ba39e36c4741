-- SPDX-License-Identifier: Apache-2.0
-- One journal segment. user_version numbers this schema; application_id (set by the program) is
-- "mcdj". 64-bit unsigned values (timestamps, message IDs, hashes) are stored as the signed integer
-- of the same bits. See include/cdc/journal.h for the invariants.

-- the words of entry.kind, filled from the program's own table when the file is made
CREATE TABLE kind(id INTEGER PRIMARY KEY, name TEXT NOT NULL);

-- One change of the source; never updated. body comes last: everything else of a row is read
-- without touching the pages of a large body. crc: CRC-32C over 9 integers (seq, ts, kind, db_id,
-- collection_id, partition_id, id_hi, id_lo, rows), each as 8 bytes, low byte first, then db,
-- collection, vchannel, pchannel and body, each as its length in 8 bytes and its bytes.
CREATE TABLE entry(
	seq INTEGER PRIMARY KEY,
	ts INTEGER NOT NULL,
	kind INTEGER NOT NULL,
	db_id INTEGER NOT NULL,
	collection_id INTEGER NOT NULL,
	partition_id INTEGER NOT NULL,
	db TEXT NOT NULL,
	collection TEXT NOT NULL,
	vchannel TEXT NOT NULL,
	pchannel TEXT NOT NULL,
	id_hi INTEGER NOT NULL,
	id_lo INTEGER NOT NULL,
	rows INTEGER NOT NULL,
	crc INTEGER NOT NULL,
	body BLOB NOT NULL
);

-- One row a cut; the first was carried over from the segment before. Cuts that held nothing only
-- raise the watermark of the last row. rows_total: rows captured since the journal began;
-- body_bytes: of this segment. crc: of the last row only, over the row and all of position.
CREATE TABLE cut(
	id INTEGER PRIMARY KEY,
	last_seq INTEGER NOT NULL,
	watermark INTEGER NOT NULL,
	revision INTEGER NOT NULL,
	entries INTEGER NOT NULL,
	rows_total INTEGER NOT NULL,
	body_bytes INTEGER NOT NULL,
	written_ms INTEGER NOT NULL,
	crc INTEGER NOT NULL
);

-- where reading goes on, as of the last cut (R1, R11)
CREATE TABLE position(
	pchannel TEXT PRIMARY KEY,
	next_hi INTEGER NOT NULL,
	next_lo INTEGER NOT NULL,
	ts INTEGER NOT NULL,
	guard_set INTEGER NOT NULL,
	guard_hi INTEGER NOT NULL,
	guard_lo INTEGER NOT NULL,
	guard_time_ms INTEGER NOT NULL,
	guard_hash INTEGER NOT NULL
) WITHOUT ROWID;

-- the known catalog, as of the last cut (R14); crc: over key and value
CREATE TABLE state(
	key TEXT PRIMARY KEY,
	crc INTEGER NOT NULL,
	value BLOB NOT NULL
);

CREATE TABLE meta(key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;

-- for people: sqlite3 -readonly FILE 'select * from log'
CREATE VIEW log AS
SELECT seq,
	strftime('%Y-%m-%d %H:%M:%f', (ts >> 18) / 1000.0, 'unixepoch') AS time,
	coalesce(k.name, 'kind ' || kind) AS kind,
	CASE WHEN collection = '' THEN db ELSE db || '.' || collection END AS collection,
	CASE WHEN vchannel = '' THEN pchannel ELSE vchannel END AS channel,
	rows,
	length(body) AS size
FROM entry LEFT JOIN kind k ON k.id = entry.kind
ORDER BY seq;

CREATE VIEW cuts AS
SELECT id,
	last_seq,
	strftime('%Y-%m-%d %H:%M:%f', (watermark >> 18) / 1000.0, 'unixepoch') AS watermark,
	revision,
	entries,
	rows_total,
	strftime('%Y-%m-%d %H:%M:%f', written_ms / 1000.0, 'unixepoch') AS written
FROM cut
ORDER BY id;

-- control.db, version 1; the later ones are control_<n>.sql, applied in order. The tasks of one instance.
-- One writing connection (task_store.c), WAL, synchronous=FULL.
-- Holds credentials: the file is 0600 in a folder of 0700. state: creating (its folder may be half
-- made), ready, deleting (its folder may be half gone); start-up removes what is not ready (R30).
CREATE TABLE task (
	id                 TEXT PRIMARY KEY NOT NULL,
	state              TEXT NOT NULL CHECK (state IN ('creating', 'ready', 'deleting')),
	paused             INTEGER NOT NULL CHECK (paused IN (0, 1)),
	source_uuid        TEXT NOT NULL,
	created_ms         INTEGER NOT NULL,
	host               TEXT NOT NULL,
	port               INTEGER NOT NULL,
	authorization      TEXT,
	connect_timeout_ms INTEGER NOT NULL,
	tls                INTEGER NOT NULL,
	tls_ca             TEXT,
	tls_cert           TEXT,
	tls_key            TEXT,
	tls_server_name    TEXT,
	resolved           TEXT NOT NULL,
	shown              TEXT NOT NULL
) STRICT;
CREATE TABLE selection (
	task_id    TEXT NOT NULL REFERENCES task (id) ON DELETE CASCADE,
	n          INTEGER NOT NULL,
	db         TEXT NOT NULL,
	collection TEXT NOT NULL,
	PRIMARY KEY (task_id, n)
) STRICT, WITHOUT ROWID;
PRAGMA user_version = 1;

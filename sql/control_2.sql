-- control.db, version 1 to 2: the sink's mode, users and roles, excluded collections, names on the
-- target, and the name of the target that all its tasks share. Tasks of version 1 knew one mode only.
ALTER TABLE task ADD COLUMN mode TEXT NOT NULL DEFAULT 'replicate';
ALTER TABLE task ADD COLUMN users INTEGER NOT NULL DEFAULT 0 CHECK (users IN (0, 1));
ALTER TABLE task ADD COLUMN target_key TEXT NOT NULL DEFAULT '';
UPDATE task SET target_key =
	CASE WHEN instr(resolved, ' ') > 1 THEN substr(resolved, 1, instr(resolved, ' ') - 1) ELSE host END
	|| ':' || port;
ALTER TABLE selection ADD COLUMN exclude INTEGER NOT NULL DEFAULT 0 CHECK (exclude IN (0, 1));
CREATE TABLE mapping (
	task_id       TEXT NOT NULL REFERENCES task (id) ON DELETE CASCADE,
	n             INTEGER NOT NULL,
	db            TEXT NOT NULL,
	collection    TEXT NOT NULL,
	to_db         TEXT NOT NULL,
	to_collection TEXT NOT NULL,
	PRIMARY KEY (task_id, n)
) STRICT, WITHOUT ROWID;
PRAGMA user_version = 2;

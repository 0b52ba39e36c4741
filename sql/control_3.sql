-- control.db, version 2 to 3: how far tasks that are deleted may have sent ticks to a target that others
-- still write to: what these send may not be at or below it (R21). One row a target, gone with its last task.
CREATE TABLE ticks (
	target_key TEXT PRIMARY KEY NOT NULL,
	ts         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
PRAGMA user_version = 3;

-- The first journal. Times are milliseconds since 1970 (wall clock); JSON columns are checked by SQLite.
-- A row of a step, of the ledger or of a commit record is written BEFORE what it speaks of is done.

PRAGMA application_id = 0x424c4b46; -- 'BLKF': tells a journal from any other SQLite file

CREATE TABLE migrations (
  id          TEXT PRIMARY KEY,
  vm_name     TEXT NOT NULL,
  vm_uuid     TEXT NOT NULL, -- lower case; empty when the VM has none
  vm_process  TEXT NOT NULL, -- bootid/pid/starttime; empty when not known
  vm_address  TEXT NOT NULL,
  vm_host     TEXT NOT NULL,
  state       TEXT NOT NULL CHECK (state IN ('running', 'paused', 'rolling-back', 'done', 'rolled-back', 'attention')),
  goal        TEXT NOT NULL CHECK (goal IN ('forward', 'back')),
  plan        TEXT NOT NULL CHECK (json_valid(plan)),
  options     TEXT NOT NULL CHECK (json_valid(options)),
  message     TEXT,
  created_at  INTEGER NOT NULL,
  updated_at  INTEGER NOT NULL,
  finished_at INTEGER,
  CHECK ((state IN ('done', 'rolled-back')) = (finished_at IS NOT NULL)),
  CHECK (state NOT IN ('rolling-back', 'rolled-back') OR goal = 'back'),
  CHECK (state <> 'done' OR goal = 'forward')
) STRICT;

CREATE INDEX migrations_unfinished ON migrations (created_at) WHERE finished_at IS NULL;

CREATE TABLE steps (
  seq       INTEGER PRIMARY KEY, -- the order of the first intents
  migration TEXT NOT NULL REFERENCES migrations (id),
  step      TEXT NOT NULL,
  state     TEXT NOT NULL CHECK (state IN ('intended', 'done', 'undoing', 'undone')),
  at        INTEGER NOT NULL,
  detail    TEXT NOT NULL CHECK (json_valid(detail)),
  UNIQUE (migration, step)
) STRICT;

CREATE TABLE ledger (
  id         INTEGER PRIMARY KEY,
  migration  TEXT NOT NULL REFERENCES migrations (id),
  kind       TEXT NOT NULL CHECK (kind IN ('file', 'node', 'job', 'process', 'socket')),
  name       TEXT NOT NULL,
  role       TEXT NOT NULL,
  disk       TEXT,
  state      TEXT NOT NULL CHECK (state IN ('planned', 'made', 'gone')),
  detail     TEXT NOT NULL CHECK (json_valid(detail)),
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;

-- A thing that was removed may be made again under the same name; of two that live, the names differ.
CREATE UNIQUE INDEX ledger_live ON ledger (migration, kind, name) WHERE state <> 'gone';
CREATE INDEX ledger_names ON ledger (name) WHERE state <> 'gone';

-- Append-only; the last row of a migration and kind counts. One b-tree, so that the commit that is made while the
-- guest's I/O is held writes as few pages as it can. A void row may stand alone: the record that it voids may have been
-- lost when its writing failed.
CREATE TABLE commit_records (
  migration TEXT NOT NULL REFERENCES migrations (id),
  kind      TEXT NOT NULL CHECK (kind IN ('pivot', 'fold', 'fold-back')),
  seq       INTEGER NOT NULL,
  verdict   TEXT NOT NULL CHECK (verdict IN ('commit', 'void')),
  detail    TEXT NOT NULL CHECK (json_valid(detail)), -- of a void row: the reason, a JSON string
  at        INTEGER NOT NULL,
  PRIMARY KEY (migration, kind, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
  seq       INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice: readers resume after the last one they saw
  migration TEXT NOT NULL REFERENCES migrations (id),
  type      TEXT NOT NULL,
  payload   TEXT NOT NULL CHECK (json_valid(payload)),
  at        INTEGER NOT NULL
) STRICT;

CREATE INDEX events_migration ON events (migration, seq);

CREATE TABLE progress (
  migration TEXT NOT NULL REFERENCES migrations (id),
  key       TEXT NOT NULL,
  done      INTEGER NOT NULL,
  total     INTEGER NOT NULL,
  rate      REAL,
  phase     TEXT,
  at        INTEGER NOT NULL,
  PRIMARY KEY (migration, key)
) STRICT, WITHOUT ROWID;

-- One row. It is rewritten just before the guest's I/O is held, so that the write-ahead log is started afresh then and
-- not by the commit record.
CREATE TABLE quiet (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  at   INTEGER NOT NULL
) STRICT;

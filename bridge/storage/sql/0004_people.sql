-- Templates that were saved in the console. The newest text of a file wins over the folder; NULL:
-- the folder's own text is used again.
CREATE TABLE template_versions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    file TEXT NOT NULL,
    source TEXT,
    saved_at DOUBLE PRECISION NOT NULL
);
CREATE INDEX template_versions_file ON template_versions (file, id);

-- The console's sessions that were signed out before their time.
CREATE TABLE ended_sessions (
    id TEXT NOT NULL PRIMARY KEY,
    ended_at DOUBLE PRECISION NOT NULL
);

-- What all processes share, by name: a value, and until when or since when it holds.
CREATE TABLE shared_values (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL,
    at DOUBLE PRECISION NOT NULL
);

-- How an event was routed (JSON: the numbers of the rules that matched, `url` before them where the
-- address named the bots; '' for the bridge's own), and how often it came again.
ALTER TABLE events ADD COLUMN rules TEXT NOT NULL DEFAULT '';
ALTER TABLE events ADD COLUMN duplicates INTEGER NOT NULL DEFAULT 0;
-- What a call carried, e.g. `message markdown`, `digest markdown`, `mention`, `picture`, `file`.
ALTER TABLE attempts ADD COLUMN carried TEXT NOT NULL DEFAULT '';

-- What Pgyer calls an event, by which a digest names those of types that nobody knows.
ALTER TABLE events ADD COLUMN action TEXT NOT NULL DEFAULT '';
-- A bot's test message, which is sent before whatever else is due.
ALTER TABLE bots ADD COLUMN test_delivery_id BIGINT NOT NULL DEFAULT 0;

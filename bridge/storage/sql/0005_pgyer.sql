-- How an event came: '' for those that were posted, `api` for what the bridge asked Pgyer for.
ALTER TABLE events ADD COLUMN source TEXT NOT NULL DEFAULT '';

-- Apps that Pgyer's API has shown; `counter` is the highest of Pgyer's own build numbers.
CREATE TABLE pgyer_apps (
    app_key TEXT NOT NULL PRIMARY KEY,
    slug TEXT NOT NULL,
    counter BIGINT NOT NULL
);
CREATE INDEX pgyer_apps_slug ON pgyer_apps (slug);

-- Builds that it has shown: what was decided about each, and its event, 0 for none.
CREATE TABLE pgyer_builds (
    build_key TEXT NOT NULL PRIMARY KEY,
    app_key TEXT NOT NULL,
    counter BIGINT NOT NULL,
    verdict TEXT NOT NULL,
    event_id BIGINT NOT NULL,
    seen_at DOUBLE PRECISION NOT NULL
);
CREATE INDEX pgyer_builds_seen_at ON pgyer_builds (seen_at);

-- By what a late webhook of a build that was found by asking is recognised, as hashes.
CREATE TABLE build_marks (
    mark TEXT NOT NULL,
    event_id BIGINT NOT NULL,
    sent_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (mark, event_id)
);

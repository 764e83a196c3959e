-- One attempt is one HTTP call to WeCom; times are epoch seconds throughout.
CREATE TABLE attempts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    bot TEXT NOT NULL,
    started_at DOUBLE PRECISION NOT NULL,
    ended_at DOUBLE PRECISION NOT NULL,
    verdict TEXT NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    errcode INTEGER
);
CREATE INDEX attempts_bot ON attempts (bot, ended_at);
CREATE INDEX attempts_ended_at ON attempts (ended_at);

CREATE TABLE bots (
    name TEXT NOT NULL PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    lease TEXT NOT NULL,
    lease_until DOUBLE PRECISION NOT NULL,
    rest_until DOUBLE PRECISION NOT NULL,
    failures INTEGER NOT NULL,
    stopped TEXT NOT NULL,
    alarmed_at DOUBLE PRECISION NOT NULL,
    untold INTEGER NOT NULL,
    noticed_at DOUBLE PRECISION NOT NULL,
    last_errcode INTEGER,
    last_reason TEXT NOT NULL,
    last_at DOUBLE PRECISION NOT NULL
);

CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    received_at DOUBLE PRECISION NOT NULL,
    type TEXT NOT NULL,
    title TEXT NOT NULL,
    device_type TEXT NOT NULL,
    os_version TEXT NOT NULL,
    build_version TEXT NOT NULL,
    link TEXT NOT NULL,
    brief TEXT NOT NULL,
    payload TEXT NOT NULL,
    raw BYTEA NOT NULL,
    error TEXT NOT NULL,
    digest TEXT NOT NULL
);
CREATE INDEX events_digest ON events (digest, received_at);
CREATE INDEX events_received_at ON events (received_at);

CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id BIGINT NOT NULL REFERENCES events (id),
    bot TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    template TEXT NOT NULL,
    mention TEXT NOT NULL,
    attach TEXT NOT NULL,
    step INTEGER NOT NULL,
    media_id TEXT NOT NULL,
    media_at DOUBLE PRECISION NOT NULL,
    tries INTEGER NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    held_until DOUBLE PRECISION NOT NULL,
    expires_at DOUBLE PRECISION NOT NULL,
    settled_at DOUBLE PRECISION NOT NULL
);
CREATE INDEX deliveries_expiring ON deliveries (expires_at) WHERE state = 'pending';
CREATE INDEX deliveries_held ON deliveries (held_until) WHERE state = 'pending' AND held_until > 0;
CREATE INDEX deliveries_pending ON deliveries (bot, id) WHERE state = 'pending';
CREATE INDEX ix_deliveries_event_id ON deliveries (event_id);

-- The deliveries that an attempt carried; a digest's carries many.
CREATE TABLE attempt_deliveries (
    delivery_id BIGINT NOT NULL REFERENCES deliveries (id),
    attempt_id BIGINT NOT NULL REFERENCES attempts (id),
    PRIMARY KEY (delivery_id, attempt_id)
);
CREATE INDEX ix_attempt_deliveries_attempt_id ON attempt_deliveries (attempt_id);

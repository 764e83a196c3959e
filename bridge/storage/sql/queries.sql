-- Every statement that is not put together in Python, by its name and what it returns or does.
-- `:name` is a value, `IN :names` a list. SQLite uses a partial index only if it sees its
-- condition, so a state is written out and not bound.

-- name: recent_events
-- Events of the duplicate window by their payload's hash; not those from before a clock was set back.
SELECT payload_hash, id FROM events
WHERE payload_hash IN :hashes AND received_at > :since AND received_at <= :now + 1;

-- name: add_event
-- Add an event by an id that was taken for it.
INSERT INTO events (
    id, received_at, type, action, title, device_type, os_version, build_version, link, brief,
    payload, raw, error, payload_hash, rules, source)
VALUES (
    :id, :received_at, :type, :action, :title, :device_type, :os_version, :build_version, :link,
    :brief, :payload, :raw, :error, :payload_hash, :rules, :source);

-- name: events_of_marks
-- Events that were found by asking, by their marks, with the bots that they went to.
SELECT mark, build_marks.event_id, bot FROM build_marks
LEFT JOIN deliveries ON deliveries.event_id = build_marks.event_id
WHERE mark IN :marks AND sent_at > :since;

-- name: webhook_events
-- Events that came by a webhook and may be of a build, newest first.
SELECT id, payload FROM events
WHERE id > :bottom AND received_at > :since AND type = 'updateVersion' AND source = ''
    AND (os_version = :os_version OR build_version IN :numbers OR payload LIKE :created)
ORDER BY id DESC;

-- name: add_build_mark
-- Remember a mark of an event that was found by asking.
INSERT INTO build_marks (mark, event_id, sent_at) VALUES (:mark, :event_id, :now)
ON CONFLICT (mark, event_id) DO NOTHING;

-- name: forget_build_marks
-- Delete the marks of builds whose webhook is not expected any more.
DELETE FROM build_marks WHERE sent_at < :before;

-- name: add_pgyer_app
-- Add an app that Pgyer's API shows, or what is new about it; its counter only goes up.
INSERT INTO pgyer_apps (app_key, slug, counter) VALUES (:app_key, :slug, :counter)
ON CONFLICT (app_key) DO UPDATE SET slug = :slug,
    counter = CASE WHEN :counter > pgyer_apps.counter THEN :counter ELSE pgyer_apps.counter END;

-- name: add_pgyer_build
-- Add what was decided about a build; the first decision stays.
INSERT INTO pgyer_builds (build_key, app_key, counter, verdict, event_id, seen_at)
VALUES (:build_key, :app_key, :counter, :verdict, :event_id, :now)
ON CONFLICT (build_key) DO NOTHING;

-- name: forget_pgyer_builds
-- Delete builds that were decided long ago; its counter keeps an older one from being new again.
DELETE FROM pgyer_builds WHERE seen_at < :before
    AND counter < (SELECT counter FROM pgyer_apps WHERE pgyer_apps.app_key = pgyer_builds.app_key);

-- name: missing_builds
-- Events of builds that were found by asking since a moment, newest first.
SELECT id, received_at, type, error, brief, action, title, device_type, os_version, build_version,
    link, source
FROM events WHERE received_at > :since AND source = 'api' ORDER BY id DESC;

-- name: count_duplicate
-- Count a duplicate at the event that it repeats.
UPDATE events SET duplicates = duplicates + 1 WHERE id = :id;

-- name: add_delivery
-- Add a pending delivery of an event.
INSERT INTO deliveries (
    event_id, bot, state, reason, template, mention, attach, messages_sent, media_id, media_at,
    tries, created_at, not_before, expires_at, settled_at)
VALUES (
    :event_id, :bot, 'pending', '', :template, :mention, :attach, 0, '', 0, 0, :now, :not_before,
    :expires_at, 0);

-- name: enter_bot
-- Add a bot that has sent nothing yet; another process may just have done so.
INSERT INTO bots (
    name, fingerprint, lease, lease_until, lease_delivery_id, rest_until, failures, stopped,
    stop_notice_at, expired_count, expiry_notice_at, last_reason, last_attempt_at)
VALUES (:name, :fingerprint, '', 0, 0, 0, 0, '', 0, 0, 0, '', 0)
ON CONFLICT (name) DO NOTHING;

-- name: due_bots
-- Bots that are free and have a due delivery, the one that waited longest first.
-- A subquery for each bot: PostgreSQL would turn EXISTS into a join that reads all due deliveries.
SELECT name FROM bots
WHERE name IN :names AND lease_until <= :now AND rest_until <= :now
    AND (SELECT id FROM deliveries WHERE bot = name AND state = 'pending' AND not_before <= :now
        ORDER BY id LIMIT 1) IS NOT NULL
ORDER BY last_attempt_at, name LIMIT :limit;

-- name: bots_ahead
-- Bots with times that cannot be: the clock has been set back since they were written. A call that
-- was under way then may have ended after it, so that only earlier attempts are in the future.
SELECT name, lease_until, rest_until, stop_notice_at, expiry_notice_at, last_attempt_at,
    (SELECT max(ended_at) FROM attempts WHERE bot = name) AS latest_end
FROM bots
WHERE last_attempt_at > :now + 1 OR lease_until > :latest_lease + 1
    OR name IN (SELECT bot FROM attempts WHERE ended_at > :now + 1)
ORDER BY name;

-- name: shift_attempts
-- Take a bot's attempts along into the past, so that they count for the rate as long as they should.
UPDATE attempts SET started_at = started_at - :ahead, ended_at = ended_at - :ahead
WHERE bot = :name AND ended_at > :now;

-- name: free_bots
-- Those of these bots that are still free, the one that waited longest first; to be locked until the
-- transaction ends.
SELECT name, lease, lease_until, lease_delivery_id FROM bots
WHERE name IN :names AND lease_until <= :now AND rest_until <= :now
ORDER BY last_attempt_at, name LIMIT :limit;

-- name: bot_queues
-- For each bot its attempts in the rate window, and the end of the one whose leaving the window makes
-- room for the next one, where they are too many; its delivery to send next (a test message, or the
-- first that is due); how many are due, and how many of these were delayed by quiet hours (both
-- counted up to one more than the rate).
SELECT name, test_delivery_id,
    (SELECT count(*) FROM attempts WHERE bot = name AND ended_at > :since) AS recent,
    (SELECT ended_at FROM attempts WHERE bot = name AND ended_at > :since
        ORDER BY ended_at DESC LIMIT 1 OFFSET :rate - 1) AS opener,
    coalesce(
        (SELECT id FROM deliveries WHERE id = test_delivery_id AND state = 'pending'),
        (SELECT id FROM deliveries WHERE bot = name AND state = 'pending' AND not_before <= :now
            ORDER BY id LIMIT 1)) AS first,
    (SELECT messages_sent FROM deliveries
        WHERE bot = name AND state = 'pending' AND not_before <= :now
        ORDER BY id LIMIT 1) AS messages_sent,
    (SELECT count(*) FROM (
        SELECT 1 FROM deliveries WHERE bot = name AND state = 'pending' AND not_before <= :now
        ORDER BY id LIMIT :rate + 1) AS queue) AS due,
    (SELECT count(*) FROM (
        SELECT not_before FROM deliveries
        WHERE bot = name AND state = 'pending' AND not_before <= :now
        ORDER BY id LIMIT :rate + 1) AS queue WHERE not_before > 0) AS delayed
FROM bots WHERE name IN :names ORDER BY name;

-- name: take_lease
-- Give a bot a lease for a delivery.
UPDATE bots SET lease = :lease, lease_until = :until, lease_delivery_id = :first WHERE name = :bot;

-- name: renew_lease
-- Let a lease last for longer; a row unless it was lost.
UPDATE bots SET lease_until = :until WHERE name = :bot AND lease = :lease RETURNING name;

-- name: send_test_first
-- Let a bot send an event's delivery before all others; if it is stopped or backs off, now.
UPDATE bots SET test_delivery_id = (SELECT max(id) FROM deliveries WHERE event_id = :event),
    rest_until = CASE WHEN stopped != '' OR failures > 0 THEN 0.0 ELSE rest_until END
WHERE name = :bot;

-- name: retry
-- Make parked and expired deliveries pending again, as if new, and return them.
UPDATE deliveries SET state = 'pending', reason = '', tries = 0, media_id = '', not_before = 0,
    settled_at = 0, created_at = :now, expires_at = :expires_at
WHERE id IN :ids AND state IN ('parked', 'expired') RETURNING id;

-- name: mark_done
-- Settle deliveries that nobody needs any more, and return them.
UPDATE deliveries SET state = 'expired', reason = :reason, settled_at = :now
WHERE id IN :ids AND state IN ('pending', 'parked') RETURNING id;

-- name: add_attempt
-- Add an attempt that has ended.
INSERT INTO attempts (id, bot, started_at, ended_at, verdict, reason, detail, errcode, carried)
VALUES (:id, :bot, :started_at, :ended_at, :verdict, :reason, :detail, :errcode, :carried);

-- name: link_attempt
-- Connect an attempt to its deliveries, which may have been deleted meanwhile.
INSERT INTO attempt_deliveries (attempt_id, delivery_id)
SELECT :id, id FROM deliveries WHERE id IN :deliveries;

-- name: whole_deliveries
-- Deliveries with their events, payload included.
SELECT deliveries.*, type, payload, received_at, error
FROM deliveries JOIN events ON events.id = event_id WHERE deliveries.id IN :ids;

-- name: digest_deliveries
-- A bot's due deliveries, with no more of their events than a digest shows.
SELECT deliveries.*, type, received_at, error, brief,
    action, title, device_type, os_version, build_version, link
FROM deliveries JOIN events ON events.id = event_id
WHERE bot = :name AND state = 'pending' AND not_before <= :now AND messages_sent = 0
    AND not_before >= :from_not_before
ORDER BY deliveries.id LIMIT :most;

-- name: bots_of_results
-- The bots of some results; to be locked, by name, so that two transactions cannot wait for each
-- other. By column, so that the statement survives a column that is added.
SELECT name, lease, failures, stopped, stop_notice_at FROM bots WHERE name IN :names ORDER BY name;

-- name: release_lease
-- Give a bot the state that a result leaves it in, unless its lease was lost.
UPDATE bots SET lease = '', lease_until = 0, lease_delivery_id = 0, rest_until = :rest_until,
    failures = :failures, stopped = :stopped, last_errcode = :errcode, last_reason = :reason,
    last_attempt_at = :ended_at
WHERE name = :bot AND lease = :lease;

-- name: update_deliveries
-- Give deliveries the state that a result leaves them in. One that expired during its call was
-- sent all the same, and what would follow it is not.
UPDATE deliveries SET tries = tries + 1, reason = coalesce(:reason, reason),
    state = CASE WHEN state = 'expired' THEN 'sent' ELSE :state END,
    settled_at = CASE WHEN state = 'expired' THEN settled_at ELSE :settled_at END,
    messages_sent = messages_sent + :messages, media_id = :media_id, media_at = :media_at
WHERE id IN :ids AND (state = 'pending' OR (state = 'expired' AND :was_sent = 1));

-- name: overdue
-- A row where a pending delivery is too old, or a notice about expired ones is due.
SELECT 1 FROM deliveries WHERE state = 'pending' AND expires_at <= :now
UNION ALL SELECT 1 FROM bots WHERE expired_count > 0 AND expiry_notice_at <= :before
LIMIT 1;

-- name: expire
-- Settle the pending deliveries that are too old, and return them.
UPDATE deliveries SET state = 'expired', reason = 'too_old', settled_at = :now
WHERE state = 'pending' AND expires_at <= :now RETURNING bot, event_id;

-- name: count_expired
-- Add a bot's expired deliveries to those that its next notice counts; not those of such notices.
UPDATE bots SET expired_count = expired_count + :count
    - (SELECT count(*) FROM events WHERE id IN :events AND type = 'expired')
WHERE name = :name;

-- name: due_expiry_notices
-- Bots with expired deliveries that no notice has counted in the last hour.
SELECT name, expired_count FROM bots WHERE expired_count > 0 AND expiry_notice_at <= :before;

-- name: stopped_bots
-- All stopped bots with the reason.
SELECT name, stopped FROM bots WHERE stopped != '';

-- name: old_events
-- Events whose deliveries were all settled before the moment; what is pending never goes.
SELECT id FROM events WHERE received_at < :before
    AND NOT EXISTS (SELECT 1 FROM deliveries
        WHERE event_id = events.id AND (state = 'pending' OR settled_at > :before))
LIMIT :batch;

-- name: still_settled
-- Those of these events of which nobody has retried a delivery meanwhile.
SELECT id FROM events WHERE id IN :events
    AND NOT EXISTS (SELECT 1 FROM deliveries
        WHERE event_id = events.id AND (state = 'pending' OR settled_at > :before));

-- name: unlinked_attempts
-- Old attempts whose deliveries are gone.
SELECT id FROM attempts WHERE ended_at < :before
    AND NOT EXISTS (SELECT 1 FROM attempt_deliveries WHERE attempt_id = attempts.id)
LIMIT :batch;

-- name: delete_links
-- Delete what connects attempts to the deliveries of these events.
DELETE FROM attempt_deliveries
WHERE delivery_id IN (SELECT id FROM deliveries WHERE event_id IN :events);

-- name: event_lines
-- Events of a span of ids for a list, newest first. What is '' or 0 is not asked for; each OR also
-- keeps SQLite from another index than that of the ids.
SELECT id, received_at, type, error, brief, action, title, device_type, os_version, build_version,
    link, source
FROM events
WHERE id < :top AND id >= :bottom
    AND (:type = '' OR type = :type)
    AND (:since = 0 OR received_at >= :since)
    AND lower(title) LIKE lower(:app) ESCAPE '\'
    AND (lower(title) LIKE lower(:text) ESCAPE '\' OR lower(brief) LIKE lower(:text) ESCAPE '\'
        OR lower(os_version) LIKE lower(:text) ESCAPE '\' OR lower(type) LIKE lower(:text) ESCAPE '\')
    AND ((:bot = '' AND :state = '') OR EXISTS (
        SELECT 1 FROM deliveries WHERE event_id = events.id
            AND (:bot = '' OR bot = :bot) AND (:state = '' OR state = :state)))
ORDER BY id DESC LIMIT :limit;

-- name: attempts_of_deliveries
-- The attempts that carried these deliveries, oldest first, and how many each carried.
SELECT delivery_id, attempts.*,
    (SELECT count(*) FROM attempt_deliveries WHERE attempt_id = attempts.id) AS count
FROM attempt_deliveries
JOIN attempts ON attempts.id = attempt_id
WHERE delivery_id IN :deliveries ORDER BY attempts.id;

-- name: events_of_attempt
-- The first events that an attempt carried.
SELECT id, received_at, type, error, brief, action, title, device_type, os_version, build_version,
    link, source
FROM events WHERE id IN (
    SELECT event_id FROM deliveries JOIN attempt_deliveries ON delivery_id = deliveries.id
    WHERE attempt_id = :attempt)
ORDER BY id LIMIT :limit;

-- name: attempts_under_way
-- Calls that have not ended; until then only the lease shows them.
SELECT lease_delivery_id AS delivery_id, 0 AS id, lease_until - :lease AS started_at,
    0.0 AS ended_at, '' AS verdict, '' AS reason, '' AS detail, NULL AS errcode, '' AS carried,
    1 AS count
FROM bots JOIN deliveries ON deliveries.id = lease_delivery_id
WHERE lease != '' AND lease_delivery_id IN :deliveries AND state = 'pending';

-- name: unsent_counts
-- How many deliveries of events since a moment are parked, how many expired; what was marked as
-- done by hand does not count.
SELECT state, count(*) AS count FROM deliveries JOIN events ON events.id = event_id
WHERE received_at >= :since AND state IN ('parked', 'expired') AND reason != 'done_by_hand'
GROUP BY state;

-- name: bot_lines
-- Every bot with its pending deliveries and its attempts since a moment.
SELECT bots.*,
    (SELECT count(*) FROM deliveries WHERE bot = name AND state = 'pending') AS pending,
    (SELECT count(*) FROM attempts WHERE bot = name AND ended_at > :since) AS last_minute
FROM bots ORDER BY name;

-- name: events_per_hour
-- How many events came in each hour of a span, whose last hour may not be over yet.
WITH RECURSIVE hours (begins_at) AS (
    SELECT CAST(:first AS DOUBLE PRECISION)
    UNION ALL SELECT begins_at + 3600 FROM hours WHERE begins_at < :last)
SELECT begins_at, (SELECT count(*) FROM events
    WHERE received_at >= begins_at AND received_at < begins_at + 3600) AS count
FROM hours ORDER BY begins_at;

-- name: event_types
-- The types of the events after one.
SELECT DISTINCT type FROM events WHERE id > :bottom;

-- name: pending
-- How many deliveries are pending for each bot, and since when the oldest is due: what quiet hours
-- delay is due at their end.
SELECT bot, count(*) AS count,
    min(CASE WHEN not_before > 0 THEN not_before ELSE created_at END) AS oldest
FROM deliveries WHERE state = 'pending' GROUP BY bot ORDER BY bot;

-- name: latest_event
-- The newest event that came in, of those after one; the bridge's own have no raw body.
SELECT id, received_at, type, error, brief, action, title, device_type, os_version, build_version,
    link, source
FROM events WHERE id > :bottom AND length(raw) > 0 ORDER BY id DESC LIMIT 1;

-- name: silent_apps
-- Apps with events on several days among those after one, and none for so many seconds and three
-- times their usual gap; the longest silent first.
SELECT title, last_at, (last_at - first_at) / (days - 1) AS gap FROM (
    SELECT title, max(received_at) AS last_at, min(received_at) AS first_at,
        count(DISTINCT CAST(received_at AS BIGINT) / 86400) AS days
    FROM events WHERE id > :bottom AND title != '' GROUP BY title) AS apps
WHERE days >= :days AND :now - last_at > :silent
    AND (:now - last_at) * (days - 1) > 3 * (last_at - first_at)
ORDER BY last_at;

-- name: postgres_ids
-- New ids of a table. The sequence's name is looked up once, not for each id.
WITH own AS MATERIALIZED (SELECT pg_get_serial_sequence(:table, 'id')::regclass AS sequence)
SELECT nextval(sequence) AS id FROM own, generate_series(1, :count);

-- name: newest_template_version
-- The id of the last version that was saved of any template, 0 without one.
SELECT coalesce(max(id), 0) AS id FROM template_versions;

-- name: saved_templates
-- The text of each file whose newest version has one.
SELECT file, source FROM template_versions
WHERE id IN (SELECT max(id) FROM template_versions GROUP BY file) AND source IS NOT NULL;

-- name: template_versions
-- A file's versions, newest first.
SELECT id, source, saved_at FROM template_versions WHERE file = :file ORDER BY id DESC;

-- name: add_template_version
-- Add a version of a file; without a source the folder's own text is used again.
INSERT INTO template_versions (file, source, saved_at) VALUES (:file, :source, :now);

-- name: delete_old_template_versions
-- Delete all but a file's newest versions.
DELETE FROM template_versions WHERE file = :file AND id NOT IN (
    SELECT id FROM template_versions WHERE file = :file ORDER BY id DESC LIMIT :kept);

-- name: bots_that_sent
-- Bots of which WeCom has taken a message.
SELECT name FROM bots WHERE EXISTS (SELECT 1 FROM attempts WHERE bot = name AND verdict = 'sent');

-- name: event_of_pgyer
-- A row where any event has come that is not one of the bridge's own.
SELECT 1 FROM events WHERE type NOT IN ('test', 'botStopped', 'expired') LIMIT 1;

-- name: turn_is_taken
-- A row where a task that all processes share was done since a moment.
SELECT 1 FROM shared_values WHERE name = :name AND at > :latest AND at <= :now + 1;

-- name: take_turn
-- Note that a task is done now, unless another process was first; a row where it was not.
INSERT INTO shared_values (name, value, at) VALUES (:name, '', :now)
ON CONFLICT (name) DO UPDATE SET at = :now
WHERE shared_values.at <= :latest OR shared_values.at > :now + 1
RETURNING name;

-- name: end_turn
-- Let another process take a turn at once, unless one has done so already.
UPDATE shared_values SET at = 0 WHERE name = :name AND at = :now;

-- name: lock_shared_value
-- A value that all processes share, from a row that is made where it is missing, and locked until
-- the transaction ends.
INSERT INTO shared_values (name, value, at) VALUES (:name, '', 0)
ON CONFLICT (name) DO UPDATE SET value = shared_values.value RETURNING value, at;

-- name: set_shared_value
-- Set such a value.
UPDATE shared_values SET value = :value, at = :at WHERE name = :name;

-- name: end_session
-- Note that a session of the console has ended.
INSERT INTO ended_sessions (id, ended_at) VALUES (:id, :now) ON CONFLICT (id) DO NOTHING;

-- name: ended_session
-- A row where this session has ended.
SELECT 1 FROM ended_sessions WHERE id = :id;

-- name: forget_sessions
-- Delete what says that sessions have ended which are too old by now anyway.
DELETE FROM ended_sessions WHERE ended_at < :before;

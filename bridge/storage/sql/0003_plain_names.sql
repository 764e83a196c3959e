-- Columns are called as the design's words say.
ALTER TABLE bots RENAME COLUMN telling TO lease_delivery_id;
ALTER TABLE bots RENAME COLUMN alarmed_at TO stop_notice_at;
ALTER TABLE bots RENAME COLUMN untold TO expired_count;
ALTER TABLE bots RENAME COLUMN noticed_at TO expiry_notice_at;
ALTER TABLE bots RENAME COLUMN last_at TO last_attempt_at;
ALTER TABLE events RENAME COLUMN digest TO payload_hash;
ALTER TABLE deliveries RENAME COLUMN step TO messages_sent;
ALTER TABLE deliveries RENAME COLUMN held_until TO not_before;
-- Nothing looks deliveries up by it any more: a bot's due deliveries are found by its own index.
DROP INDEX deliveries_held;

-- A lease names the delivery that is being sent; an attempt is recorded only when it has ended.
ALTER TABLE bots ADD COLUMN telling BIGINT NOT NULL DEFAULT 0;
UPDATE attempts SET verdict = 'retry', reason = 'interrupted' WHERE verdict = '';

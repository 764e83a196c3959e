BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0002');
CREATE TABLE attempt_deliveries (
	delivery_id INTEGER NOT NULL, 
	attempt_id INTEGER NOT NULL, 
	PRIMARY KEY (delivery_id, attempt_id), 
	FOREIGN KEY(attempt_id) REFERENCES attempts (id), 
	FOREIGN KEY(delivery_id) REFERENCES deliveries (id)
);
INSERT INTO "attempt_deliveries" VALUES(1,1);
INSERT INTO "attempt_deliveries" VALUES(2,2);
INSERT INTO "attempt_deliveries" VALUES(3,3);
CREATE TABLE attempts (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	bot TEXT NOT NULL, 
	started_at FLOAT NOT NULL, 
	ended_at FLOAT NOT NULL, 
	verdict TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	detail TEXT NOT NULL, 
	errcode INTEGER
);
INSERT INTO "attempts" VALUES(1,'default',1800000001.0,1800000001.0,'sent','ok','ok',0);
INSERT INTO "attempts" VALUES(2,'dev',1800000001.0,1800000001.0,'park','invalid_parameter','invalid Request Parameter',40058);
INSERT INTO "attempts" VALUES(3,'default',1800000003.0,1800000003.0,'retry','read_timeout','no answer in time',NULL);
CREATE TABLE bots (
	name TEXT NOT NULL, 
	fingerprint TEXT NOT NULL, 
	lease TEXT NOT NULL, 
	lease_until FLOAT NOT NULL, 
	rest_until FLOAT NOT NULL, 
	failures INTEGER NOT NULL, 
	stopped TEXT NOT NULL, 
	alarmed_at FLOAT NOT NULL, 
	untold INTEGER NOT NULL, 
	noticed_at FLOAT NOT NULL, 
	last_errcode INTEGER, 
	last_reason TEXT NOT NULL, 
	last_at FLOAT NOT NULL, telling INTEGER DEFAULT '0' NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "bots" VALUES('default','8ccd831493ace6e7','3080203ba101767d',1800000021.0,1800000005.0,1,'',0.0,0,0.0,NULL,'read_timeout',1800000003.0,3);
INSERT INTO "bots" VALUES('dev','17429627a874fcaf','987fa3b856c53a16',1800000021.0,0.0,0,'',0.0,0,0.0,40058,'invalid_parameter',1800000001.0,4);
CREATE TABLE deliveries (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	event_id INTEGER NOT NULL, 
	bot TEXT NOT NULL, 
	state TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	template TEXT NOT NULL, 
	mention TEXT NOT NULL, 
	"attach" TEXT NOT NULL, 
	step INTEGER NOT NULL, 
	media_id TEXT NOT NULL, 
	media_at FLOAT NOT NULL, 
	tries INTEGER NOT NULL, 
	created_at FLOAT NOT NULL, 
	held_until FLOAT NOT NULL, 
	expires_at FLOAT NOT NULL, 
	settled_at FLOAT NOT NULL, 
	FOREIGN KEY(event_id) REFERENCES events (id)
);
INSERT INTO "deliveries" VALUES(1,1,'default','sent','','crashlog-short','["wang", "@all"]','["log"]',1,'',0.0,1,1800000000.0,0.0,1800086400.0,1800000001.0);
INSERT INTO "deliveries" VALUES(2,1,'dev','parked','invalid_parameter','','[]','[]',0,'',0.0,1,1800000000.0,0.0,1800086400.0,1800000001.0);
INSERT INTO "deliveries" VALUES(3,2,'default','pending','read_timeout','crashlog-short','["wang", "@all"]','["log"]',0,'',0.0,1,1800000002.0,0.0,1800086402.0,0.0);
INSERT INTO "deliveries" VALUES(4,3,'dev','pending','','','[]','[]',0,'',0.0,0,1800000008.0,0.0,1800086408.0,0.0);
INSERT INTO "deliveries" VALUES(5,4,'dev','pending','','','[]','[]',0,'',0.0,0,1800000008.0,1800003608.0,1800090008.0,0.0);
CREATE TABLE events (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	received_at FLOAT NOT NULL, 
	type TEXT NOT NULL, 
	title TEXT NOT NULL, 
	device_type TEXT NOT NULL, 
	os_version TEXT NOT NULL, 
	build_version TEXT NOT NULL, 
	link TEXT NOT NULL, 
	brief TEXT NOT NULL, 
	payload TEXT NOT NULL, 
	raw BLOB NOT NULL, 
	error TEXT NOT NULL, 
	digest TEXT NOT NULL
);
INSERT INTO "events" VALUES(1,1800000000.0,'updateVersion','商城','','1.0','','','修复
崩溃','{"type": "updateVersion", "title": "商城", "os_version": "1.0", "notes": "修复\n崩溃"}',X'7B22726177223A2022E4B8AD227D','','fc056e9e3dd2c9e32d262470282356cba85e7e3a49c8c69bdb953785c618fab9');
INSERT INTO "events" VALUES(2,1800000002.0,'updateVersion','商城','','1.1','','','','{"type": "updateVersion", "title": "商城", "os_version": "1.1"}',X'7B22726177223A2022E4B8AD227D','','c0e1b8e35be2803f4e7228c5b89ad6b1021cedacc2448ae5f20e2ba48c6c96dd');
INSERT INTO "events" VALUES(3,1800000008.0,'undecodable','','','','','','','{"begins": "x", "bytes": 1}',X'0078','no JSON','0f861e9a329352f095f9e613d0a7d17168ecf9331381fced8e1101a33b5f11e6');
INSERT INTO "events" VALUES(4,1800000008.0,'updateVersion','商城','','1.2','','','','{"type": "updateVersion", "title": "商城", "os_version": "1.2"}',X'7B22726177223A2022E4B8AD227D','','c7eb367c63c2e095863fe0ce7108d410c810b7f96ebf284daabb0717841162ac');
CREATE INDEX attempts_bot ON attempts (bot, ended_at);
CREATE INDEX attempts_ended_at ON attempts (ended_at);
CREATE INDEX events_digest ON events (digest, received_at);
CREATE INDEX events_received_at ON events (received_at);
CREATE INDEX deliveries_expiring ON deliveries (expires_at) WHERE state = 'pending';
CREATE INDEX deliveries_held ON deliveries (held_until) WHERE state = 'pending' AND held_until > 0;
CREATE INDEX deliveries_pending ON deliveries (bot, id) WHERE state = 'pending';
CREATE INDEX ix_deliveries_event_id ON deliveries (event_id);
CREATE INDEX ix_attempt_deliveries_attempt_id ON attempt_deliveries (attempt_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',4);
INSERT INTO "sqlite_sequence" VALUES('deliveries',5);
INSERT INTO "sqlite_sequence" VALUES('attempts',3);
COMMIT;

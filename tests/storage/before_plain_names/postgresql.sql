CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.attempt_deliveries (
    delivery_id bigint NOT NULL,
    attempt_id bigint NOT NULL
);
CREATE TABLE public.attempts (
    id bigint NOT NULL,
    bot text NOT NULL,
    started_at double precision NOT NULL,
    ended_at double precision NOT NULL,
    verdict text NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL,
    errcode integer
);
CREATE SEQUENCE public.attempts_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.attempts_id_seq OWNED BY public.attempts.id;
CREATE TABLE public.bots (
    name text NOT NULL,
    fingerprint text NOT NULL,
    lease text NOT NULL,
    lease_until double precision NOT NULL,
    rest_until double precision NOT NULL,
    failures integer NOT NULL,
    stopped text NOT NULL,
    alarmed_at double precision NOT NULL,
    untold integer NOT NULL,
    noticed_at double precision NOT NULL,
    last_errcode integer,
    last_reason text NOT NULL,
    last_at double precision NOT NULL,
    telling bigint DEFAULT '0'::bigint NOT NULL
);
CREATE TABLE public.deliveries (
    id bigint NOT NULL,
    event_id bigint NOT NULL,
    bot text NOT NULL,
    state text NOT NULL,
    reason text NOT NULL,
    template text NOT NULL,
    mention text NOT NULL,
    attach text NOT NULL,
    step integer NOT NULL,
    media_id text NOT NULL,
    media_at double precision NOT NULL,
    tries integer NOT NULL,
    created_at double precision NOT NULL,
    held_until double precision NOT NULL,
    expires_at double precision NOT NULL,
    settled_at double precision NOT NULL
);
CREATE SEQUENCE public.deliveries_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.deliveries_id_seq OWNED BY public.deliveries.id;
CREATE TABLE public.events (
    id bigint NOT NULL,
    received_at double precision NOT NULL,
    type text NOT NULL,
    title text NOT NULL,
    device_type text NOT NULL,
    os_version text NOT NULL,
    build_version text NOT NULL,
    link text NOT NULL,
    brief text NOT NULL,
    payload text NOT NULL,
    raw bytea NOT NULL,
    error text NOT NULL,
    digest text NOT NULL
);
CREATE SEQUENCE public.events_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.events_id_seq OWNED BY public.events.id;
ALTER TABLE ONLY public.attempts ALTER COLUMN id SET DEFAULT nextval('public.attempts_id_seq'::regclass);
ALTER TABLE ONLY public.deliveries ALTER COLUMN id SET DEFAULT nextval('public.deliveries_id_seq'::regclass);
ALTER TABLE ONLY public.events ALTER COLUMN id SET DEFAULT nextval('public.events_id_seq'::regclass);
INSERT INTO public.alembic_version VALUES ('0002');
INSERT INTO public.attempt_deliveries VALUES (1, 1);
INSERT INTO public.attempt_deliveries VALUES (2, 2);
INSERT INTO public.attempt_deliveries VALUES (3, 3);
INSERT INTO public.attempts VALUES (1, 'default', 1800000001, 1800000001, 'sent', 'ok', 'ok', 0);
INSERT INTO public.attempts VALUES (2, 'dev', 1800000001, 1800000001, 'park', 'invalid_parameter', 'invalid Request Parameter', 40058);
INSERT INTO public.attempts VALUES (3, 'default', 1800000003, 1800000003, 'retry', 'read_timeout', 'no answer in time', NULL);
INSERT INTO public.bots VALUES ('dev', '17429627a874fcaf', 'cd0100262a033525', 1800000021, 0, 0, '', 0, 0, 0, 40058, 'invalid_parameter', 1800000001, 4);
INSERT INTO public.bots VALUES ('default', '8ccd831493ace6e7', '78a793e62aed3f3f', 1800000021, 1800000005, 1, '', 0, 0, 0, NULL, 'read_timeout', 1800000003, 3);
INSERT INTO public.deliveries VALUES (1, 1, 'default', 'sent', '', 'crashlog-short', '["wang", "@all"]', '["log"]', 1, '', 0, 1, 1800000000, 0, 1800086400, 1800000001);
INSERT INTO public.deliveries VALUES (2, 1, 'dev', 'parked', 'invalid_parameter', '', '[]', '[]', 0, '', 0, 1, 1800000000, 0, 1800086400, 1800000001);
INSERT INTO public.deliveries VALUES (3, 2, 'default', 'pending', 'read_timeout', 'crashlog-short', '["wang", "@all"]', '["log"]', 0, '', 0, 1, 1800000002, 0, 1800086402, 0);
INSERT INTO public.deliveries VALUES (4, 3, 'dev', 'pending', '', '', '[]', '[]', 0, '', 0, 0, 1800000008, 0, 1800086408, 0);
INSERT INTO public.deliveries VALUES (5, 4, 'dev', 'pending', '', '', '[]', '[]', 0, '', 0, 0, 1800000008, 1800003608, 1800090008, 0);
INSERT INTO public.events VALUES (1, 1800000000, 'updateVersion', '商城', '', '1.0', '', '', '修复
崩溃', '{"type": "updateVersion", "title": "商城", "os_version": "1.0", "notes": "修复\n崩溃"}', '\x7b22726177223a2022e4b8ad227d', '', 'fc056e9e3dd2c9e32d262470282356cba85e7e3a49c8c69bdb953785c618fab9');
INSERT INTO public.events VALUES (2, 1800000002, 'updateVersion', '商城', '', '1.1', '', '', '', '{"type": "updateVersion", "title": "商城", "os_version": "1.1"}', '\x7b22726177223a2022e4b8ad227d', '', 'c0e1b8e35be2803f4e7228c5b89ad6b1021cedacc2448ae5f20e2ba48c6c96dd');
INSERT INTO public.events VALUES (3, 1800000008, 'undecodable', '', '', '', '', '', '', '{"begins": "x", "bytes": 1}', '\x0078', 'no JSON', '0f861e9a329352f095f9e613d0a7d17168ecf9331381fced8e1101a33b5f11e6');
INSERT INTO public.events VALUES (4, 1800000008, 'updateVersion', '商城', '', '1.2', '', '', '', '{"type": "updateVersion", "title": "商城", "os_version": "1.2"}', '\x7b22726177223a2022e4b8ad227d', '', 'c7eb367c63c2e095863fe0ce7108d410c810b7f96ebf284daabb0717841162ac');
SELECT pg_catalog.setval('public.attempts_id_seq', 3, true);
SELECT pg_catalog.setval('public.deliveries_id_seq', 5, true);
SELECT pg_catalog.setval('public.events_id_seq', 4, true);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.attempt_deliveries
    ADD CONSTRAINT attempt_deliveries_pkey PRIMARY KEY (delivery_id, attempt_id);
ALTER TABLE ONLY public.attempts
    ADD CONSTRAINT attempts_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.bots
    ADD CONSTRAINT bots_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.deliveries
    ADD CONSTRAINT deliveries_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_pkey PRIMARY KEY (id);
CREATE INDEX attempts_bot ON public.attempts USING btree (bot, ended_at);
CREATE INDEX attempts_ended_at ON public.attempts USING btree (ended_at);
CREATE INDEX deliveries_expiring ON public.deliveries USING btree (expires_at) WHERE (state = 'pending'::text);
CREATE INDEX deliveries_held ON public.deliveries USING btree (held_until) WHERE ((state = 'pending'::text) AND (held_until > (0)::double precision));
CREATE INDEX deliveries_pending ON public.deliveries USING btree (bot, id) WHERE (state = 'pending'::text);
CREATE INDEX events_digest ON public.events USING btree (digest, received_at);
CREATE INDEX events_received_at ON public.events USING btree (received_at);
CREATE INDEX ix_attempt_deliveries_attempt_id ON public.attempt_deliveries USING btree (attempt_id);
CREATE INDEX ix_deliveries_event_id ON public.deliveries USING btree (event_id);
ALTER TABLE ONLY public.attempt_deliveries
    ADD CONSTRAINT attempt_deliveries_attempt_id_fkey FOREIGN KEY (attempt_id) REFERENCES public.attempts(id);
ALTER TABLE ONLY public.attempt_deliveries
    ADD CONSTRAINT attempt_deliveries_delivery_id_fkey FOREIGN KEY (delivery_id) REFERENCES public.deliveries(id);
ALTER TABLE ONLY public.deliveries
    ADD CONSTRAINT deliveries_event_id_fkey FOREIGN KEY (event_id) REFERENCES public.events(id);

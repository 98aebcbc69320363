
CREATE TABLE t (k TEXT NOT NULL, ts TIMESTAMP NOT NULL, v BIGINT NOT NULL, x DOUBLE NOT NULL,
    WATERMARK FOR ts AS ts - INTERVAL '1 second') WITH (connector = 'generator', rows = 1);
CREATE TABLE mails WITH (connector = 'email', template = 't.mjml');
CREATE TABLE hops WITH (connector = 'email', template = 't.mjml');
INSERT INTO mails SELECT k AS recipient_key, k AS dedupe_key, CAST(round(sum(x) * 1000) AS BIGINT) AS total, count(*) AS n,
    session(INTERVAL '40 seconds') AS w FROM t GROUP BY k, w;
INSERT INTO hops SELECT k AS recipient_key, k AS dedupe_key, CAST(round(stddev(x) * 1000) AS BIGINT) AS spread, max(v) AS most,
    hop(INTERVAL '20 seconds', INTERVAL '150 seconds') AS w FROM t GROUP BY k, w;
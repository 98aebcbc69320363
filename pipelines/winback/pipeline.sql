-- Win-back: one email when a customer has bought nothing for 90 days. A purchase before that cancels it;
-- who comes back and goes silent again gets the next one.

-- One JSON object a line. Purchases are booked by day, all at midnight, so a day stays open until the next has come.
-- The path is taken from the environment:
-- PURCHASES=$PWD/purchases.ndjson postrider run pipelines/winback/pipeline.sql --mail-dir mails
CREATE TABLE purchases (
  customer_id  TEXT NOT NULL,
  ts           TIMESTAMP NOT NULL,
  units        BIGINT,
  amount       DOUBLE,
  WATERMARK FOR ts AS ts - INTERVAL '1 day'
) WITH (connector = 'single_file', path = '{{ PURCHASES }}', format = 'json');

CREATE TABLE winbacks WITH (
  connector = 'email',
  template  = 'template.mjml',
  subject   = 'It has been a while: {{ discount }}% off, and the kettle is on',
  from      = 'Fern & Oak <hello@fern-and-oak.example>',
  topic     = 'winback'
);

-- Each purchase opens a session or, up to and including 90 days after the last one, extends it. A session that ends is
-- a customer who went silent, so the window fires exactly once a lapse; the day of the last purchase names the lapse.
INSERT INTO winbacks
SELECT customer_id                                                AS recipient_key,
       'winback:' || COALESCE(to_char(max(ts), '%Y-%m-%d'), '')   AS dedupe_key,
       customer_id || '@customers.example'                        AS email,
       to_char(max(ts), '%-d %B %Y')                              AS last_purchase,
       count(*)                                                   AS purchases,
       CASE WHEN round(sum(amount), 2) >= 100 THEN 15 ELSE 10 END AS discount
FROM purchases
GROUP BY customer_id, session(INTERVAL '90 days');

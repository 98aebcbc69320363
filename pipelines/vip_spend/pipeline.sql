-- VIP: one email for the order with which what a customer bought in 90 days, less refunds, reaches 1,000. One a calendar
-- month at most.

-- Where events come in: HTTP, in the shape every Segment SDK sends. Time waits ten minutes for events that are under way, since
-- sums follow the order in which things happened, and runs on after fifteen minutes without events.
CREATE TABLE events (
  user_id     TEXT NOT NULL,
  event       TEXT,
  ts          TIMESTAMP NOT NULL,
  email       TEXT,
  first_name  TEXT,
  amount      DOUBLE,
  WATERMARK FOR ts AS ts - INTERVAL '10 minutes'
) WITH (connector = 'collector', idle_timeout = INTERVAL '15 minutes');

-- Where trigger rows go out: each becomes at most one email. News that is older than three days stays unsent.
CREATE TABLE vips WITH (
  connector = 'email',
  template  = 'template.mjml',
  subject   = 'For our best customers: a table at the kiln',
  from      = 'Fern & Oak <hello@fern-and-oak.example>',
  topic     = 'vip',
  ttl       = INTERVAL '3 days'
);

-- A refund takes away what an order brought.
CREATE VIEW payments AS
SELECT user_id, event, ts, email, first_name,
       CASE WHEN event = 'Order Refunded' THEN -amount ELSE amount END AS amount
FROM events
WHERE event IN ('Order Completed', 'Order Refunded');

-- Beside each payment the sum of the 90 days that end with it, and of the same days without it. Two orders of one moment see
-- the same sums.
CREATE VIEW spending AS
SELECT *,
       sum(amount) OVER (PARTITION BY user_id ORDER BY ts
                         RANGE BETWEEN INTERVAL '90 days' PRECEDING AND CURRENT ROW)                       AS with_it,
       sum(amount) OVER (PARTITION BY user_id ORDER BY ts
                         RANGE BETWEEN INTERVAL '90 days' PRECEDING AND INTERVAL '1 nanosecond' PRECEDING) AS without_it
FROM payments;

INSERT INTO vips
SELECT user_id                                          AS recipient_key,
       'vip:' || CAST(date_trunc('month', ts) AS DATE)  AS dedupe_key,  -- one a month, named by its first day
       ts                                               AS fire_ts,     -- the three days of `ttl` count from here
       email,
       first_name,
       round(with_it, 2)                                AS spent
FROM spending
WHERE event = 'Order Completed'
  AND round(with_it, 2) >= 1000
  AND coalesce(round(without_it, 2), 0) < 1000;  -- not: what the row before said, which may have been long ago
